"""A table that is written and read again is the same table."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.datasets.tables import read_table
from lane_hf.errors import InputError
from lane_hf.table_writer import SUFFIXES, write_table

NUMBERS = [0.12345678901234567, 1e-12, 1e300, -0.1, 2**60 + 1]
# What UTF-8 can hold, and csv a cell of: an empty text is a missing one there.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@given(cells=st.lists(CELLS, min_size=1, max_size=5))
def test_cells_of_delimited_files_come_back(tmp_path_factory: Any, suffix: str, cells: list[str]) -> None:
    path = tmp_path_factory.mktemp("cells") / f"rows{suffix}"
    write_table(pd.DataFrame({"text": cells, "number": range(len(cells))}), path)
    assert read_table(path)["text"].tolist() == cells


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_lone_carriage_return_is_quoted(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"na\rme": ["old\rmac", None], "label": ["a", "b"], "n": [1, 2]})
    write_table(table, tmp_path / f"rows{suffix}")
    read = read_table(tmp_path / f"rows{suffix}")
    assert read.columns.tolist() == ["na\rme", "label", "n"]
    assert read.to_numpy().tolist() == [["old\rmac", "a", "1"], [None, "b", "2"]]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_numbers_keep_all_of_their_digits(tmp_path: Path, suffix: str) -> None:
    write_table(pd.DataFrame({"text": list("abcde"), "x": pd.Series(NUMBERS, dtype=object)}), tmp_path / f"a{suffix}")
    assert read_table(tmp_path / f"a{suffix}")["x"].tolist() == NUMBERS


def test_numbers_of_single_precision_have_no_digits_that_mean_nothing(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"p": np.array([0.1, 0.7], dtype=np.float32)}), tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == '{"p":0.1}\n{"p":0.7}\n'


@pytest.mark.parametrize(("value", "written"), [(np.nan, None), (np.inf, None), (pd.NaT, None), (pd.NA, None)])
def test_what_json_does_not_know_is_missing(tmp_path: Path, value: Any, written: Any) -> None:
    write_table(pd.DataFrame({"a": pd.Series([value, "b"], dtype=object)}), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == [{"a": written}, {"a": "b"}]


def test_dates_lists_and_flags_are_written_as_they_read(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "when": pd.to_datetime(["2024-01-02 03:04:05", None]),
            "day": [datetime.date(2024, 1, 2), None],
            "flag": [True, False],
            "list": [np.array([1.5, np.nan]), {"ä": np.int64(3)}],
            "kind": pd.Categorical(["x", "y"]),
        }
    )
    write_table(table, tmp_path / "a.json")
    first, second = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert first == {
        "when": "2024-01-02T03:04:05",
        "day": "2024-01-02",
        "flag": True,
        "list": [1.5, None],
        "kind": "x",
    }
    assert second == {"when": None, "day": None, "flag": False, "list": {"ä": 3}, "kind": "y"}


@pytest.mark.parametrize(
    ("suffix", "column"),
    [(".parquet", [2**63, 1]), (".parquet", [{}, {}]), (".jsonl", [b"a", b"b"]), (".parquet", ["a", 1])],
)
def test_what_a_format_cannot_hold_is_said_in_one_line(tmp_path: Path, suffix: str, column: list[Any]) -> None:
    table = pd.DataFrame({"a": pd.Series(column, dtype=object)})
    with pytest.raises(InputError, match="cannot be written in this format"):
        write_table(table, tmp_path / f"rows{suffix}")
    assert not list(tmp_path.iterdir())


def test_columns_that_share_a_name_are_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than one column is called 'a'"):
        write_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path / "rows.jsonl")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_table_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    def interrupt(*_: Any) -> None:
        assert [path.name for path in tmp_path.iterdir()] == [f"rows{suffix}.partial"]
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_table(pd.DataFrame({"text": ["a"]}), tmp_path / f"rows{suffix}")
    assert list(tmp_path.iterdir()) == []
