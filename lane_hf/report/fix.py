"""Fixing labels: replace or drop what a label table finds wrong, with a log of every change.

Nothing is overwritten: a new table or data set is returned, the label before the fix stands in a column of its own.
In a table that was fixed before, that column stays as it is: it has the label before the first fix.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ..display import quoted
from ..errors import InputError
from ..label_name import label_name
from ..row_data import ROW_ID
from .table import TEXT_COLUMN, is_text
from .trained_texts import check_texts

if TYPE_CHECKING:
    from pathlib import Path

    from datasets import Dataset

    from .label_issues import LabelIssues

BEFORE_COLUMN = "label_before_fix"
ACTIONS = ("relabel", "drop", "review")
# With so many rows per label, new labels were right as often as promised. Measured with examples/own_csv.py on rows of
# the demo data, a fifth of them spoiled: the share that was right of the new labels with a confidence of 0.5 or more,
# and the promise. Of 25 labels with 24 rows each .16 (.64), with 48 .61 (.61), with 100 .70 (.67); of 6 labels with 24
# rows each .47 (.60), with 48 .74 (.62), with 100 .81 (.66). Labels were wrong as often as promised with 24, too.
_ROWS_PER_LABEL = 48


class Fixed(NamedTuple):
    """What a fix returns.

    Attributes:
        data: the new table (`pandas.DataFrame`) or data set (`datasets.Dataset`).
        changes: one line per changed row: `row_id`, `before`, `after` (missing if the row was dropped), `confidence`
            (NaN for a person's decision), `source` ('suggestion' or 'review').

    Example:
        >>> data, changes = issues.fix(verbose=False)  # doctest: +SKIP
    """

    data: Any
    changes: pd.DataFrame


def plan(issues: "LabelIssues", *, min_confidence: float = 0.9, action: str = "relabel") -> pd.DataFrame:
    """Return which rows a fix would change: the `changes` of [`Fixed`].

    Args:
        issues: the label table.
        min_confidence: 'relabel' takes issues whose suggestion is right with at least this probability, 'drop' those
            whose label is wrong with at least this probability.
        action: 'relabel' or 'drop'.

    Raises:
        InputError: an argument makes no sense.

    Example:
        >>> len(plan(issues, min_confidence=0.95, action="drop"))  # doctest: +SKIP
        12
    """
    if action not in ACTIONS[:2]:
        raise InputError(f"action={action!r} is unknown: choose relabel or drop")
    if not 0 <= min_confidence <= 1:
        raise InputError(f"min_confidence must be in [0, 1], got {min_confidence}")
    column = "suggestion_confidence" if action == "relabel" else "noise_probability"
    chosen = issues[issues["is_issue"] & (issues[column] >= min_confidence)]
    after = chosen["suggested_label"] if action == "relabel" else pd.NA
    return make_changes(chosen[ROW_ID], chosen["given_label"], after, chosen[column], "suggestion")


def expectation(issues: "LabelIssues", changes: pd.DataFrame, action: str) -> str:
    """Put into words what a plan is expected to do, before it is done."""
    if changes.empty:
        return "No label is certain enough to be changed: lower min_confidence, or review the issues."
    noise = issues.set_index(ROW_ID).loc[changes[ROW_ID], "noise_probability"].mean()
    words = f"{len(changes)} of {len(issues)} rows will be {'relabelled' if action == 'relabel' else 'dropped'}: "
    words += f"expected precision {noise:.1%} (their labels are wrong)"
    if action == "relabel":
        words += f", {changes['confidence'].mean():.1%} (the new labels are right)"
    return f"{words}.{_few_rows(issues, action)}"


def _few_rows(issues: "LabelIssues", action: str) -> str:
    """Return a warning if there are too few rows to suggest labels, or nothing."""
    given = issues["given_label"].dropna()
    rows = len(given) / max(given.nunique(), 1)
    if action != "relabel" or rows >= _ROWS_PER_LABEL:
        return ""
    return (
        f" Warning: {rows:.0f} rows for each label are few ({_ROWS_PER_LABEL} were enough where it was measured): "
        "fewer of the new labels may be right than that. Read the changes, or review the issues instead."
    )


def fix_table(
    table: pd.DataFrame,
    issues: "LabelIssues",
    *,
    label_column: str,
    min_confidence: float = 0.9,
    action: str = "relabel",
    text_column: str | None = None,
) -> Fixed:
    """Relabel or drop rows of a table.

    Args:
        table: the rows that were trained on, in the same order or with their `row_id`.
        issues: the label table.
        label_column: column of labels in `table`.
        min_confidence: see [`plan`].
        action: see [`plan`].
        text_column: column of texts in `table`, which shows that its rows are those that were trained on; None takes
            any that holds them.

    Returns:
        [`Fixed`] with a new table: labels replaced, the former ones in `label_before_fix` (if there is such a column
        already, from an earlier fix, it stays as it is).

    Raises:
        InputError: an argument makes no sense, or the table is not the one that was trained on.

    Example:
        >>> fixed = fix_table(table, issues, label_column="label")  # doctest: +SKIP
        >>> fixed.data.to_csv("fixed.csv", index=False)  # doctest: +SKIP
    """
    changes = plan(issues, min_confidence=min_confidence, action=action)
    return apply_changes(table, changes, issues, label_column, text_column)


def fix_dataset(
    dataset: "Dataset",
    issues: "LabelIssues",
    *,
    min_confidence: float = 0.9,
    action: str = "relabel",
    output: "str | Path | None" = None,
    label_column: str | None = None,
    verbose: bool = True,
) -> Fixed:
    """Relabel or drop rows of a data set, or queue them for review.

    Args:
        dataset: what was trained on.
        issues: the label table.
        min_confidence: see [`plan`].
        action: 'relabel', 'drop', or 'review': change nothing, and write all issues into `output`.
        output: file of the review queue (.jsonl), for 'review' only.
        label_column: None takes the first of labels, label, label_ids.
        verbose: print what to expect before anything is done, or where the queue is.

    Returns:
        [`Fixed`] with a new data set; labels keep their feature, such as `ClassLabel`.

    Raises:
        InputError: an argument makes no sense, or the data set is not the one that was trained on.

    Example:
        >>> fixed = fix_dataset(train, issues, action="drop", min_confidence=0.95)  # doctest: +SKIP
    """
    if action not in ACTIONS:
        raise InputError(f"action={action!r} is unknown: choose one of {', '.join(ACTIONS)}")
    if (action == "review") != (output is not None):
        raise InputError("action='review' writes into output: give both or none of them")
    if output is not None:
        from .review import write_review_queue

        paths = write_review_queue(issues, output)
        if verbose:
            print(f"Queue for review: {', '.join(map(str, paths))}")  # noqa: T201 -- asked for
        return Fixed(dataset, make_changes([], [], [], [], "review"))
    column = _label_column(dataset, label_column)
    feature = dataset.features[column]
    values = dataset.with_format(None)[column][:]
    coded = _names_of_codes(values, getattr(feature, "names", None), issues)
    needed = {column: [coded[value] for value in values] if coded else values}
    for name in dataset.column_names:
        if name == ROW_ID or (TEXT_COLUMN in issues and is_text(dataset.features[name]) and name != column):
            needed[name] = dataset.with_format(None)[name][:]
    changes = plan(issues, min_confidence=min_confidence, action=action)
    if verbose:
        print(expectation(issues, changes, action))  # noqa: T201 -- asked for: what to expect, before it is done
    after = apply_changes(pd.DataFrame(needed), changes, issues, column).data
    kind = type(values[0])  # int, or bool
    labels = [kind(coded.index(label)) for label in after[column]] if coded else after[column].tolist()
    return Fixed(_relabelled(dataset.select(after.index.tolist()), column, labels), changes)


def _relabelled(dataset: "Dataset", column: str, labels: list[Any]) -> "Dataset":
    """Return a data set with other labels in their place, and what was there in a column of its own."""
    feature = dataset.features[column]
    if BEFORE_COLUMN not in dataset.column_names:
        dataset = dataset.add_column(BEFORE_COLUMN, dataset.with_format(None)[column][:], feature=feature)
    order = dataset.column_names
    return dataset.remove_columns(column).add_column(column, labels, feature=feature).select_columns(order)


def _label_column(dataset: "Dataset", given: str | None) -> str:
    if not hasattr(dataset, "column_names"):
        raise InputError(
            f"a {type(dataset).__name__} cannot be fixed, only a datasets.Dataset: lane_hf.report.fix.plan(issues) "
            "says which rows to change, for code of your own"
        )
    names = [given] if given else ["labels", "label", "label_ids"]
    column = next((name for name in names if name in dataset.column_names), None)
    if column is None:
        raise InputError(f"the data set has no label column {names[0]!r}: give label_column")
    return column


def _names_of_codes(values: list[Any], own: list[str] | None, issues: "LabelIssues") -> list[str] | None:
    """Return what the numbers in a column of labels stand for; None if it holds the labels themselves.

    The names of the data set and those of the label table, which are the model's, may differ: a model that was given
    none has LABEL_0, LABEL_1, ..., and one without a configuration has numbers. Training took the numbers, so that
    they are what both have in common.
    """
    shown = {str(label) for label in issues["given_label"].dropna()}
    if shown <= {str(label) for label in (own or values)} or not all(isinstance(value, int) for value in values):
        return own
    names = issues.label_names or [str(number) for number in range(1 + max(values))]
    return names if all(0 <= value < len(names) for value in values) else own


def make_changes(row_ids: Any, before: Any, after: Any, confidence: Any, source: str) -> pd.DataFrame:
    """Return a log of changes, as in [`Fixed`], from its columns."""
    columns = {ROW_ID: row_ids, "before": before, "after": after, "confidence": confidence, "source": source}
    return pd.DataFrame(columns).reset_index(drop=True)


def apply_changes(
    table: pd.DataFrame,
    changes: pd.DataFrame,
    issues: "LabelIssues",
    label_column: str,
    text_column: str | None = None,
) -> Fixed:
    """Return a table with changes made, having checked that it is the table that was trained on."""
    if label_column not in table.columns:
        raise InputError(f"there is no column {label_column!r}: name the column of labels")
    position = _positions(table, issues, label_column)
    check_texts(table, issues, position, label_column, text_column)
    fixed = table.assign(**{BEFORE_COLUMN: table[BEFORE_COLUMN if BEFORE_COLUMN in table.columns else label_column]})
    at = [position[row_id] for row_id in changes[ROW_ID]]
    dropped = changes["after"].isna().to_numpy(bool)
    labels = fixed[label_column].to_numpy(object, copy=True)
    own = {label_name(cell): cell for cell in labels}  # as the table writes it: 2 is no "2"
    for where, after in zip(np.asarray(at)[~dropped], changes["after"][~dropped], strict=True):
        labels[where] = own.get(str(after), after)
    fixed[label_column] = pd.Series(labels, index=fixed.index).infer_objects()
    return Fixed(fixed.drop(index=fixed.index[np.asarray(at, dtype=int)[dropped]]), changes)


def _positions(table: pd.DataFrame, issues: "LabelIssues", label_column: str) -> dict[Any, int]:
    """Return where each row id stands in the table, having checked that it is the table that was trained on."""
    if len(table) != len(issues):
        raise InputError(f"the table has {len(table)} rows, the label table {len(issues)}: it is another table")
    ids = table[ROW_ID].tolist() if ROW_ID in table.columns else range(len(table))
    position = {_as_id(row_id): number for number, row_id in enumerate(ids)}
    labels = table[label_column].map(label_name).to_numpy()
    for row_id, given in zip(issues[ROW_ID], issues["given_label"], strict=True):
        where = position.get(row_id)
        if where is None:
            raise InputError(f"the table has no row with row_id {row_id}: it is another table")
        if not pd.isna(given) and labels[where] != str(given):
            raise InputError(
                f"row {row_id}: its label is {quoted(labels[where])}, but it was trained with {quoted(given)}: the "
                "table has changed since"
            )
    return position


def _as_id(row_id: Any) -> Any:
    text = str(row_id)
    return int(text) if text.lstrip("-").isdecimal() else row_id
