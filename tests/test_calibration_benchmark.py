"""The calibration benchmark, on label tables whose truth is known."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent / "report"))
import calibration as benchmark
from report_tables import make_issues


def test_bins_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    probability, truth = rng.uniform(0, 1, 500).round(2), rng.uniform(0, 1, 500) < 0.3
    expected = []
    for number in range(10):
        own = [
            k for k, p in enumerate(probability) if number / 10 <= p < (number + 1) / 10 or (number == 9 and p == 1)
        ]
        share = sum(truth[k] for k in own) / len(own)
        expected.append({"rows": len(own), "mean": np.mean([probability[k] for k in own]), "share": share})
    found = benchmark.bins(probability, truth)
    assert sum(each["rows"] for each in found) == 500
    # Rounded numbers such as 0.29 fall on either side of a tenth.
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["rows"] == pytest.approx(theirs["rows"], abs=6)
        assert ours["share"] == pytest.approx(theirs["share"], abs=0.1)


def test_the_calibration_error_is_the_distance_from_the_diagonal() -> None:
    right = [{"rows": 3, "mean": 0.2, "share": 0.2}, {"rows": 1, "mean": 0.9, "share": 0.9}]
    assert benchmark.calibration_error(right) == 0
    wrong = [{"rows": 3, "mean": 0.2, "share": 0.4}, {"rows": 1, "mean": 0.9, "share": 0.1}]
    assert benchmark.calibration_error(wrong) == pytest.approx((3 * 0.2 + 0.8) / 4)


def test_a_table_becomes_a_line_a_document_and_a_figure(tmp_path: Path) -> None:
    issues = pd.DataFrame(make_issues(300))
    seen = issues[issues["visits"] > 0].copy()
    seen["original_label"] = seen["runner_up_label"].where(seen["is_flipped"], seen["given_label"])
    seen.to_parquet(tmp_path / "toy.parquet")
    lines = tmp_path / "lines.jsonl"
    assert benchmark.main([str(tmp_path / "toy.parquet"), "--output", str(lines)]) == 0
    line = json.loads(lines.read_text())
    found = seen["is_issue"]
    assert line["issues"] == found.sum()
    assert line["precision"] == pytest.approx(seen.loc[found, "is_flipped"].mean())
    assert line["recall"] == pytest.approx(found[seen["is_flipped"]].mean())
    assert line["expected_precision"] == pytest.approx(
        seen.loc[found, "noise_probability"].mean(), abs=1e-3
    )  # unseen rows are in the mixture there
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- table: calibration -->\n<!-- end of table -->\nafter\n")
    figure = tmp_path / "figure.svg"
    assert benchmark.main(["--show", str(lines), "--into", str(document), "--figure", str(figure)]) == 0
    assert f"| `toy` | {seen['is_flipped'].mean():.1%} |" in document.read_text()
    assert document.read_text().startswith("before")
    assert "<svg" in figure.read_text()
