"""The examples in the docstrings are true: each is run, except those marked as needing what is not here."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import lane_hf

MODULES = [found.name for found in pkgutil.walk_packages(lane_hf.__path__, "lane_hf.") if not found.ispkg]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "lane_hf.__main__"])
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    numbers = [len(test.examples) for test in finder.find(importlib.import_module("lane_hf.margins"))]
    assert sum(numbers) > 0
