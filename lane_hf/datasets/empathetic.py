"""Empathetic Dialogues as released: csv files that no csv reader can read."""

from pathlib import Path

from .files import SPLIT_FILES, find, lines, missing
from .rows import Rows

__all__ = ["FORMAT", "read"]

FORMAT = "Empathetic Dialogues csv"
_CONTEXT, _UTTERANCE, _INDEX = 2, 5, 1
_FIELDS = 6  # what follows the utterance (selfeval, tags) varies
_COMMA = "_comma_"


def read(folder: Path, rows: Rows) -> str:
    """Read the first turn of every conversation.

    The files are not csv: commas in texts are written `_comma_`, so a row is split at every comma, while quotes are
    text and need not be closed. Some rows have more fields than the header; the fields up to the utterance are right.

    Raises:
        InputError: files are missing or not UTF-8.
    """
    for split, stems in SPLIT_FILES.items():
        path = find(folder, stems, (".csv",))
        if path is None:
            if split == "train":
                raise missing(rows.entry, folder)
            continue
        for number, line in enumerate(lines(path)):
            fields = line.split(",")
            if number == 0 and fields[0] == "conv_id":
                continue
            if len(fields) < _FIELDS or not fields[_INDEX].strip().isdecimal():
                rows.drop(split, "damaged row")
            elif int(fields[_INDEX]) != 1:
                rows.drop(split, "later turn")
            else:
                rows.add(split, fields[_UTTERANCE].replace(_COMMA, ","), [fields[_CONTEXT]])
    return FORMAT
