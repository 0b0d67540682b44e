"""ISEAR: the file with fields separated by |, or the copy with two columns."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from .files import csv_rows, find, missing, read_text
from .rows import ALL, Rows

__all__ = ["FORMAT", "FORMAT_TWO_COLUMNS", "NO_ANSWER", "read"]

FORMAT = "ISEAR, separated by |"
FORMAT_TWO_COLUMNS = "ISEAR, two columns"
NO_ANSWER = "no answer"

_LABEL, _TEXT = "field1", "sit"
_RECORD_START = re.compile(r'"?\d+"?\|')
# The questionnaire's line breaks became "á"; a letter between letters would belong to a word.
_LINE_BREAK = re.compile(r"(?<!\w)á|á(?!\w)")
_BRACKETED = re.compile(r"\[[^\[\]]*\]?\.?")
_NO_ANSWERS = {"no response", "no answer", "none", "nothing", "blank", "not applicable", "doesn't apply", "-", ""}
_MISSPELT = {"guit": "guilt"}
_TWO = 2


def read(folder: Path, rows: Rows) -> str:
    """Read the situations and their emotions; what says that there is no answer is dropped and counted.

    Raises:
        InputError: the file is missing, or has no columns Field1 and SIT.
    """
    path = find(folder, ("isear",), (".csv", ".txt", ".tsv"))
    if path is None:
        raise missing(rows.entry, folder)
    content, is_utf8 = read_text(path)
    if not is_utf8:
        rows.notes.append(f"{path.name} is not UTF-8: read as Windows-1252")
    if "|" not in content.split("\n", 1)[0]:
        for _, fields in csv_rows(path, content):
            _add(rows, fields[1] if len(fields) >= _TWO else "", fields[0])
        return FORMAT_TWO_COLUMNS
    for fields, header in _records(content, path):
        if len(fields) < len(header):
            rows.drop(ALL, "damaged row")
        else:
            _add(rows, _text_of(fields, header), fields[header.index(_LABEL)])
    return FORMAT


def _records(content: str, path: Path) -> Iterator[tuple[list[str], list[str]]]:
    # A situation may run over several lines, in quotes that are not always closed: a record begins with its number.
    first, *others = content.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    header = [_unquote(name).casefold() for name in first.split("|")]
    for name in (_LABEL, _TEXT):
        if name not in header:
            raise InputError(f"{path}: no column {name!r} in the first line, which names {len(header)} columns")
    record: list[str] = []
    for line in others:
        if record and _RECORD_START.match(line):
            yield "\n".join(record).split("|"), header
            record = []
        record.append(line)
    if record:
        yield "\n".join(record).split("|"), header


def _text_of(fields: list[str], header: list[str]) -> str:
    # More fields than columns: the situation itself holds a |.
    place = header.index(_TEXT)
    behind = len(header) - place - 1
    return "|".join(fields[place : len(fields) - behind])


def _add(rows: Rows, text: str, label: str) -> None:
    text = " ".join(_LINE_BREAK.sub(" ", _unquote(text)).split())
    if text and _is_no_answer(text):
        rows.drop(ALL, NO_ANSWER)
        return
    label = _unquote(label).strip().casefold()
    rows.add(ALL, text, [_MISSPELT.get(label, label)] if label else [])


def _is_no_answer(text: str) -> bool:
    return _BRACKETED.fullmatch(text) is not None or text.casefold().strip(" .!\"'") in _NO_ANSWERS


def _unquote(cell: str) -> str:
    cell = cell.strip()
    if len(cell) >= _TWO and cell[0] == cell[-1] == '"':
        cell = cell[1:-1].replace('""', '"')
    return cell.strip()
