"""Tables of any content: every row stands as it was written, or the file is refused in one line that names it."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import DatasetDict
from fuzzing import read, tries
from hypothesis import assume, example, given
from hypothesis import strategies as st
from written_tables import (
    ENCODINGS,
    EXTRA,
    LABEL,
    TEXT,
    WIDE_ENCODINGS,
    Row,
    Style,
    delimited,
    encode,
    filled,
    json_rows,
    long_cells,
    rows_of,
    styles,
)

from lane_hf import InputError

PLAIN = Style("\n", False, False, True, lambda text: False, lambda text: False)
TWO_ROWS = [Row("one", "a", ""), Row("two", "b", "")]
HEADER = [TEXT, LABEL, EXTRA]
SEPARATORS = {".csv": ",", ".tsv": "\t"}
delimited_suffixes = st.sampled_from(sorted(SEPARATORS))
json_suffixes = st.sampled_from([".json", ".jsonl"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def write(folder: Path, suffix: str, content: bytes) -> Path:
    path = folder / f"data{suffix}"
    path.write_bytes(content)
    return path


def number_of(label: str) -> Decimal | None:
    try:
        return Decimal(label) if label.isascii() and label.strip() == label and "_" not in label else None
    except InvalidOperation:
        return None


def is_named(name: str, label: str) -> bool:
    """Whether a label has its own name, or is a whole number like the name, which files write as 1 or 1.0."""
    number = number_of(label)
    return name == label or (
        number is not None and number.is_finite() and number == number.to_integral_value() == number_of(name)
    )


def is_regression(labels: set[str]) -> bool:
    numbers = [number_of(label) for label in labels]
    return all(number is not None and number.is_finite() for number in numbers) and any(
        "." in label or "e" in label.lower() for label in labels
    )


def assert_rows(splits: DatasetDict | InputError, rows: list[tuple[str, str]]) -> None:
    """Assert that every split has exactly these texts and labels, and that no two labels became one."""
    assert not isinstance(splits, InputError), str(splits)
    for split in splits.values():
        assert split["text"][:] == [text for text, _ in rows]
        names = split.features["label"].names
        given_names = [names[label] for label in split["label"]]
        for name, (_, label) in zip(given_names, rows, strict=True):
            assert is_named(name, label)


def assert_clean(splits: DatasetDict | InputError, rows: list[tuple[str, str]]) -> None:
    """Assert that rows without a fault are read; only labels that are one number or many fractions are no classes."""
    labels = {label for _, label in rows}
    if isinstance(splits, InputError):
        one = len({number_of(label) if number_of(label) is not None else label for label in labels}) == 1
        assert (one and "at least 2 are needed" in str(splits)) or (
            is_regression(labels) and "regression is not supported" in str(splits)
        ), str(splits)
    else:
        assert_rows(splits, rows)


def pairs(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in rows]


# ---- csv and tsv ----


@given(rows_of(), styles, delimited_suffixes)
@tries(100)
@example([Row("a", "9007199254740993.0", ""), Row("b", "9007199254740992", "")], PLAIN, ".csv")
@example([Row("a", "1" * 320 + ".0", ""), Row("b", "2", "")], PLAIN, ".csv")
@example([Row("a", "\u0661.0", ""), Row("b", "1", "")], PLAIN, ".csv")
@example([Row("a", ".0", ""), Row("b", "0_0", "")], PLAIN, ".csv")
@example([Row("a", ".0", ""), Row("b", " 1", "")], PLAIN, ".csv")
def test_delimited_rows_stand_as_they_were_written(folder: Path, rows: list[Row], style: Style, suffix: str) -> None:
    content = delimited(HEADER, [list(row) for row in rows], SEPARATORS[suffix], style)
    path = write(folder, suffix, encode(content, style))
    cells = [cell for row in rows for cell in row]
    assert_clean(read(path, cells, text_column=TEXT), pairs(rows))


@given(rows_of(), styles, delimited_suffixes, st.sampled_from(ENCODINGS))
@tries(80)
def test_other_encodings_are_refused_where_they_differ(
    folder: Path, rows: list[Row], style: Style, suffix: str, encoding: str
) -> None:
    content = encode(delimited(HEADER, [list(row) for row in rows], SEPARATORS[suffix], style), style, encoding)
    path = write(folder, suffix, content)
    splits = read(path, [cell for row in rows for cell in row])
    try:
        content.decode("utf-8")
        # What is valid UTF-8 cannot be told from it, cell by cell.
        same = [Row(*(cell.encode(encoding, "replace").decode("utf-8") for cell in row)) for row in rows]
    except UnicodeDecodeError:
        assert "not UTF-8" in str(splits)
        return
    if encoding in WIDE_ENCODINGS:
        assert "UTF-16" in str(splits)
    elif len({row.label for row in same}) > 1:
        assert_clean(splits, pairs(same))


def break_table(kind: str, header: list[str], rows: list[list[str]], where: int) -> tuple[list[str], list[list[str]]]:
    """Spoil a table in one way."""
    row = rows[where % len(rows)]
    if kind == "no text":
        row[0] = ""
    elif kind == "no label":
        row[1] = ""
    elif kind == "repeated column":
        header[where % 2] = header[where % 2 + 1]
    elif kind == "missing column":
        header, rows = header[:1] + header[2:], [cells[:1] + cells[2:] for cells in rows]
    elif kind == "no header":
        header, rows = rows[0], rows[1:]
    elif kind == "short row":
        row.pop()
    elif kind == "long row":
        row.append("more")
    elif kind == "one label":
        for cells in rows:
            cells[1] = rows[0][1]
    elif kind == "no rows":
        rows = []
    return header, rows


FAULTS = (
    "no text", "no label", "repeated column", "missing column", "no header", "short row", "long row", "one label",
    "no rows",
)  # fmt: skip


@given(rows=rows_of(), style=styles, suffix=delimited_suffixes, fault=st.sampled_from(FAULTS), where=st.integers(0, 9))
@tries(80)
def test_faulty_tables_are_refused(
    folder: Path, *, rows: list[Row], style: Style, suffix: str, fault: str, where: int
) -> None:
    if fault == "no header":
        assume(not {TEXT, LABEL} & {cell.lower() for cell in rows[0]})
    header, cells = break_table(fault, list(HEADER), [list(row) for row in rows], where)
    path = write(folder, suffix, encode(delimited(header, cells, SEPARATORS[suffix], style), style))
    splits = read(path, [cell for row in [header, *cells] for cell in row], label_column=LABEL)
    assert isinstance(splits, InputError)


# ---- json and jsonl ----

numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.none()
)
halves = st.builds(lambda text, half: text + half, filled, st.characters(categories=["Cs"]))


@given(rows_of(), styles, json_suffixes, st.permutations(HEADER))
@tries(100)
def test_json_rows_stand_as_they_were_written(
    folder: Path, rows: list[Row], style: Style, suffix: str, order: list[str]
) -> None:
    named = [dict(zip(HEADER, row, strict=True)) for row in rows]
    content = json_rows([[(name, row[name]) for name in order] for row in named], suffix == ".jsonl", style)
    path = write(folder, suffix, encode(content, style))
    assert_clean(read(path, [cell for row in rows for cell in row], text_column=TEXT), pairs(rows))


@given(st.lists(st.tuples(filled, numbers), min_size=2, max_size=6), styles, json_suffixes)
@tries(100)
@example([("a", 9007199254740993), ("b", 9007199254740992)], PLAIN, ".json")
@example([("a", 1e300), ("b", 0)], PLAIN, ".jsonl")
def test_numbers_are_labels_or_refused(folder: Path, rows: list[tuple[str, Any]], style: Style, suffix: str) -> None:
    content = json_rows([[(TEXT, text), (LABEL, label)] for text, label in rows], suffix == ".jsonl", style)
    splits = read(write(folder, suffix, encode(content, style)), [text for text, _ in rows])
    if any(label is None for _, label in rows):
        assert "no label" in str(splits)
    elif any(isinstance(label, float) and abs(label) >= 2**53 for _, label in rows):
        assert "floating-point" in str(splits)
    else:
        assert_clean(splits, [(text, str(label)) for text, label in rows])


@given(
    rows=rows_of(),
    style=styles,
    suffix=json_suffixes,
    column=st.sampled_from([TEXT, LABEL]),
    where=st.integers(0, 9),
    data=st.data(),
)
@tries(100)
def test_faulty_objects_are_refused(
    folder: Path, *, rows: list[Row], style: Style, suffix: str, column: str, where: int, data: st.DataObject
) -> None:
    named = [list(zip(HEADER, row, strict=True)) for row in rows]
    row = named[where % len(named)]
    at = HEADER.index(column)
    fault = data.draw(st.sampled_from(["half", "null", "list", "object", "absent", "repeated name", "no object"]))
    new = {"half": data.draw(halves), "null": None, "list": ["x"], "object": {"x": 1}}
    if fault in new:
        row[at] = (column, new[fault])
    elif fault == "absent":
        del row[at]
    elif fault == "repeated name":
        row.append((column, data.draw(filled)))
    content = json_rows(named, suffix == ".jsonl", style)
    if fault == "no object":
        content = content.replace("{", "[", 1) if suffix == ".jsonl" else f"[1, {content[1:]}"
    path = write(folder, suffix, encode(content, style))
    splits = read(path, [cell for row in rows for cell in row], text_column=TEXT, label_column=LABEL)
    assert isinstance(splits, InputError)


# ---- parquet ----

text_types = st.sampled_from(
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)


@given(
    rows=rows_of(),
    text_type=text_types,
    label_type=text_types,
    compression=st.sampled_from(["none", "snappy", "gzip", "zstd"]),
    size=st.integers(1, 5),
)
@tries(80)
def test_parquet_rows_stand_as_they_were_written(
    folder: Path, *, rows: list[Row], text_type: pa.DataType, label_type: pa.DataType, compression: str, size: int
) -> None:
    columns = [
        pa.array([row.text for row in rows]).cast(text_type),
        pa.array([row.label for row in rows]).cast(label_type),
        pa.array([[row.note] for row in rows]),
    ]
    path = folder / "data.parquet"
    pq.write_table(pa.table(columns, names=HEADER), path, compression=compression, row_group_size=size)
    assert_clean(read(path, [cell for row in rows for cell in row]), pairs(rows))


label_arrays = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=2, max_size=5).map(
        lambda values: pa.array(values, pa.int64())
    ),
    st.lists(st.booleans(), min_size=2, max_size=5).map(pa.array),
    st.lists(st.floats(width=32, allow_infinity=False), min_size=2, max_size=5).map(
        lambda v: pa.array(v, pa.float32())
    ),
    st.lists(st.binary(max_size=3), min_size=2, max_size=5).map(lambda values: pa.array(values, pa.binary())),
    st.lists(st.datetimes(), min_size=2, max_size=5).map(lambda values: pa.array(values, pa.timestamp("us"))),
    st.lists(st.decimals(-9, 9, places=2), min_size=2, max_size=5).map(lambda v: pa.array(v, pa.decimal128(9, 2))),
    st.lists(st.lists(st.integers(0, 3)), min_size=2, max_size=5).map(lambda v: pa.array(v, pa.list_(pa.int64()))),
)


@given(label_arrays)
@tries(60)
@example(pa.array([2**53, 2**53 + 1, 2**53 + 1], pa.int64()))
def test_typed_labels_are_labels_or_refused(folder: Path, labels: pa.Array) -> None:
    texts = [f"row {number}" for number in range(len(labels))]
    path = folder / "data.parquet"
    pq.write_table(pa.table([pa.array(texts), labels], names=[TEXT, LABEL]), path)
    splits = read(path, texts)
    values = labels.to_pylist()
    if not isinstance(splits, InputError):
        assert all(isinstance(value, (int, float)) for value in values)
        assert_rows(splits, [(text, str(value)) for text, value in zip(texts, values, strict=True)])
    elif all(type(value) is int for value in values) and len(set(values)) > 1:
        pytest.fail(str(splits))


# ---- Long cells ----


@given(long_cells, long_cells, st.sampled_from([*SEPARATORS, ".json", ".jsonl"]), styles)
@tries(6)
@example("x" * 2**20, "y" * 2**20, ".csv", PLAIN)
@example("\u0800" * (2**20 // 3), "y" * 50, ".jsonl", PLAIN)
def test_long_cells_are_read_whole_and_never_shown_whole(
    folder: Path, text: str, label: str, suffix: str, style: Style
) -> None:
    rows = [Row(text, label, ""), Row(text, f"{label[:-1]}?", ""), Row("short", label, "")]
    assume(rows[0].label != rows[1].label)

    def written(header: list[str], lines: list[list[str]]) -> Path:
        if suffix in SEPARATORS:
            content = delimited(header, lines, SEPARATORS[suffix], style)
        else:
            content = json_rows([list(zip(header, line, strict=True)) for line in lines], suffix == ".jsonl", style)
        return write(folder, suffix, encode(content, style))

    assert_clean(read(written(HEADER, [list(row) for row in rows])), pairs(rows))
    for header, lines in (
        ([text, label, EXTRA], [["a", "b", "c"]] * 2),  # a header that is none
        ([TEXT, LABEL, text], [["a", label, "c"]] * 2),  # one label
        ([TEXT, LABEL, text], [["", label, "c"], ["b", label, "d"]]),
    ):
        assert isinstance(read(written(header, lines), [text, label]), InputError)
    assert isinstance(read(written(HEADER, [list(row) for row in rows]), [text, label], label_column=text), InputError)


# ---- Found on the way ----


def test_a_column_of_views_needs_a_name_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv", b"text,body,label\na,b,c\nd,e,f\n")
    assert "a column of views cannot be called 'text'" in str(read(path, text_column="body", view_columns=["text"]))
    splits = read(path, text_column="text", view_columns=["body", "body"])
    assert not isinstance(splits, InputError)
    assert splits["train"]["body"][:] == ["b", "e"]


def test_an_index_of_pandas_is_a_column_or_left_out(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": ["x", "y", "z"]})
    wanted = [("b", "y"), ("c", "z")]
    for index in (table[1:], table[1:].set_index(pd.Index(["p", "q"])), table[1:].set_index("text")):
        index.to_parquet(tmp_path / "data.parquet")
        assert_rows(read(tmp_path / "data.parquet"), wanted)
