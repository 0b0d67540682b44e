"""Whether a table still holds the texts that were trained on, each in its row."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..display import quoted
from ..errors import InputError
from ..row_data import ROW_ID
from .table import EXCERPT_LENGTH, TEXT_COLUMN

_BEFORE = 15  # so many characters are shown before the first one that differs


def check_texts(
    table: pd.DataFrame,
    issues: pd.DataFrame,
    position: Mapping[Any, int],
    label_column: str,
    text_column: str | None = None,
) -> None:
    """Raise unless a table holds the texts of a label table: labels alone do not show that rows have moved.

    Args:
        table: the rows that were trained on.
        issues: the label table. Without texts, as of pictures or of margins, there is nothing to compare.
        position: where each row id stands in `table`.
        label_column: column of labels in `table`.
        text_column: column of texts. None takes any column that holds all of them, and compares nothing if no column
            holds a single one.

    Raises:
        InputError: a row has another text than the one that was trained on.

    Example:
        >>> table = pd.DataFrame({"text": ["a", "b"], "label": ["x", "x"]})
        >>> check_texts(table, pd.DataFrame({"row_id": [0, 1], "text": ["a", "b"]}), {0: 0, 1: 1}, "label")
    """
    if TEXT_COLUMN not in issues:
        return
    texts = zip(issues[ROW_ID], issues[TEXT_COLUMN], strict=True)
    trained = [(row_id, text) for row_id, text in texts if not pd.isna(text) and text]
    is_known = text_column is not None and text_column in table.columns
    changed = None
    for column, cells in table.items():
        if column in (label_column, ROW_ID) or (is_known and column != text_column):
            continue
        rows = cells.to_numpy(object)
        pairs = [(row_id, rows[position[row_id]], text) for row_id, text in trained]
        pairs = [pair for pair in pairs if isinstance(pair[1], str)]  # a missing one is not compared
        wrong = [pair for pair in pairs if not _same(*pair[1:])]
        if pairs and not wrong:
            return
        # A column without a single text that was trained on holds something else, unless its name says otherwise.
        if wrong and (len(wrong) < len(pairs) or is_known or column == TEXT_COLUMN):
            changed = changed or wrong[0]
    if changed is not None:
        row_id, cell, text = changed
        own, trained_with = from_difference(cell, text)
        raise InputError(
            f"row {row_id}: its text is {own}, but it was trained with {trained_with}: the table has changed since"
        )


def from_difference(first: str, second: str) -> tuple[str, str]:
    """Return excerpts of two texts in quotes, from shortly before the first character that differs.

    Example:
        >>> from_difference("what a long and nice day", "what a long and nice way")
        ("'... long and nice day'", "'... long and nice way'")
    """
    differs = next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, differs - _BEFORE)
    one, other = (quoted(f"...{text[start:]}" if start else text) for text in (first, second))
    return one, other


def _same(cell: str, text: str) -> bool:
    # Built-in data sets lose spaces at both ends on their way into training.
    return text in (cell[:EXCERPT_LENGTH], cell.strip()[:EXCERPT_LENGTH])
