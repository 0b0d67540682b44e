"""The benchmark of tokenising runs, its rows differ, and its table is of what was measured."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import tokenising as benchmark


def test_every_way_is_timed_and_the_last_one_finds_what_the_first_one_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tokenising.jsonl"
    assert benchmark.main(["--rows", "40", "--processes", "2", "--repeats", "1", "--output", str(output)]) == 0
    one, several, again = (json.loads(line) for line in output.read_text().splitlines())
    assert (one["way"], several["way"], again["way"]) == ("in one process", "in 2 processes", "again, from disk")
    assert one["bytes"] == again["bytes"] > 0
    assert several["bytes"] > one["bytes"], "two files take a little more room than one"
    assert [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[-3:]] == [
        "in one process",
        "in 2 processes",
        "again, from disk",
    ]


def test_rows_differ() -> None:
    texts = benchmark.make_rows(30_000)["test"]["text"]
    assert len(set(texts)) == 30_000


def test_the_table_shows_medians() -> None:
    about = {"rows": 100, "bytes": 1234, "cores": 2, "versions": {"datasets": "5.2.0"}}
    lines = [
        {"way": way, "repeat": repeat, "seconds": seconds, **about}
        for way, times in {"a": (1.0, 4.0, 2.0), "b": (5.0, 5.0, 5.0)}.items()
        for repeat, seconds in enumerate(times)
    ]
    assert benchmark.report(lines).splitlines() == [
        "100 rows, 2 cores, datasets 5.2.0; median of 3. On disk: 12 bytes a row.",
        "",
        "| | rows/s | range |",
        "|---|---|---|",
        "| a | 50 | 25 to 100 |",
        "| b | 20 | 20 to 20 |",
    ]
