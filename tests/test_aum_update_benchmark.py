"""The benchmark of recording a batch beside the `aum` package: that both are fed, and what the table says."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import aum_update


def test_the_table_has_a_line_for_each_size_and_says_how_often_faster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aum_update.main(["--batch_sizes", "4", "8", "--rounds", "1"]) == 0
    assert [line.split(" ")[1] for line in capsys.readouterr().out.splitlines()[4:]] == ["4", "8"]
    monkeypatch.setattr(aum_update, "microseconds", lambda size, rounds: (1000.0 * size, 400.0, 50.0))
    assert aum_update.main(["--batch_sizes", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| 2 | 2,000 | 400 | 5.0 | 50 | 40.0 |"
