"""From tables to `DatasetDict(text, label)`: which column is which, and what the labels are called."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ..errors import InputError

_TEXT_NAMES = ("text", "sentence", "content", "review", "question", "comment", "tweet", "utterance", "body", "document")
_LABEL_NAMES = ("label", "labels", "target", "class", "category", "emotion", "sentiment", "intent", "topic")
_SHOWN = 5
_MANY_LABELS = 50  # above this, a column in which every other value is new holds no class labels


def to_text_and_label(
    tables: Mapping[str, pd.DataFrame], text_column: str | None = None, label_column: str | None = None
) -> DatasetDict:
    """Build splits with the features `text` and `label` from tables.

    The labels are those of the training table, in numerical or alphabetical order.

    Args:
        tables: `train` and, where they exist, `validation` and `test`. The test table may lack labels.
        text_column: the column of texts; None guesses, if only one column can be meant.
        label_column: the column of labels; None guesses likewise.

    Returns:
        Splits with `text` (string) and `label` (`ClassLabel`); an unlabelled test split has `text` only.

    Raises:
        InputError: a column is unknown or ambiguous, a text or label is missing, or a label occurs in another split only.

    Example:
        >>> table = pd.DataFrame({"text": ["a", "b"], "label": ["no", "yes"]})
        >>> to_text_and_label({"train": table})["train"].features["label"].names
        ['no', 'yes']
    """
    train = tables["train"]
    label_column = _choose(train, label_column, "label", _LABEL_NAMES, exclude=text_column)
    text_column = _choose(train, text_column, "text", _TEXT_NAMES, exclude=label_column)
    names = _label_names(_column(train, label_column, "train"), label_column)
    splits = {}
    for split, table in tables.items():
        texts = _texts(_column(table, text_column, split), text_column, split)
        if split == "test" and label_column not in table.columns:
            splits[split] = Dataset.from_dict({"text": texts}, features=Features({"text": Value("string")}))
            continue
        labels = _labels(_column(table, label_column, split), names, label_column, split)
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        splits[split] = Dataset.from_dict({"text": texts, "label": labels}, features=features)
    return DatasetDict(splits)


def _choose(table: pd.DataFrame, given: str | None, kind: str, usual: Sequence[str], exclude: str | None) -> str:
    columns = [str(column) for column in table.columns]
    listed = ", ".join(map(repr, columns))
    if given is not None:
        if given not in columns:
            raise InputError(f"there is no column {given!r} in the training data: the columns are {listed}")
        return given
    remaining = [column for column in columns if column != exclude]
    found = [column for column in remaining if column.lower() in usual]
    if kind == "text" and not found:
        found = [column for column in remaining if all(isinstance(cell, str | None) for cell in table[column])]
    if len(found) != 1:
        problem = "cannot tell which column holds" if found else "no column looks like"
        raise InputError(f"{problem} the {kind}s: the columns are {listed}. Say which with --{kind}_column")
    return found[0]


def _column(table: pd.DataFrame, name: str, split: str) -> list[Any]:
    if name not in table.columns:
        listed = ", ".join(map(repr, table.columns))
        raise InputError(f"the {split} data has no column {name!r}: its columns are {listed}")
    return table[name].tolist()


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell)


def _texts(cells: list[Any], column: str, split: str) -> list[str]:
    missing = [row for row, cell in enumerate(cells) if _is_missing(cell)]
    if missing:
        raise InputError(f"{split} data: {_rows(missing)} no text in column {column!r}: fill or remove them")
    wrong = [row for row, cell in enumerate(cells) if not isinstance(cell, str)]
    if wrong:
        kind = type(cells[wrong[0]]).__name__
        raise InputError(f"{split} data: column {column!r} holds {kind} where text is expected (row {wrong[0]})")
    return cells


def _key(cell: Any) -> str:
    # 1, 1.0 and "1" are the same label: files differ in how they write a number.
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _label_names(cells: list[Any], column: str) -> list[str]:
    _check_label_cells(cells, column, "train")
    names = {_key(cell) for cell in cells}
    if len(names) < 2:  # noqa: PLR2004
        raise InputError(f"all rows of the training data have the label {next(iter(names))!r}: at least 2 are needed")
    if len(names) > _MANY_LABELS and len(names) > len(cells) // 2:
        raise InputError(
            f"column {column!r} has {len(names)} different values in {len(cells)} rows: these are no class labels "
            "(regression is not supported). Say which column holds the labels with --label_column"
        )
    try:
        return sorted(names, key=int)
    except ValueError:
        return sorted(names)


def _labels(cells: list[Any], names: list[str], column: str, split: str) -> list[int]:
    _check_label_cells(cells, column, split)
    index = {name: number for number, name in enumerate(names)}
    unknown = [row for row, cell in enumerate(cells) if _key(cell) not in index]
    if unknown:
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise InputError(
            f"{split} data: label {_key(cells[unknown[0]])!r} (row {unknown[0]}) does not occur in the training data, "
            f"which has {shown}"
        )
    return [index[_key(cell)] for cell in cells]


def _check_label_cells(cells: list[Any], column: str, split: str) -> None:
    missing = [row for row, cell in enumerate(cells) if _is_missing(cell)]
    if missing:
        raise InputError(f"{split} data: {_rows(missing)} no label in column {column!r}: fill or remove them")
    lists = [row for row, cell in enumerate(cells) if not isinstance(cell, (str, int, float))]
    if lists:
        raise InputError(
            f"{split} data: column {column!r} holds {type(cells[lists[0]]).__name__} (row {lists[0]}): multi-label and "
            "token classification are not supported, only one label a row"
        )


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} (row {shown}) ha{'ve' if len(rows) > 1 else 's'}"
