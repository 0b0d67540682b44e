"""Decisions of people about single rows, applied to the table that was trained on."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..display import excerpt, quoted
from ..errors import InputError
from ..label_name import label_name
from ..row_data import ROW_ID
from .fix import Fixed, apply_changes, make_changes
from .table import EXCERPT_LENGTH, TEXT_COLUMN
from .trained_texts import from_difference

if TYPE_CHECKING:
    from .label_issues import LabelIssues

_DECISIONS = ("keep", "relabel", "drop")
_STAYS = object()  # not the given label, which is missing for rows that were never seen: so is that of dropped ones


def apply_decisions(
    table: pd.DataFrame,
    decisions: pd.DataFrame,
    issues: "LabelIssues",
    *,
    label_column: str,
    text_column: str | None = None,
) -> Fixed:
    """Apply what people decided, row by row.

    Args:
        table: the rows that were trained on.
        decisions: with `row_id` and `decision` ('keep', 'relabel' or 'drop'; empty rows are undecided and stay) and,
            for 'relabel' only, `new_label` (the suggested label if empty); or with `row_id` and `label`, the right
            label of each row that was looked at. `given_label` and `text`, if there, must be those of the label table.
        issues: the label table.
        label_column: column of labels in `table`.
        text_column: column of texts in `table`; None takes any that holds the texts that were trained on.

    Raises:
        InputError: a column is missing, a decision or label is unknown, or a decision is about another row than the
            label table's, with the line where it stands; or the table is not the one that was trained on.

    Example:
        >>> decisions = pd.read_json("queue.jsonl", lines=True)  # doctest: +SKIP
        >>> apply_decisions(table, decisions, issues, label_column="label").data  # doctest: +SKIP
    """
    known = {*(issues.label_names or ()), *issues["given_label"].dropna(), *issues["runner_up_label"].dropna()}
    by_row = issues.drop_duplicates(ROW_ID).set_index(ROW_ID)
    changes = _decided(decisions, by_row, {str(label): label for label in known})
    return apply_changes(table, changes, issues, label_column, text_column)


def _decided(decisions: pd.DataFrame, issues: pd.DataFrame, by_text: dict[str, Any]) -> pd.DataFrame:
    needed = "decision" if "decision" in decisions else "label"
    for column in (ROW_ID, needed):
        if column not in decisions:
            raise InputError(
                f"the decisions have no column {column!r}: they need row_id and decision, or row_id and label"
            )
    ids = {str(row_id): row_id for row_id in issues.index}
    lines, seen = [], set()
    for number, row in enumerate(decisions.to_dict("records"), start=1):
        row_id = ids.get(str(row[ROW_ID]).removesuffix(".0"))
        if row_id is None:
            raise InputError(f"decision {number}: there is no row {excerpt(str(row[ROW_ID]))} in the label table")
        if row_id in seen:
            raise InputError(f"decision {number}: row {row_id} is decided twice")
        seen.add(row_id)
        _check_is_about(row, number, row_id, issues.loc[row_id])
        given = issues.at[row_id, "given_label"]
        after = _new_label(row, number, issues.at[row_id, "suggested_label"], by_text)
        if after is not _STAYS and (pd.isna(after) or pd.isna(given) or after != given):
            lines.append((row_id, given, after))
    if not lines:
        return make_changes([], [], [], [], "review")
    row_ids, before, after = zip(*lines, strict=True)
    return make_changes(row_ids, before, after, np.nan, "review")


def _check_is_about(row: dict[str, Any], number: int, row_id: Any, known: pd.Series) -> None:
    """Raise if a decision knows its row otherwise than the label table does: another run has other rows."""
    for column, same in (("given_label", _same_label), (TEXT_COLUMN, _same_text)):
        said, own = _word(row, column, number), known.get(column)
        if said.strip() and not pd.isna(own) and not same(said, str(own)):
            theirs, ours = from_difference(said, str(own))
            raise InputError(
                f"decision {number}: the {column} of row {row_id} is {theirs}, but {ours} in the label table: these "
                "decisions are about another training"
            )


def _same_label(said: str, own: str) -> bool:
    return own in (said, said.strip(), label_name(said.strip()))


def _same_text(said: str, own: str) -> bool:
    # Spreadsheets and tools for annotation change spaces and ends of lines; the label table cuts long texts.
    long, short = " ".join(said.split()), " ".join(own.split())
    return long == short or (len(own) >= EXCERPT_LENGTH and long.startswith(short))


def has_decision(decisions: pd.DataFrame) -> pd.Series:
    """Return in which rows of a reviewed queue or table people have decided anything, as a bool for each row."""
    cells = decisions["decision" if "decision" in decisions else "label"]
    return cells.map(lambda cell: not pd.isna(cell) and bool(str(cell).strip()))


def _new_label(row: dict[str, Any], number: int, suggested: Any, by_text: dict[str, Any]) -> Any:
    """Return the label that was decided on, `_STAYS` if it stays, missing if the row goes."""
    decision, wanted = (_word(row, "decision", number), _word(row, "new_label", number))
    if "decision" not in row:
        wanted = _word(row, "label", number)
        decision = "relabel" if wanted.strip() else "keep"
    decision = decision.strip().lower()
    if wanted.strip() and decision in ("", "keep", "drop"):
        is_there = f"decision is {quoted(decision)}" if decision else "decision is empty"
        raise InputError(
            f"decision {number}: new_label is {quoted(wanted)}, but {is_there}: write relabel, or clear new_label"
        )
    if decision in ("", "keep"):
        return _STAYS
    if decision == "drop":
        return pd.NA
    if decision != "relabel":
        raise InputError(
            f"decision {number}: {quoted(decision)} is unknown, expected one of {', '.join(_DECISIONS)}, or nothing"
        )
    if not wanted.strip() and pd.isna(suggested):
        raise InputError(f"decision {number}: nothing is suggested for this row, write its label into new_label")
    if not wanted.strip():
        return suggested
    # A name may begin with a space, and a column of numbers with an empty cell has 5.0 for 5.
    for name in (wanted, wanted.strip(), label_name(wanted.strip())):
        if name in by_text:
            return by_text[name]
    raise InputError(f"decision {number}: there is no label {quoted(wanted)} in the label table")


def _word(row: dict[str, Any], name: str, number: int) -> str:
    value = row.get(name)
    if not pd.api.types.is_scalar(value):
        raise InputError(f"decision {number}: {name} is a {type(value).__name__}, expected a text")
    return "" if value is None or pd.isna(value) else str(value)
