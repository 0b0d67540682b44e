"""From tables to `DatasetDict(text, label)`: which column is which, and what the labels are called."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ..display import excerpt, listed, quoted
from ..errors import InputError, naming
from ..label_name import label_name
from ..noise import FLIPPED_COLUMN, ORIGINAL_COLUMN
from .tables import is_unicode

_FOR_TEXT = ("text", "sentence", "content", "review", "question", "comment", "tweet", "utterance", "body", "document")
_FOR_LABEL = ("label", "labels", "target", "class", "category", "emotion", "sentiment", "intent", "topic")
_FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?|[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+")
# int() would take "1_2" and " 1" as well, and no more than some thousand digits.
_INTEGER = re.compile(r"[+-]?[0-9]{1,1000}")
_INEXACT = 2.0**53  # from here on, a floating-point number stands for several whole numbers
_SHOWN = 5
_OURS = (FLIPPED_COLUMN, ORIGINAL_COLUMN, "label_before_fix")  # what `lane noise` and `lane fix` add to a table
_MANY_LABELS = 50  # above this, a column in which every other value is new holds no class labels


def to_text_and_label(
    tables: Mapping[str, pd.DataFrame],
    text_column: str | None = None,
    label_column: str | None = None,
    keep: Sequence[str] = (),
    sources: Mapping[str, str] | None = None,
) -> DatasetDict:
    """Build splits with the features `text` and `label` from tables.

    The labels are those of the training table, in numerical or alphabetical order.

    Args:
        tables: `train` and, where they exist, `validation` and `test`. The test table may lack labels.
        text_column: the column of texts; None guesses, if only one column can be meant.
        label_column: the column of labels; None guesses likewise.
        keep: further columns of texts that the training split shall have, such as augmented texts.
        sources: the file of each table, for messages.

    Returns:
        Splits with `text` (string) and `label` (`ClassLabel`); an unlabelled test split has `text` only.

    Raises:
        InputError: a column is unknown or ambiguous, a text or label is missing, the labels are no classes, or a label
            does not occur in the training table.

    Example:
        >>> table = pd.DataFrame({"text": ["a", "b"], "label": ["no", "yes"]})
        >>> to_text_and_label({"train": table})["train"].features["label"].names
        ['no', 'yes']
    """
    sources = sources or {}
    keep = list(dict.fromkeys(keep))
    with naming(sources.get("train")):
        train = tables["train"].drop(columns=keep, errors="ignore")  # what is kept is not the text itself
        label_column = _choose(train, label_column, "label", _FOR_LABEL, exclude=text_column)
        text_column = _choose(train, text_column, "text", _FOR_TEXT, exclude=label_column)
        if text_column == label_column:
            raise InputError(
                f"texts and labels cannot both be in column {quoted(text_column)}: give two different columns"
            )
        names = label_names_of(_column(train, label_column, "train"), label_column, "train data: ")
    splits = {}
    for split, table in tables.items():
        with naming(sources.get(split)):
            splits[split] = _split(table, text_column, label_column, names, split)
    with naming(sources.get("train")):
        for column in keep:
            if column in splits["train"].column_names:
                raise InputError(f"a column of views cannot be called {column!r}: rename it")
            texts = _texts(_column(tables["train"], column, "train"), column, "train")
            splits["train"] = splits["train"].add_column(column, texts)
    return DatasetDict(splits)


def _split(table: pd.DataFrame, text_column: str, label_column: str, names: list[str], split: str) -> Dataset:
    texts = _texts(_column(table, text_column, split), text_column, split)
    if split == "test" and label_column not in table.columns:
        return Dataset.from_dict({"text": texts}, features=Features({"text": Value("string")}))
    labels = _labels(_column(table, label_column, split), names, label_column, split)
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


def label_column_of(table: pd.DataFrame) -> str:
    """Return the column of labels of a table, if only one can be meant.

    Raises:
        InputError: none or several can be meant.

    Example:
        >>> label_column_of(pd.DataFrame({"text": ["a"], "label": ["no"]}))
        'label'
    """
    return _choose(table, None, "label", _FOR_LABEL, exclude=None)


def text_column_of(table: pd.DataFrame, label_column: str, views: Sequence[str] | None = None) -> str | None:
    """Return the column of texts that training would take, None if it would not know one.

    Args:
        table: the table.
        label_column: its column of labels.
        views: columns of augmented texts, which are not meant.

    Example:
        >>> text_column_of(pd.DataFrame({"text": ["a"], "label": ["no"]}), "label")
        'text'
    """
    found = _found(table.drop(columns=list(views or ()), errors="ignore"), "text", _FOR_TEXT, label_column)
    return found[0] if len(found) == 1 else None


def _choose(table: pd.DataFrame, given: str | None, kind: str, usual: Sequence[str], exclude: str | None) -> str:
    columns = [str(column) for column in table.columns]
    if given is not None:
        if given not in columns:
            raise InputError(
                f"there is no column {quoted(given)} in the training data: the columns are {listed(columns)}"
            )
        return given
    found = _found(table, kind, usual, exclude)
    if len(found) != 1:
        problem = "cannot tell which column holds" if found else "no column looks like"
        raise InputError(f"{problem} the {kind}s: the columns are {listed(columns)}. Say which with --{kind}_column")
    return found[0]


def _found(table: pd.DataFrame, kind: str, usual: Sequence[str], exclude: str | None) -> list[str]:
    """Return the columns that can be meant."""
    remaining = [str(column) for column in table.columns if str(column) not in (exclude, *_OURS)]
    found = [column for column in remaining if column.lower() in usual]
    if kind == "text" and not found:
        found = [column for column in remaining if all(isinstance(cell, str | None) for cell in table[column])]
    return found


def _column(table: pd.DataFrame, name: str, split: str) -> list[Any]:
    if name not in table.columns:
        columns = [str(column) for column in table.columns]
        raise InputError(f"the {split} data has no column {quoted(name)}: its columns are {listed(columns)}")
    return table[name].tolist()


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _texts(cells: list[Any], column: str, split: str) -> list[str]:
    missing = [row for row, cell in enumerate(cells) if _is_missing(cell)]
    if missing:
        raise InputError(f"{split} data: {_rows(missing)} no text in column {quoted(column)}: fill or remove them")
    wrong = [row for row, cell in enumerate(cells) if not isinstance(cell, str)]
    if wrong:
        kind = type(cells[wrong[0]]).__name__
        raise InputError(f"{split} data: column {quoted(column)} holds {kind} where text is expected (row {wrong[0]})")
    _check_unicode(cells, column, f"{split} data: ")
    return cells


def _check_unicode(cells: list[Any], column: str, where: str) -> None:
    halves = [row for row, cell in enumerate(cells) if not is_unicode(str(cell))]
    if halves:
        raise InputError(f"{where}{_rows(halves)} half a character in column {quoted(column)}: mend the escapes in it")


def label_names_of(cells: list[Any], column: str, where: str = "") -> list[str]:
    """Return the names of the labels in a column, in the order of their numbers.

    Args:
        cells: the column.
        column: its name, for messages.
        where: for messages, what they begin with, such as "train data: ".

    Raises:
        InputError: a label is missing, the labels are no classes, or all are the same.

    Example:
        >>> label_names_of(["no", "yes", "no"], "label")
        ['no', 'yes']
    """
    _check_label_cells(cells, column, where)
    names = {label_name(cell) for cell in cells}
    if len(names) < 2:  # noqa: PLR2004
        raise InputError(
            f"{where}all rows have the label {quoted(next(iter(names)))} in column {quoted(column)}: at least 2 are "
            "needed"
        )
    fractions = sorted(name for name in names if _FRACTION.fullmatch(name))
    if fractions and all(_FRACTION.fullmatch(name) or _is_integer(name) for name in names):
        raise InputError(
            f"column {quoted(column)} holds numbers with fractions, such as {excerpt(fractions[0])}: regression is "
            "not supported. If they stand for classes, give these names; else say which column holds the labels with "
            "--label_column"
        )
    _check_number_of_labels(len(names), len(cells), column)
    return in_order(names)


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of labels in the order of their numbers: numerical if all are whole numbers, else alphabetical.

    Example:
        >>> in_order({"10", "9"}), in_order({"10", "9", "none"})
        (['9', '10'], ['10', '9', 'none'])
    """
    names = list(names)
    if all(map(_is_integer, names)):
        return sorted(names, key=lambda name: (int(name), name))  # "1" and "01" in the same order every time
    return sorted(names)


def _check_number_of_labels(labels: int, rows: int, column: str) -> None:
    if labels > _MANY_LABELS and labels > rows // 2:
        raise InputError(
            f"column {quoted(column)} has {labels} different values in {rows} rows: these are no class labels "
            "(regression is not supported). Say which column holds the labels with --label_column"
        )


def _is_integer(name: str) -> bool:
    return _INTEGER.fullmatch(name) is not None


def _labels(cells: list[Any], names: list[str], column: str, split: str) -> list[int]:
    _check_label_cells(cells, column, f"{split} data: ")
    index = {name: number for number, name in enumerate(names)}
    unknown = [row for row, cell in enumerate(cells) if label_name(cell) not in index]
    if unknown:
        label = quoted(label_name(cells[unknown[0]]))
        raise InputError(
            f"{split} data: label {label} (row {unknown[0]}) does not occur in the training data, which has "
            f"{listed(names, _SHOWN)}"
        )
    return [index[label_name(cell)] for cell in cells]


def _check_label_cells(cells: list[Any], column: str, where: str) -> None:
    missing = [row for row, cell in enumerate(cells) if _is_missing(cell) or str(cell) == ""]
    if missing:
        raise InputError(f"{where}{_rows(missing)} no label in column {quoted(column)}: fill or remove them")
    lists = [row for row, cell in enumerate(cells) if not isinstance(cell, (str, int, float))]
    if lists:
        kind = type(cells[lists[0]]).__name__
        raise InputError(
            f"{where}column {quoted(column)} holds {kind} (row {lists[0]}): multi-label and token "
            "classification are not supported, only one label a row, as text or a number"
        )
    inexact = [row for row, cell in enumerate(cells) if isinstance(cell, float) and not abs(cell) < _INEXACT]
    if inexact:
        raise InputError(
            f"{where}{_rows(inexact)} a label in column {quoted(column)} that floating-point numbers cannot "
            "tell from its neighbours: write labels as text or as whole numbers"
        )
    _check_unicode(cells, column, where)


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} (row {shown}) ha{'ve' if len(rows) > 1 else 's'}"
