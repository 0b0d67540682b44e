"""Damaged files and random bytes: what is read is what an independent reader finds, or the refusal is one line."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from datasets import DatasetDict
from fuzzing import read, tries
from hypothesis import example, given
from hypothesis import strategies as st

from lane_hf import InputError
from lane_hf.datasets.tables import SUFFIXES, read_table

ROWS = [
    {"text": 'she said "no", twice', "label": "glad"},
    {"text": "Grüße aus 東京 👩‍🚀", "label": "sad"},
    {"text": "two\nlines", "label": "glad"},
    {"text": "fine", "label": "sad"},
]
QUOTED = [",".join('"' + cell.replace('"', '""') + '"' for cell in row.values()) for row in ROWS]
CSV = "text,label\r\n" + "\r\n".join(QUOTED) + "\r\n"
VALID = {
    ".csv": CSV.encode(),
    ".tsv": CSV.replace('","', '"\t"').replace("text,", "text\t").encode(),
    ".json": json.dumps(ROWS, ensure_ascii=False).encode(),
    ".jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
}
PIECES = (b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\", b"{", b"}", b"[", b"]", b"\\ud83d")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def valid(folder: Path) -> dict[str, bytes]:
    pd.DataFrame(ROWS).to_parquet(folder / "valid.parquet")
    return {**VALID, ".parquet": (folder / "valid.parquet").read_bytes()}


places = st.floats(0, 1, exclude_max=True)
changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "double", "insert", "end"]),
        places,
        places,
        st.integers(1, 255),
        st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)),
    ),
    min_size=1,
    max_size=4,
)


def damage(content: bytes, steps: list[tuple[str, float, float, int, bytes]]) -> bytes:
    """Flip a byte, cut out or double a stretch, insert bytes, or end the file early."""
    for kind, place, length, mask, piece in steps:
        at = int(place * len(content))
        to = at + int(length * min(40, len(content) - at))
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at] + content[to:]
        elif kind == "double":
            content = content[:to] + content[at:]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        elif kind == "end":
            content = content[:at]
    return content


def parse_delimited(content: str, separator: str) -> list[list[str]] | None:
    """Read csv character by character, as RFC 4180 says; None if a quoted field does not end where it should."""
    rows: list[list[str]] = []
    row, field, state = [], "", "start"
    at = 0
    while at < len(content):
        each = content[at]
        if state == "quoted":
            if each != '"':
                field += each
            elif content[at + 1 : at + 2] == '"':
                field += '"'
                at += 1
            else:
                state = "closed"
        elif each in "\r\n":
            at += content[at : at + 2] == "\r\n"
            if row or field or state == "closed":
                rows.append([*row, field])
            row, field, state = [], "", "start"
        elif each == separator:
            row, field, state = [*row, field], "", "start"
        elif state == "closed":
            return None
        elif each == '"' and state == "start":
            state = "quoted"
        else:
            field, state = field + each, "plain"
        at += 1
    if state == "quoted":
        return None
    return rows + ([[*row, field]] if row or field or state == "closed" else [])


def expected_delimited(text: str, separator: str) -> list[list[tuple[str, object]]] | None:
    """Return the named cells of the rows of csv, or None if it should be refused."""
    lines = parse_delimited(text, separator)
    if not lines or len(set(lines[0])) < len(lines[0]) or any(len(line) != len(lines[0]) for line in lines):
        return None
    if len(lines[0]) == 1 and set(lines[0][0]) & set(",;\t") - {separator}:  # separated by what its name does not say
        return None
    return [list(zip(lines[0], (cell or None for cell in line), strict=True)) for line in lines[1:]]


def expected(content: bytes, suffix: str) -> list[list[tuple[str, object]]] | None:
    """Return the named cells of a file's rows, or None if it should be refused."""
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    if suffix in (".csv", ".tsv"):
        return expected_delimited(text, "\t" if suffix == ".tsv" else ",")
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    try:
        if suffix == ".json":
            rows = decoder.decode(text)
        else:
            rows = [decoder.decode(line) for line in text.replace("\r", "\n").split("\n") if line.strip()]
    except ValueError:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, tuple) for row in rows):
        return None
    return None if any(len({name for name, _ in row}) < len(row) for row in rows) else [list(row) for row in rows]


def assert_same_table(path: Path, content: bytes) -> None:
    wanted = expected(content, path.suffix)
    try:
        table = read_table(path)
    except InputError:
        # Refused although the reference reads it: only what is no table of texts, or UTF-16.
        assert not wanted or "\0" in content.decode()[:3] or b"\\ud" in content.lower() or not any(wanted)
        return
    assert wanted is not None
    assert table.shape[0] == len(wanted)
    for found, row in zip(table.to_dict("records"), wanted, strict=True):
        assert {name: cell for name, cell in found.items() if cell is not None} == {
            name: cell for name, cell in row if cell is not None and not (isinstance(cell, float) and math.isnan(cell))
        }


@given(st.sampled_from(sorted(VALID)), changes)
@tries(500)
@example(".json", [("insert", 0.02, 0.0, 1, b'"text": "x", ')])
def test_damaged_files_are_read_as_they_stand_or_refused(
    folder: Path, suffix: str, steps: list[tuple[str, float, float, int, bytes]]
) -> None:
    content = damage(VALID[suffix], steps)
    path = folder / f"damaged{suffix}"
    path.write_bytes(content)
    assert_same_table(path, content)
    splits = read(path)
    if isinstance(splits, DatasetDict):
        assert len(splits["train"]) == len(expected(content, suffix) or [])


@given(changes)
@tries(300)
def test_damaged_parquet_is_read_or_refused(
    folder: Path, valid: dict[str, bytes], steps: list[tuple[str, float, float, int, bytes]]
) -> None:
    path = folder / "damaged.parquet"
    path.write_bytes(damage(valid[".parquet"], steps))
    splits = read(path, [row["text"] for row in ROWS])
    assert isinstance(splits, InputError | DatasetDict)


def test_parquet_with_texts_that_are_not_utf_8_is_refused_without_quoting_them(tmp_path: Path) -> None:
    # Arrow finds this only when the cell is looked at, and quotes the whole of it.
    text = "fine words " * 9
    path = tmp_path / "data.parquet"
    pd.DataFrame({"text": [text, "b"], "label": ["x", "y"]}).to_parquet(path, compression=None)
    content = path.read_bytes()
    assert text.encode() in content
    path.write_bytes(content.replace(text.encode(), text.encode()[:-1] + b"\xff"))
    assert "UTF8" in str(read(path, [text]))


@given(st.sampled_from(SUFFIXES), st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES)).map(b"".join)))
@tries(300)
@example(".csv", b"\t\n\x01")
@example(".csv", b'"a,b"\n"c,d"')
def test_random_bytes_are_read_as_they_stand_or_refused(folder: Path, suffix: str, content: bytes) -> None:
    path = folder / f"random{suffix}"
    path.write_bytes(content)
    if suffix != ".parquet":
        assert_same_table(path, content)
    read(path)


WIDE = {
    "a header of a million columns": (".csv", b"," * 10**6 + b"\na\n", "occurs more than once"),
    "every object with a name of its own": (
        ".jsonl",
        b"\n".join(b'{"text %d": "label"}' % row for row in range(30_000)),
        "30000 different names, such as 'text 0'",
    ),
    "a number of a million digits": (".json", b'[{"text": "a", "label": %s}]' % (b"1" * 10**6), "cannot be read ("),
    "ten thousand levels": (".jsonl", b'{"a":' * 10_000, "nested too deeply"),
    "UTF-16 without a mark": (".csv", "text,label\n".encode("utf-16-le"), "not UTF-8 but UTF-16"),
    "UTF-16 with a mark": (".csv", "text,label\n".encode("utf-16"), "iconv -f utf-16 -t utf-8"),
    "a bad byte far down": (".csv", b"text,label\n" + b"a,b\n" * 10**5 + b"\xff", "byte 400011"),
}


@pytest.mark.parametrize(("suffix", "content", "message"), WIDE.values(), ids=WIDE)
def test_files_that_would_take_all_time_or_memory_are_refused(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(content)
    assert message in str(read(path))
