"""Writing a table: csv, tsv, json, jsonl or parquet, all or nothing."""

from pathlib import Path
from typing import Any

import pandas as pd

from .display import first_line
from .errors import InputError, OutputError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
"""The formats of tables, those that are written and those that are read."""


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table in the format of the file's suffix, all or nothing.

    Args:
        table: what to write.
        path: a file with one of the suffixes in `SUFFIXES`.

    Raises:
        InputError: the suffix is unknown, or the format cannot hold what is in the table.
        OutputError: the file cannot be written.

    Example:
        >>> write_table(pd.DataFrame({"text": ["a"], "label": [0]}), "rows.csv")  # doctest: +SKIP
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
    except OSError as error:
        _remove(partial)
        raise OutputError(f"{path}: cannot be written ({first_line(error)})") from error
    except (TypeError, ValueError) as error:  # such as a column of texts and numbers in parquet
        _remove(partial)
        raise InputError(f"{path}: the table cannot be written in this format ({first_line(error)})") from error


def _remove(partial: Path) -> None:
    if partial.is_file():
        partial.unlink()
