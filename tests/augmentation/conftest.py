"""Back-translations by tiny random models."""

from typing import Any

import pytest
from backtranslating import DIRECTIONS, Make
from tiny_marian import make_marian
from transformers import MarianMTModel

from lane_hf.augmentation.backtranslation import BackTranslation


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("marian")
    for seed, (source, target) in enumerate(DIRECTIONS):
        make_marian(folder / f"{source}-{target}", seed)
    return str(folder / "{source}-{target}")


@pytest.fixture
def make(template: str) -> Make:
    def build(pivots: Any = ("de",), **settings: Any) -> BackTranslation:
        settings = {"model_template": template, "batch_size": 4, "device": "cpu", "progress_bar": False, **settings}
        return BackTranslation(pivots, **settings)

    return build


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of every call of generate."""
    sizes: list[int] = []
    generate = MarianMTModel.generate

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(MarianMTModel, "generate", counted)
    return sizes
