"""Reading a user's own table: csv, tsv, json, jsonl or parquet, with every accident reported in one line."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
_EXCERPT = 40  # texts are the user's data: messages show no more of them


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table as it stands: only an empty cell is missing, and no number is parsed out of a text.

    Args:
        path: a file with one of the suffixes in `SUFFIXES`. Text files are UTF-8, with or without a byte order mark;
            json is a list of objects, jsonl one object a line.

    Returns:
        The table; missing cells are None.

    Raises:
        InputError: the file is missing, empty, damaged, not UTF-8, or of an unknown kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(path)
        elif suffix in (".json", ".jsonl"):
            table = _read_json(path, one_a_line=suffix == ".jsonl")
        else:
            table = _read_delimited(path, "\t" if suffix == ".tsv" else ",")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 (byte {error.start}): convert it, for example with iconv -f latin1 -t utf-8"
        ) from error
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_first_line(error)})") from error
    if table.empty:
        raise InputError(f"{path}: the file has no rows")
    return table.astype(object).where(table.notna(), None)


def _read_delimited(path: Path, separator: str) -> pd.DataFrame:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Strict: else a quote that is never closed swallows the rows below it, and nobody notices.
        reader = csv.reader(file, delimiter=separator, strict=True)
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
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: the column {repeated[0]!r} occurs more than once in the first line")
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(row)} fields, but the first line names {len(header)} columns "
                f"({', '.join(header)[:_EXCERPT]}). Quote fields that hold the separator or line breaks"
            )
    rows = [[cell or None for cell in row] for _, row in lines[1:]]
    return pd.DataFrame(rows, columns=header, dtype=object)


def _read_json(path: Path, one_a_line: bool) -> pd.DataFrame:
    content = path.read_text(encoding="utf-8-sig")
    if one_a_line:
        lines = enumerate(content.split("\n"), start=1)
        rows = [_parse(line, path, number) for number, line in lines if line.strip()]
    else:
        rows = _parse(content, path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: expected {'one object a line' if one_a_line else 'a list of objects'}")
    return pd.DataFrame(rows, dtype=object)


def _parse(text: str, path: Path, first_line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}: not valid JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise InputError(f"{path}, line {first_line}: nested too deeply") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


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


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table in the format of the file's suffix, all or nothing.

    Args:
        table: what to write.
        path: a file with one of the suffixes in `SUFFIXES`.

    Raises:
        InputError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    writers: dict[str, Any] = {
        ".csv": lambda: table.to_csv(partial, index=False),
        ".tsv": lambda: table.to_csv(partial, index=False, sep="\t"),
        ".json": lambda: table.to_json(partial, orient="records", force_ascii=False),
        ".jsonl": lambda: table.to_json(partial, orient="records", lines=True, force_ascii=False),
        ".parquet": lambda: table.to_parquet(partial, index=False),
    }
    if path.suffix.lower() not in writers:
        raise InputError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    try:
        writers[path.suffix.lower()]()
        partial.replace(path)
    except (OSError, ValueError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({_first_line(error)})") from error
