"""A run's folder, and the command line in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runs import Run

from lane_hf.cli import main
from lane_hf.report import estimates


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval of the noise rate takes most of the time, and is tested elsewhere."""
    monkeypatch.setattr(estimates, "_RESAMPLES", 2)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.fixture
def lane(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that works and return what it prints."""

    def do(*arguments: object, status: int = 0) -> str:
        assert main([str(argument) for argument in arguments]) == status
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return do


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that is refused in one line and return that."""

    def do(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        return captured.err.removeprefix("error: ").strip()

    return do
