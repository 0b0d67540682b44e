"""SST with five grades: the trees of the release, or lines for fastText."""

import re
from pathlib import Path

from ..errors import InputError
from .files import SPLIT_FILES, find, lines, missing
from .rows import Rows

__all__ = ["FORMAT", "FORMAT_FASTTEXT", "read"]

FORMAT = "SST trees"
FORMAT_FASTTEXT = "SST lines for fastText"

_ROOT = re.compile(r"\s*\(([0-4]) ")
_LEAF = re.compile(r"\([0-4] ([^()]+)\)")
_FASTTEXT = re.compile(r"__label__([1-5])\s+(.*)")
# How a treebank writes what has a meaning of its own in it.
_ESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}


def read(folder: Path, rows: Rows) -> str:
    """Read the sentences with the grade of the whole sentence: that of the tree's root, or of the line.

    The words stay separated by spaces, as in the release; escaped brackets and slashes are restored.

    Raises:
        InputError: files are missing, or a line is neither a tree nor a line for fastText.
    """
    format_name = FORMAT
    for split, stems in SPLIT_FILES.items():
        path = find(folder, [*stems, *(f"sst_{stem}" for stem in stems)], (".txt",))
        if path is None:
            if split == "train":
                raise missing(rows.entry, folder)
            continue
        for number, line in enumerate(lines(path), start=1):
            if not line.strip():
                continue
            if match := _FASTTEXT.fullmatch(line.strip()):
                format_name = FORMAT_FASTTEXT
                rows.add(split, _restore(match[2].split(" ")), [int(match[1]) - 1])
            elif match := _ROOT.match(line):
                rows.add(split, _restore(_LEAF.findall(line)), [int(match[1])])
            else:
                raise InputError(f"{path}, line {number}: neither a tree '(3 (2 ...) ...)' nor '__label__4 text'")
    return format_name


def _restore(words: list[str]) -> str:
    return " ".join(_ESCAPES.get(word, word).replace("\\/", "/").replace("\\*", "*") for word in words)
