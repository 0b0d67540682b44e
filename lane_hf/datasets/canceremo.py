"""CancerEmo as its authors' code reads it: one csv file for each emotion, with a yes or no for each sentence."""

from pathlib import Path

from ..errors import InputError
from .files import find, missing
from .rows import Rows
from .tables import read_table

__all__ = ["FORMAT", "read"]

FORMAT = "CancerEmo, a csv file for each emotion"
_SPLITS = {"0": "train", "1": "validation", "2": "test"}


def read(folder: Path, rows: Rows) -> str:
    """Join the files by sentence: a sentence's labels are the emotions whose file says 1.

    The files divide the sentences each on its own. A sentence with one emotion has the split of that emotion's file;
    a sentence without one has the split of the first file it is in.

    Raises:
        InputError: a file is missing or damaged.
    """
    labels: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for emotion in rows.entry.label_names:
        path = find(folder, (emotion,), (".csv",))
        if path is None:
            raise missing(rows.entry, folder, f"the file {emotion.capitalize()}.csv of the data set")
        for sentence, value, split in _file_rows(path, emotion):
            labels.setdefault(sentence, [])
            splits.setdefault(sentence, split)
            if value == "1" and emotion not in labels[sentence]:
                labels[sentence].append(emotion)
                splits[sentence] = split
    for sentence, emotions in labels.items():
        rows.add(splits[sentence], sentence, emotions)
    return FORMAT


def _file_rows(path: Path, emotion: str) -> list[tuple[str, str, str]]:
    table = read_table(path)
    columns = {str(name).casefold(): name for name in table.columns}
    absent = [name for name in ("sentence", emotion, "split") if name not in columns]
    if absent:
        raise InputError(f"{path}: no column {absent[0]!r}: the columns are {', '.join(table.columns)}")
    found = []
    for number, row in enumerate(zip(*(table[columns[name]] for name in ("sentence", emotion, "split")), strict=True)):
        sentence, value, split = (str(cell or "").strip() for cell in row)
        value, split = (part.removesuffix(".0") for part in (value, split))
        if value not in ("0", "1") or split not in _SPLITS:
            raise InputError(f"{path}, row {number + 1}: expected 0 or 1 and a split from 0 to 2")
        found.append((sentence, value, _SPLITS[split]))
    return found
