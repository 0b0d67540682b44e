"""The benchmark of how a step grows with processes: all take in what all saw, every number is measured and drawn."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import ranks as benchmark


def test_every_process_takes_in_the_rows_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, figure = tmp_path / "ranks.jsonl", tmp_path / "ranks.svg"
    argv = ["--processes", "1", "2", "--steps", "2", "--warm_up", "1", "--repeats", "1"]
    assert benchmark.main([*argv, "--output", str(output), "--figure", str(figure)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    rows = 3 * benchmark.USUAL["batch"]
    assert [line["visits"] for line in lines] == [[rows], [2 * rows, 2 * rows]]
    assert all(line["rows"] > 0 for line in lines)
    assert "| processes | 1 | 2 | slope |" in capsys.readouterr().out
    assert ">processes<" in figure.read_text()
    assert 'id="ytick_2"' in figure.read_text()  # even if all times lie within a power of ten


def test_medians_and_the_slope() -> None:
    times = {1: (5.0, 3.0, 4.0), 4: (16.0, 16.0, 1.0)}
    lines = [
        {"processes": number, "rows": each, "repeat": repeat, "steps": 2, "torch": "2"}
        for number, own in times.items()
        for repeat, each in enumerate(own)
    ]
    assert benchmark.report(lines).splitlines()[-1] == "| µs a step | 4 | 16 | 1.00 |"
