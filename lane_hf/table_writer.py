"""Writing a table: csv, tsv, json, jsonl or parquet, all or nothing."""

import csv
import datetime
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .display import first_line
from .errors import InputError, OutputError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
"""The formats of tables, those that are written and those that are read."""

# Such as a column of texts and numbers in parquet, whole numbers above its largest, or empty objects.
_NOT_HELD = (TypeError, ValueError, OverflowError, NotImplementedError)


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
        ".csv": lambda: _write_delimited(table, partial, ","),
        ".tsv": lambda: _write_delimited(table, partial, "\t"),
        ".json": lambda: _write_json(table, partial, one_a_line=False),
        ".jsonl": lambda: _write_json(table, partial, one_a_line=True),
        ".parquet": lambda: table.to_parquet(partial, index=False),
    }
    if path.suffix.lower() not in writers:
        raise InputError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    try:
        writers[path.suffix.lower()]()
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({first_line(error)})") from error
    except _NOT_HELD as error:
        raise InputError(f"{path}: the table cannot be written in this format ({first_line(error)})") from error
    finally:
        if partial.is_file():  # also when it was interrupted
            partial.unlink()


def _write_delimited(table: pd.DataFrame, path: Path, separator: str) -> None:
    # Python before 3.13 quotes no lone carriage return, which readers take for the end of a line.
    names = [str(name) for name in table.columns]
    torn = any("\r" in name for name in names) or any(
        isinstance(cell, str) and "\r" in cell
        for position in range(len(names))
        if not pd.api.types.is_numeric_dtype(table.dtypes.iloc[position])
        for cell in table.iloc[:, position]
    )
    quoting = csv.QUOTE_NONNUMERIC if torn else csv.QUOTE_MINIMAL
    table.to_csv(path, index=False, sep=separator, quoting=quoting)


def _write_json(table: pd.DataFrame, path: Path, *, one_a_line: bool) -> None:
    # Not pandas' writer, which cuts numbers after ten decimals and makes milliseconds of dates.
    if not table.columns.is_unique:
        raise ValueError(f"more than one column is called {table.columns[table.columns.duplicated()][0]!r}")
    columns = [_json_cells(table[name]) for name in table.columns]
    names = [str(name) for name in table.columns]
    rows = (
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, separators=(",", ":"))
        for row in zip(*columns, strict=True)
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        if one_a_line:
            file.writelines(f"{row}\n" for row in rows)
        else:
            file.write(f"[{','.join(rows)}]\n")


def _json_cells(column: pd.Series) -> list[Any]:
    return (
        [_json_value(cell) for cell in column.tolist()]
        if column.dtype != np.float32
        else [
            # The shortest number that means the same: as a double, 0.1 would have digits that mean nothing.
            _json_value(float(str(cell)))
            for cell in column.to_numpy()
        ]
    )


def _json_value(cell: Any) -> Any:
    """Return what JSON writes of a cell; it knows no numbers that are not finite, and no dates."""
    if isinstance(cell, np.ndarray | np.generic):
        return _json_value(cell.tolist())
    if isinstance(cell, dict):
        return {str(name): _json_value(value) for name, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_json_value(value) for value in cell]
    if cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell
