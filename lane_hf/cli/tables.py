"""Tables in and out of a command."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the input table and the output to a command."""
    parser.add_argument("table", help="csv, tsv, json, jsonl or parquet")
    parser.add_argument("--output", required=True, help="where the result goes, likewise; never the input itself")


def read_input(arguments: argparse.Namespace, *new_columns: str) -> "pd.DataFrame":
    """Read the input, having checked that the output can be written and that new columns are free."""
    from ..datasets.tables import SUFFIXES, read_table

    output = Path(arguments.output)
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    if output.exists() and Path(arguments.table).exists() and output.samefile(arguments.table):
        raise InputError(f"{output}: the input would be overwritten, name another file")
    table = read_table(arguments.table)
    taken = [column for column in new_columns if column in table.columns]
    if taken:
        raise InputError(f"{arguments.table}: there is a column {taken[0]!r} already, rename or remove it")
    return table


def cells_of(table: "pd.DataFrame", column: str) -> list[Any]:
    """Return the cells of a column that has no empty ones."""
    if column not in table.columns:
        raise InputError(f"there is no column {column!r}: the columns are {', '.join(map(repr, table.columns))}")
    cells = table[column].tolist()
    missing = [row for row, cell in enumerate(cells) if cell is None]
    if missing:
        raise InputError(
            f"column {column!r} is empty in {len(missing)} rows (first: row {missing[0]}): fill or remove them"
        )
    return cells


def write_output(table: "pd.DataFrame", arguments: argparse.Namespace) -> None:
    """Write the output."""
    from ..datasets.tables import write_table

    write_table(table, arguments.output)
