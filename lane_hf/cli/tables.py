"""Tables in and out of a command."""

import argparse
from typing import TYPE_CHECKING, Any

from ..display import listed, quoted
from ..errors import InputError
from .checks import check_new, check_suffix
from .output import add_json_argument, counted

if TYPE_CHECKING:
    import pandas as pd


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the input table and the output to a command."""
    parser.add_argument("table", help="csv, tsv, json, jsonl or parquet")
    parser.add_argument(
        "--output", required=True, help="where the result goes, likewise: a file that is not there yet"
    )
    add_json_argument(parser)


def read_input(arguments: argparse.Namespace, *new_columns: str) -> "pd.DataFrame":
    """Read the input, having checked that the output is new and can be written, and that new columns are free."""
    from ..datasets.tables import read_table

    check_suffix(arguments.output)
    check_new(arguments.output)
    table = read_table(arguments.table)
    taken = [column for column in new_columns if column in table.columns]
    if taken:
        raise InputError(f"{arguments.table}: there is a column {quoted(taken[0])} already, rename or remove it")
    return table


def cells_of(table: "pd.DataFrame", column: str, source: str) -> list[Any]:
    """Return the cells of a column of the table in the file `source`; none of them may be empty."""
    if column not in table.columns:
        known = listed([str(name) for name in table.columns])
        raise InputError(f"{source}: there is no column {quoted(column)}: the columns are {known}")
    cells: list[Any] = table[column].tolist()
    missing = [row for row, cell in enumerate(cells) if cell is None]
    if missing:
        raise InputError(
            f"{source}: column {quoted(column)} is empty in {counted(len(missing), 'row')} (first: row {missing[0]}): "
            "fill or remove them"
        )
    return cells
