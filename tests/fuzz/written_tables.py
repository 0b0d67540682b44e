"""Tables of any content, written by a writer that shares no code with the reader."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

TEXT, LABEL, EXTRA = "text", "label", "note"
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "gb18030")
WIDE_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32")

NASTY = (
    'she said "no"', '"', '""', '"quoted"', "a,b", "a\tb", "two\nlines", "two\r\nlines", "old\rMac", "\n", "\r", ",",
    "\0", "a\0b", "\x1b[31mred", "\u202egnirts", "\u2028", "\u2029", "\x85", "\x0b\x0c", "\ufeff", "\u200d", "\xa0",
    " padded ", "  ", "\t", "NA", "null", "nan", "None", "-", "#N/A", "true", "1", "01", "1.0", "+1.0", "-0.0", "1e3",
    "0x1", "1_000", "\u0661", "\u0661.0", "9007199254740993.0", "9007199254740992", "1" * 320 + ".0", "=1+1", "\\",
    "\\N", "\\u0041", "{}", "[]", "&lt;", "ﬁ", "e\u0301", "👩‍🚀", "東京", "Ã¤", "İ", "ß", "\U0010ffff", "\ue000", "#",
    "'",
)  # fmt: skip

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
cells = st.one_of(any_text, st.sampled_from(NASTY), st.text(st.sampled_from('",\t\r\n a1.'), max_size=8))
filled = cells.filter(bool)
long_cells = st.builds(
    lambda piece, length: (piece * (length // len(piece) + 1))[:length],
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.integers(41, 2**16),  # a megabyte is among the examples
)


class Row(NamedTuple):
    text: str
    label: str
    note: str


def rows_of(texts: st.SearchStrategy[str] = filled, labels: st.SearchStrategy[str] = filled) -> Any:
    """Return a strategy for rows with two to four labels, of which at least two occur."""

    def of(names: list[str]) -> Any:
        rows = st.builds(Row, texts, st.sampled_from(names), cells)
        return st.tuples(st.builds(Row, texts, st.just(names[0]), cells), st.lists(rows, max_size=5)).flatmap(
            lambda drawn: st.permutations([drawn[0], drawn[0]._replace(label=names[1]), *drawn[1]])
        )

    return st.lists(labels, min_size=2, max_size=4, unique=True).flatmap(of)


class Style(NamedTuple):
    """How a file is written, besides what is in it."""

    line_end: str
    blank_lines: bool
    mark: bool
    last_line_end: bool
    quote: Callable[[str], bool]  # also where no quotes are needed
    escape: Callable[[str], bool]  # a character of json, also where it need not be


def _now_and_then(divisor: int) -> Callable[[str], bool]:
    return lambda text: bool(text) and sum(map(ord, text[:8])) % divisor == 0


styles = st.builds(
    Style,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([lambda text: False, lambda text: True, _now_and_then(2)]),
    st.sampled_from([lambda text: False, lambda text: True, _now_and_then(3)]),
)


def delimited(header: list[str], rows: list[list[str]], separator: str, style: Style) -> str:
    """Write csv or tsv."""

    def field(cell: str) -> str:
        needed = cell.startswith('"') or any(each in cell for each in (separator, "\r", "\n"))
        return '"' + cell.replace('"', '""') + '"' if needed or style.quote(cell) else cell

    def line(cells: list[str]) -> str:
        joined = separator.join(map(field, cells))
        return joined or '""'

    between = style.line_end * (2 if style.blank_lines else 1)
    content = between.join(line(cells) for cells in [header, *rows])
    return content + (style.line_end if style.last_line_end else "")


@functools.lru_cache(maxsize=64)  # long cells stand in several rows and files
def json_text(text: str, style: Style) -> str:
    """Write a text as json does; halves of surrogate pairs are always escaped."""

    def character(each: str) -> str:
        code = ord(each)
        if each in '"\\':
            return "\\" + each
        if code < 0x20 or 0xD800 <= code < 0xE000 or style.escape(each):
            if code < 0x10000:
                return f"\\u{code:04x}"
            high, low = divmod(code - 0x10000, 0x400)
            return f"\\u{0xD800 + high:04X}\\u{0xDC00 + low:04X}"
        return each

    return '"' + "".join(map(character, text)) + '"'


def json_rows(rows: list[list[tuple[str, Any]]], one_a_line: bool, style: Style) -> str:
    """Write json or jsonl; a row is a list of names and values, so that names may repeat."""

    def value(cell: Any) -> str:
        return json_text(cell, style) if isinstance(cell, str) else json.dumps(cell)

    def written(row: list[tuple[str, Any]]) -> str:
        return "{" + ", ".join(f"{json_text(name, style)}: {value(cell)}" for name, cell in row) + "}"

    end = style.line_end if style.line_end != "\r" or not one_a_line else "\n"
    between = end * (2 if style.blank_lines else 1)
    if one_a_line:
        return between.join(map(written, rows)) + (end if style.last_line_end else "")
    return "[" + f",{between}".join(map(written, rows)) + "]" + (end if style.last_line_end else "")


def encode(content: str, style: Style, encoding: str = "utf-8") -> bytes:
    """Encode a file, where the encoding has no character with a question mark, and the mark where it is asked for."""
    mark = b"\xef\xbb\xbf" if style.mark and encoding == "utf-8" else b""
    return mark + content.encode(encoding, "replace")
