"""The methods by name, and what the documents say of them."""

import re
from pathlib import Path

import pytest

from lane_hf.method_config import MethodConfig
from lane_hf.methods import METHODS, method_of
from lane_hf.row_trainer import RowTrainer

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_complete(name: str) -> None:
    method = method_of(name)
    assert method.name == name
    if not method.fixed:
        assert vars(method.trainer)["method_name"] == name
    assert issubclass(method.trainer, RowTrainer)
    assert issubclass(method.config, MethodConfig)
    assert set(method.fixed) <= set(method.config.own_fields())
    assert re.fullmatch(r"[a-z0-9][^.]*", method.summary)


def test_a_method_with_fixed_options_is_named_by_them(tmp_path: Path) -> None:
    for name in ("cartography-easy", "cartography-hard", "cartography-ambiguous"):
        method = method_of(name)
        trainer = object.__new__(method.trainer)
        trainer.args = method.config(output_dir=str(tmp_path), **method.fixed)
        assert trainer.method_name == name


@pytest.mark.parametrize("name", METHODS)
def test_every_option_has_a_help_text(name: str) -> None:
    for option in METHODS[name].config.own_fields():
        assert METHODS[name].config.__dataclass_fields__[option].metadata["help"], option


def test_the_reference_has_a_row_for_every_method_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "methods.md").read_text()
    table = page.partition("| method | trainer |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| `(\w+)` \|", table, flags=re.MULTILINE)
    assert sorted(rows) == sorted((name, method.trainer.__name__) for name, method in METHODS.items())
