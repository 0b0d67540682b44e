"""The benchmark of how a step's own work grows: that every size is measured, and the slopes in the table."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import growth as benchmark


def test_every_size_is_measured_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"rows": [50, 100], "labels": [2, 5], "batch": [4, 8]}
    monkeypatch.setattr(benchmark, "SIZES", sizes)
    output, figure = tmp_path / "growth.jsonl", tmp_path / "growth.svg"
    assert benchmark.main(["--steps", "2", "--warm_up", "1", "--output", str(output), "--figure", str(figure)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(line["changed"], line["size"]) for line in lines] == [
        (name, each) for name in sizes for each in sizes[name]
    ]
    assert all(line["rows"] > 0 and line["contrastive"] > 0 for line in lines)
    assert ">labels<" in figure.read_text()
    assert "| labels | 2, 5 |" in capsys.readouterr().out


def test_slopes_are_those_of_power_laws() -> None:
    lines = [
        {"changed": name, "size": size, "rows": 5.0, "contrastive": 2.0 * size**2}
        for name in benchmark.SIZES
        for size in (10, 100)
    ]
    assert benchmark.table(lines).splitlines()[2] == "| rows | 10, 100 | 5, 5 | 0.00 | 200, 20,000 | 2.00 |"
