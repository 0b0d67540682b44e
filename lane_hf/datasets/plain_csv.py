"""Any data set as plain files: train.csv, validation.csv and test.csv with the columns text and label (names)."""

import csv
from pathlib import Path

from ..errors import InputError
from .files import SPLIT_FILES, find
from .rows import Rows
from .tables import read_table

__all__ = ["FORMAT", "is_plain", "read"]

FORMAT = "plain csv"
_COLUMNS = {"text", "label"}
_SHOWN = 8


def is_plain(folder: Path) -> bool:
    """Whether the folder has a train.csv whose first line names the columns text and label."""
    path = find(folder, SPLIT_FILES["train"], (".csv",))
    if path is None:
        return False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return set(next(csv.reader([file.readline()]), [])) >= _COLUMNS


def read(folder: Path, rows: Rows) -> str:
    """Read the splits into `rows`.

    Raises:
        InputError: a file is damaged, lacks a column, or has a label that the data set does not know.
    """
    for split, stems in SPLIT_FILES.items():
        path = find(folder, stems, (".csv",))
        if path is None:
            continue
        table = read_table(path)
        absent = sorted(_COLUMNS - set(table.columns))
        if absent:
            raise InputError(f"{path}: no column {absent[0]!r}: the columns are {', '.join(table.columns)}")
        for number, (text, label) in enumerate(zip(table["text"], table["label"], strict=True), start=1):
            # A file made for this loader is expected to be right: a wrong name is a mistake, no accident of a release.
            if label is not None and not rows.knows(label):
                shown = ", ".join(rows.entry.label_names[:_SHOWN])
                raise InputError(
                    f"{path}, row {number}: {label!r} is no label of {rows.entry.name!r}: "
                    f"expected names such as {shown}"
                )
            rows.add(split, text, [] if label is None else [label])
    return FORMAT
