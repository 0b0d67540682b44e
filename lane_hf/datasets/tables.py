"""Reading a user's own table: csv, tsv, json, jsonl or parquet, with every accident reported in one line."""

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from ..display import excerpt, first_line, quoted
from ..errors import InputError
from ..table_writer import SUFFIXES

_INDEX = re.compile(r"__index_level_\d+__")  # the name under which pandas stores an index that has none
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon"}
_SPARSE = 10_000_000  # so many cells, nearly all of them empty, are a misunderstanding


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table as it stands: only an empty cell is missing, and no number is parsed out of a text.

    Args:
        path: a file with one of the suffixes in `SUFFIXES`. Text files are UTF-8, with or without a byte order mark;
            json is a list of objects, jsonl one object a line.

    Returns:
        The table; missing cells are None.

    Raises:
        InputError: the file is missing, empty, damaged, not UTF-8, or of an unknown kind.

    Example:
        >>> read_table("rows.csv").columns.tolist()  # doctest: +SKIP
        ['text', 'label']
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if suffix == ".parquet":
            table = _read_parquet(path)
        elif suffix in (".json", ".jsonl"):
            table = _read_json(path, one_a_line=suffix == ".jsonl")
        elif suffix in (".csv", ".tsv"):
            table = _read_delimited(path, "\t" if suffix == ".tsv" else ",")
        else:
            raise InputError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    if table.empty:
        raise InputError(f"{path}: the file has no rows")
    return table.astype(object).where(table.notna(), None)


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        how = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin1"
        raise InputError(
            f"{path}: not UTF-8 (byte {error.start}): convert it, for example with iconv -f {how} -t utf-8"
        ) from error
    # Latin letters in UTF-16 without a mark are valid UTF-8, with a zero byte beside each.
    if "\0" in text[:2]:
        raise InputError(f"{path}: not UTF-8 but UTF-16: convert it, for example with iconv -f utf-16 -t utf-8")
    return text


def _read_delimited(path: Path, separator: str) -> pd.DataFrame:
    csv.field_size_limit(2**31 - 1)
    # Strict: else a quote that is never closed swallows the rows below it, and nobody notices.
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=separator, strict=True)
    try:
        # An empty line is no row, but a quoted field may run over several lines: csv knows both.
        lines = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: wrong quotes ({error}). A field that begins with a quote must end "
            "with one, and quotes inside of it are doubled"
        ) from error
    if not lines:
        raise InputError(f"{path}: the file is empty")
    header = lines[0][1]
    repeated = _repeated(header)
    if repeated is not None:
        raise InputError(f"{path}: the column {quoted(repeated)} occurs more than once in the first line")
    others = [each for each in _SEPARATORS if each != separator and len(header) == 1 and each in header[0]]
    if others:
        raise InputError(
            f"{path}: the first line has no {_SEPARATORS[separator]}, but a {_SEPARATORS[others[0]]}: columns of "
            f"{path.suffix} files are separated by {_SEPARATORS[separator]}s. Write it so, or "
            + {",": "name it .csv", "\t": "name it .tsv"}.get(others[0], "as .parquet or .jsonl")
        )
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(row)} fields, but the first line names {len(header)} columns "
                f"({excerpt(', '.join(header))}). Quote fields that hold the separator or line breaks"
            )
    rows = [[cell or None for cell in row] for _, row in lines[1:]]
    return pd.DataFrame(rows, columns=header, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
        # Without what pandas notes in the file: an index is a column like others, or none if it has no name.
        table = table.drop_columns([name for name in table.column_names if _INDEX.fullmatch(name)])
        repeated = _repeated(table.column_names)
        if repeated is None:
            table.validate(full=True)  # such as texts that are not UTF-8: pandas would quote them when it finds them
            return table.to_pandas(ignore_metadata=True, integer_object_nulls=True).astype(object)
    except Exception as error:  # pyarrow has no end of errors for damaged files
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    raise InputError(f"{path}: the column {quoted(repeated)} occurs more than once")


def _read_json(path: Path, one_a_line: bool) -> pd.DataFrame:
    content = _read_text(path)
    if one_a_line:
        lines = enumerate(re.split("\r\n|\r|\n", content), start=1)
        rows = [_parse(line, path, number) for number, line in lines if line.strip()]
    else:
        rows = _parse(content, path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: expected {'one object a line' if one_a_line else 'a list of objects'}")
    names = {name for row in rows for name in row}
    "".join(names).encode()  # half a character is a ValueError here; not every pandas refuses it
    if len(names) * len(rows) > max(_SPARSE, 100 * sum(map(len, rows))):
        raise InputError(
            f"{path}: the {len(rows)} objects have {len(names)} different names, such as {quoted(min(names))}: "
            "expected the same names in every object"
        )
    return pd.DataFrame(rows, dtype=object)


class _RepeatedNameError(Exception):
    """An object has a name twice: json would keep the last value and forget the others."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _RepeatedNameError(quoted(_repeated([name for name, _ in pairs])))
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _parse(text: str, path: Path, first_line: int = 1) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}: not valid JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise InputError(f"{path}, line {first_line}: nested too deeply") from error
    except _RepeatedNameError as error:
        where = f"{path}, line {first_line}" if path.suffix.lower() == ".jsonl" else str(path)
        raise InputError(f"{where}: the name {error} occurs more than once in one object") from error


def _repeated(names: list[str]) -> str | None:
    return next((name for name, number in Counter(names).items() if number > 1), None)


def is_unicode(text: str) -> bool:
    """Return whether a text can be stored: json can write one half of an emoji, such as `\\ud83d`.

    Example:
        >>> is_unicode("\\ud83d"), is_unicode("a")
        (False, True)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
