"""GoEmotions as released: train.tsv, dev.tsv and test.tsv, without a header and without quotes."""

from pathlib import Path

from ..errors import InputError
from .files import SPLIT_FILES, find, lines, missing
from .rows import Rows

__all__ = ["FORMAT", "read"]

FORMAT = "GoEmotions tsv"
_NAMES_FILE = "emotions"
_MIN_FIELDS = 2  # text and label ids; the comment's id follows


def read(folder: Path, rows: Rows) -> str:
    """Read `text <tab> comma-separated label ids <tab> comment id`; texts hold quotes, which mean nothing.

    Raises:
        InputError: files are missing or damaged, or emotions.txt lists other labels than the release.
    """
    _check_names(folder, rows)
    for split, stems in SPLIT_FILES.items():
        path = find(folder, stems, (".tsv",))
        if path is None:
            if split == "train":
                raise missing(rows.entry, folder)
            continue
        for number, line in enumerate(lines(path), start=1):
            fields = line.split("\t")
            if len(fields) < _MIN_FIELDS:
                rows.drop(split, "damaged row")
                continue
            # "" has no labels; "2,27" has two
            ids = [part.strip() for part in fields[1].split(",") if part.strip()]
            if not all(part.isdecimal() for part in ids):
                raise InputError(f"{path}, line {number}: label ids expected in the second field, got {fields[1]!r}")
            rows.add(split, fields[0], [int(part) for part in ids])
    return FORMAT


def _check_names(folder: Path, rows: Rows) -> None:
    path = find(folder, (_NAMES_FILE,), (".txt",))
    if path is not None:
        names = tuple(line.strip() for line in lines(path) if line.strip())
        if names != rows.entry.label_names:
            raise InputError(f"{path}: {len(names)} names that are not those of the release, in its order")
