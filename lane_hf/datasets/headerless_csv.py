"""The csv files of Zhang et al. (2015): AG News, Yahoo! Answers, Yelp and Amazon reviews."""

from pathlib import Path

from ..errors import InputError
from .files import SPLIT_FILES, csv_rows, find, lines, missing
from .rows import Rows

__all__ = ["FORMAT", "read"]

FORMAT = "csv without header, class index first"


def read(folder: Path, rows: Rows) -> str:
    """Read rows of a class index, which counts from 1, and one or more parts of the text.

    Fields are quoted, quotes in them doubled; line breaks stand as a backslash and an n. Parts that are empty, as many
    questions of Yahoo! Answers are, are left out; a row without any text is dropped and counted.

    Raises:
        InputError: files are missing, have wrong quotes, another number of fields or no class index; or classes.txt
            lists other classes.
    """
    entry = rows.entry
    _check_classes(folder, rows)
    for split, stems in SPLIT_FILES.items():
        path = find(folder, stems, (".csv",))
        if path is None:
            if split == "train":
                raise missing(entry, folder)
            continue
        for line, (index, *parts) in csv_rows(path):
            if len(parts) != len(entry.text_fields):
                raise InputError(
                    f"{path}, line {line}: {len(parts) + 1} fields, expected {len(entry.text_fields) + 1}: "
                    f"class index, {', '.join(entry.text_fields)}"
                )
            if not index.strip().isdecimal() or not 1 <= int(index) <= len(entry.label_names):
                raise InputError(
                    f"{path}, line {line}: {index[:20]!r} is no class index from 1 to {len(entry.label_names)}"
                )
            text = entry.text_separator.join(part.strip() for part in parts if part.strip())
            rows.add(split, text, [int(index) - 1])
    return FORMAT


def _check_classes(folder: Path, rows: Rows) -> None:
    path = find(folder, ("classes",), (".txt",))
    if path is None or rows.entry.geometry == "ordinal":  # stars have no names worth checking
        return
    names = [line.strip() for line in lines(path) if line.strip()]
    if [name.casefold() for name in names] != [name.casefold() for name in rows.entry.label_names]:
        raise InputError(f"{path}: {len(names)} classes that are not those of {rows.entry.name!r}, in its order")
