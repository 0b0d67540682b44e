"""SciHTC: papers of the ACM digital library with their place in the ACM's tree of topics."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from .files import SPLIT_FILES, find, missing
from .label_names import CCS
from .rows import Rows
from .tables import read_table

__all__ = ["FORMAT", "FORMAT_TWO_FILES", "read", "second_level"]

FORMAT = "SciHTC, one table a split"
FORMAT_TWO_FILES = "SciHTC, texts and categories apart"

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
_TEXTS = "_title_abstract_keywords"
_CATEGORIES = ("_ids_83_categories", "_ids_all_categories")
_ARROW = "->"
_TOP = {name.casefold() for name in CCS}


def second_level(category: str) -> str | None:
    """The second-level topic of a path through the tree; None if the path does not go so deep.

    Example:
        >>> second_level("CCS->Networks->Network types->Wired networks")
        'Network types'
    """
    steps = [step.strip() for step in category.split(_ARROW)]
    if steps[0].casefold() not in _TOP:  # the root, whatever it is called
        steps = steps[1:]
    return steps[1] if len(steps) > 1 else None


def read(folder: Path, rows: Rows) -> str:
    """Read the papers with exactly one second-level topic; the text is title, subtitle and abstract.

    Raises:
        InputError: files are missing or damaged, or lack a column.
    """
    apart = find(folder, [f"train{_TEXTS}"], _SUFFIXES) is not None
    if not apart and find(folder, SPLIT_FILES["train"], _SUFFIXES) is None:
        raise missing(rows.entry, folder)
    for split, stems in SPLIT_FILES.items():
        table = _joined(folder, stems, rows) if apart else _one(folder, stems)
        if table is not None:
            for text, labels in _papers(*table):
                rows.add(split, text, labels)
    return FORMAT_TWO_FILES if apart else FORMAT


def _one(folder: Path, stems: tuple[str, ...]) -> tuple[pd.DataFrame, Path] | None:
    path = find(folder, stems, _SUFFIXES)
    return None if path is None else (_table(path), path)


def _joined(folder: Path, stems: tuple[str, ...], rows: Rows) -> tuple[pd.DataFrame, Path] | None:
    texts = find(folder, [f"{stem}{_TEXTS}" for stem in stems], _SUFFIXES)
    if texts is None:
        return None
    categories = find(folder, [f"{stem}{ending}" for ending in _CATEGORIES for stem in stems], _SUFFIXES)
    if categories is None:
        raise missing(rows.entry, folder, f"the categories for {texts.name} of the data set")
    left, right = _table(texts), _table(categories)
    for path, table in ((texts, left), (categories, right)):
        if "id" not in table.columns:
            raise InputError(f"{path}: no column 'id': the columns are {', '.join(table.columns)}")
    return left.merge(right[["id", *(set(right.columns) - set(left.columns))]], on="id"), texts


def _table(path: Path) -> pd.DataFrame:
    table = read_table(path)
    return table.rename(columns={name: str(name).strip().casefold() for name in table.columns})


def _papers(table: pd.DataFrame, path: Path) -> Iterator[tuple[str, list[str]]]:
    column = next((name for name in ("category", "categories") if name in table.columns), None)
    if column is None or "title" not in table.columns:
        raise InputError(f"{path}: columns Title, Abstract and Category expected, got {', '.join(table.columns)}")
    fields = [name for name in ("title", "subtitle", "abstract") if name in table.columns]
    for row in table.to_dict("records"):
        text = _join([row[name].strip() for name in fields if _is_text(row[name])])
        found = [second_level(category) for category in _paths(row[column])]
        yield text, list(dict.fromkeys(name for name in found if name is not None))


def _join(parts: list[str]) -> str:
    # A sentence of its own for each: a full stop only where there is no mark yet.
    ended = [part if part[-1] in ".!?" else f"{part}." for part in parts[:-1]]
    return " ".join([*ended, *parts[-1:]])


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str) and cell.strip().casefold() not in ("", "nan", "none")


def _paths(cell: Any) -> list[str]:
    # One path, a list of paths (json), or a list written as text (csv).
    if isinstance(cell, str) and cell.startswith("["):
        try:
            cell = ast.literal_eval(cell)
        except (ValueError, SyntaxError):
            return []
    if isinstance(cell, str):
        return [cell]
    return [str(path) for path in cell] if isinstance(cell, list) else []
