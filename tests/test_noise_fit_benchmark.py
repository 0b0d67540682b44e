"""The benchmark of the fit runs, and its rows have the noise that it names."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import noise_fit as benchmark


def test_it_times_both_kinds_of_noise(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--rows", "500", "--labels", "4"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["rows"], line["labels"], line["noise"]) for line in lines] == [
        (500, 4, "uniform"),
        (500, 4, "next label"),
    ]
    assert all(line["seconds"] > 0 for line in lines)


def test_rows_have_the_noise() -> None:
    margins, confidence, labels, others = benchmark.learned(20_000, 4, shift=0.4, uniform=0.0)
    # The right label is given to six of ten rows, and it is what the classifier prefers for nearly all of those.
    assert 0.5 < (margins > 0).float().mean() < 0.75
    assert confidence.mean() > 0.4
    assert (labels != others).all()
