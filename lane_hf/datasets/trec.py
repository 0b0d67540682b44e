"""TREC question types as released: train_5500.label and TREC_10.label, a question per line."""

from pathlib import Path

from ..errors import InputError
from .files import find, missing, read_text
from .rows import Rows

__all__ = ["FORMAT", "read"]

FORMAT = "TREC label files"
_FILES = {"train": ("train_5500",), "test": ("trec_10",)}
_COARSE = {
    "ABBR": "abbreviation",
    "ENTY": "entity",
    "DESC": "description",
    "HUM": "human",
    "LOC": "location",
    "NUM": "numeric",
}


def read(folder: Path, rows: Rows) -> str:
    """Read lines `COARSE:fine question`, such as `LOC:city What is the capital ?`; the fine type is left out.

    The release is not UTF-8 everywhere: one training question holds a character of Latin-1.

    Raises:
        InputError: the training file is missing, or a line does not begin with one of the six coarse types.
    """
    for split, stems in _FILES.items():
        path = find(folder, stems, (".label", ".txt"))
        if path is None:
            if split == "train":
                raise missing(rows.entry, folder)
            continue
        for number, line in enumerate(read_text(path)[0].splitlines(), start=1):
            if not line.strip():
                continue
            kind, _, question = line.strip().partition(" ")
            coarse = kind.partition(":")[0]
            if coarse not in _COARSE:
                raise InputError(
                    f"{path}, line {number}: {kind[:20]!r} is no type of question: {', '.join(_COARSE)}, each with a "
                    "colon and a finer type"
                )
            rows.add(split, question, [_COARSE[coarse]])
    return FORMAT
