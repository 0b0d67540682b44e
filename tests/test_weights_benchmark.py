"""The figure of the weights, from a label table whose flips are known."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent / "report"))
import weights as benchmark
from report_tables import make_issues


def test_clean_and_flipped_rows_are_drawn_apart_and_always_the_same(tmp_path: Path) -> None:
    table, figure = tmp_path / "toy.parquet", tmp_path / "weights.svg"
    make_issues(300).to_parquet(table)
    assert benchmark.main([str(table), str(table), "--figure", str(figure)]) == 0
    drawn = figure.read_text()
    for words in ("toy", "clean", "flipped", "weight in the cross-entropy"):
        assert f">{words}" in drawn
    assert benchmark.main([str(table), str(table), "--figure", str(figure), "--titles", "toy", "toy"]) == 0
    assert figure.read_text() == drawn


def test_each_table_needs_a_title(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["a", "b", "--figure", str(tmp_path / "f.svg"), "--titles", "one"])
    assert "2 tables and 1 titles" in capsys.readouterr().err
