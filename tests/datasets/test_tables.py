"""Reading a user's own tables: what is read stays as it was written, and what cannot be read is said in one line."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lane_hf import InputError
from lane_hf.datasets.tables import SUFFIXES, read_table

ROWS = [
    {"text": "Grüße aus 東京 👩‍🚀", "label": "a"},
    {"text": 'she said "no", twice', "label": "b"},
    {"text": "two\nlines", "label": "NA"},
]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows with the means of the standard library or pandas, by the suffix of the path."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path, index=False)
        return path
    if suffix == ".json":
        return write(path, json.dumps(rows))
    if suffix == ".jsonl":
        return write(path, "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter="\t" if suffix == ".tsv" else ",")
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return write(path, content.getvalue())


@pytest.mark.parametrize(
    ("name", "separator", "message"),
    [
        ("a.csv", ";", r"has no comma, but a semicolon: columns of .csv files are .*or as .parquet"),
        ("a.csv", "\t", r"has no comma, but a tab: columns of .csv files are .*name it .tsv"),
        ("a.tsv", ",", r"has no tab, but a comma: columns of .tsv files are .*name it .csv"),
    ],
)
def test_columns_that_are_separated_by_something_else_are_told(
    tmp_path: Path, name: str, separator: str, message: str
) -> None:
    path = write(tmp_path / name, f"text{separator}label\nwell{separator}good\n")
    with pytest.raises(InputError, match=rf"{path}: the first line {message}"):
        read_table(path)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".CSV", ".Jsonl"])
def test_every_kind_of_file_gives_the_rows_that_were_written(tmp_path: Path, suffix: str) -> None:
    table = read_table(write_rows(tmp_path / f"data{suffix}", ROWS))
    assert table.to_dict("records") == ROWS


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    assert len(read_table(str(write_rows(tmp_path / "data.csv", ROWS)))) == len(ROWS)


@pytest.mark.parametrize(
    "cell", ["NA", "null", "nan", "None", "-", "007", "1.0", "1e5", "true", "#N/A", " padded ", "\u2028"]
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_delimited_cells_stay_the_text_that_they_are(tmp_path: Path, suffix: str, cell: str) -> None:
    table = read_table(write_rows(tmp_path / f"data{suffix}", [{"text": cell, "label": "a"}]))
    assert table["text"].tolist() == [cell]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_typed_cells_keep_their_types_and_empty_text(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"text": "", "number": 1, "share": 0.5, "flag": True},
        {"text": "NA", "number": 2, "share": 1.0, "flag": False},
    ]
    table = read_table(write_rows(tmp_path / f"data{suffix}", rows))
    assert table.to_dict("records") == rows
    assert [type(cell) for cell in table.iloc[0]] == [str, int, float, bool]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", "text,label\na,\n,b\n"),
        ("data.json", '[{"text": "a", "label": NaN}, {"text": null, "label": "b"}]'),
        ("data.jsonl", '{"text": "a"}\n{"label": "b"}\n'),
    ],
)
def test_missing_cells_are_none(tmp_path: Path, name: str, content: str) -> None:
    table = read_table(write(tmp_path / name, content))
    assert table[["text", "label"]].to_numpy().tolist() == [["a", None], [None, "b"]]


def test_missing_cells_of_parquet_are_none(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a", None], "label": pd.array([None, 1], dtype="Int64")})
    table.to_parquet(tmp_path / "data.parquet")
    assert read_table(tmp_path / "data.parquet").to_numpy().tolist() == [["a", None], [None, 1]]


@pytest.mark.parametrize("name", ["data.csv", "data.tsv", "data.json", "data.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_table(path).to_dict("records") == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_empty_lines_make_no_rows(tmp_path: Path, end: str) -> None:
    content = end.join(["", "text,label", "a,x", "", "b,y", "", ""])
    assert read_table(write(tmp_path / "data.csv", content)).to_numpy().tolist() == [["a", "x"], ["b", "y"]]


def test_long_cells_are_read_whole(tmp_path: Path) -> None:
    long = "word " * 50_000  # more than the standard library's limit of 131,072
    assert read_table(write_rows(tmp_path / "data.csv", [{"text": long}]))["text"].tolist() == [long]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from([",", "\t"]))
def test_whatever_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], separator: str
) -> None:
    content = io.StringIO(newline="")
    csv.writer(content, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    path = tmp_path_factory.mktemp("any") / ("data.csv" if separator == "," else "data.tsv")
    table = read_table(write(path, content.getvalue()))
    assert table.to_numpy().tolist() == [[cell or None for cell in row] for row in rows]


BAD_FILES = {
    "unknown suffix": ("data.txt", "text,label\n", "unknown kind of file, expected one of .csv, .tsv, .json, "),
    "no suffix": ("data", "text,label\n", "unknown kind of file"),
    "empty csv": ("data.csv", "", "the file is empty"),
    "blank lines": ("data.csv", "\n\n", "the file is empty"),
    "header only": ("data.csv", "text,label\n", "the file has no rows"),
    "empty json": ("data.json", "", "line 1: not valid JSON"),
    "empty list": ("data.json", "[]", "the file has no rows"),
    "empty jsonl": ("data.jsonl", "\n", "the file has no rows"),
    "empty parquet": ("data.parquet", "", "cannot be read ("),
    "no parquet": ("data.parquet", "text,label\na,b\n" * 9, "cannot be read ("),
    "latin-1": ("data.csv", "text,label\nfärben,a\n".encode("latin1"), "not UTF-8 (byte 12): convert it"),
    "latin-1 jsonl": ("data.jsonl", '{"text": "ä"}'.encode("latin1"), "not UTF-8 (byte 10): convert it"),
    "utf-16": ("data.tsv", "text\tlabel\na\tb\n".encode("utf-16"), "not UTF-8 (byte 0)"),
    "broken json": ("data.json", '[{"text": "a",\n  "label": "b"},\n{', "line 3: not valid JSON (Expecting property"),
    "broken jsonl": ("data.jsonl", '{"text": "a"}\n\n{"text": "b"\n', "line 3: not valid JSON (Expecting ','"),
    "deep json": ("data.json", "[" * 100_000, "nested too deeply"),
    "json object": ("data.json", '{"text": ["a"]}', "expected a list of objects"),
    "jsonl of numbers": ("data.jsonl", "1\n2\n", "expected one object a line"),
    "half a character as a name": ("data.json", '[{"\\ud83d": 1}]', "cannot be read ("),
    "repeated column": ("data.csv", "text,label,text\na,b,c\n", "the column 'text' occurs more than once"),
    "too many fields": (
        "data.csv",
        "text,label\na,b\nc,d,e\n",
        "line 3: 3 fields, but the first line names 2 columns",
    ),
    "too few fields": (
        "data.tsv",
        "text\tlabel\na\n",
        "line 2: 1 fields, but the first line names 2 columns (text, label)",
    ),
    "ragged below a line break": ("data.csv", 'text,label\n"a\nb",x\n\nc\n', "line 5: 1 fields"),
    "open quote": ("data.csv", 'text,label\na,x\nb,"y\nc,z\n', "line 4: wrong quotes (unexpected end of data)"),
    # Without strict reading these two rows would silently become one.
    "quotes of the text": ("data.tsv", 'text\tlabel\n"a" b\tx\n"c" d\ty\n', "line 2: wrong quotes ("),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_named_with_what_is_wrong(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_table(path)


def test_messages_show_little_of_the_header(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_table(write(tmp_path / "data.csv", f"text,{'x' * 5000}\na\n"))
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 200
