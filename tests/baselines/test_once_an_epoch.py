"""What methods find by a look at all rows, which costs O(data set), they find once an epoch: at its first step."""

from pathlib import Path
from typing import Any

import pytest
from training import dataset_for, make_trainer

from lane_hf.baselines import co_teaching
from lane_hf.baselines.clean_split import CleanSplit
from lane_hf.baselines.disc import InstanceThresholds
from lane_hf.baselines.label_interpolation import LabelDivergences
from lane_hf.baselines.unicon import UniformSplit
from lane_hf.methods import METHODS


@pytest.mark.parametrize(
    ("method", "function", "steps"),
    [
        ("co-teaching", (co_teaching, "estimated_noise_rate"), [4, 8]),
        ("disc", (InstanceThresholds, "tell"), [0, 4, 8]),
        ("divide-mix", (CleanSplit, "refit"), [4, 4, 8, 8]),  # of each network
        ("label-interpolation", (LabelDivergences, "take_ranges"), [0, 4, 8]),
        ("self-mix", (CleanSplit, "refit"), [4, 8]),
        ("unicon", (UniformSplit, "pick"), [4, 8]),
    ],
)
def test_all_rows_are_looked_at_in_the_first_step_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, function: tuple[Any, str], steps: list[int]
) -> None:
    options: dict[str, Any] = {"train_dataset": dataset_for("bert", 32), "num_train_epochs": 3}  # of four steps
    trainer = make_trainer(tmp_path, kind=METHODS[method].trainer, args_kind=METHODS[method].config, **options)
    seen: list[int] = []
    original = getattr(*function)

    def watch(*args: Any) -> Any:
        seen.append(trainer.state.global_step)
        return original(*args)

    monkeypatch.setattr(*function, watch)
    trainer.train()
    assert seen == steps
