"""A report for those who trained elsewhere: from any table of row id, label and margin per epoch.

The `aum` package, Dataset Cartography's code and home-made loops write such tables.
"""

import warnings

import numpy as np
import pandas as pd
import torch

from ..display import listed, quoted
from ..errors import InputError
from ..noise_probability import noise_probability
from .label_issues import LabelIssues
from .run_record import RunRecord
from .table import COLUMNS

_NAMES = {
    "row_id": ("row_id", "sample_id", "guid", "id"),
    "label": ("label", "given_label", "target_logit", "gold"),
    "epoch": ("epoch", "num_measurements"),
    "margin": ("margin",),
    "other": ("other_label", "other_logit"),
}


def issues_from_margins(table: pd.DataFrame, label_names: list[str] | None = None) -> RunRecord:
    """Build a label table and its report's record from margins.

    Args:
        table: either long, one line per visit, with `row_id`, `label`, `margin`, and optionally `epoch` and
            `other_label` (the best other label); or wide, one line per row, with `row_id`, `label` and one column of
            margins per epoch whose name begins with `margin`. The names in the `full_aum_records.csv` of the `aum`
            package are known too.
        label_names: names of labels that are numbered from 0; None takes the labels as they are.

    Returns:
        [`RunRecord`] with a label table. What margins do not show is missing in it: probabilities (`confidence`,
        `variability`), and suggestions where there is no `other_label`. Its weights are 1.

    Raises:
        InputError: a column is missing, a row has two labels, or a cell is no number.

    Source: Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020.

    Example:
        >>> table = pd.DataFrame({"row_id": [0, 1], "label": ["a", "b"], "margin_1": [1.0, -2.0], "margin_2": [3, -1]})
        >>> issues_from_margins(table).issues[["row_id", "aum"]].values.tolist()
        [[1.0, -1.5], [0.0, 2.0]]
    """
    twice = [name for name in label_names or () if (label_names or []).count(name) > 1]
    if twice:
        raise InputError(f"label_names has {quoted(twice[0])} twice: give every label a name of its own")
    visits = _long(table)
    rows = visits.groupby("row_id", sort=True)
    if (rows["label"].nunique() > 1).any():
        culprit = rows["label"].nunique().idxmax()
        raise InputError(f"row {culprit} has two different labels: a margin table has one label per row")
    margins = visits.pivot_table(index="row_id", columns="epoch", values="margin", aggfunc="mean", sort=True)
    labels = rows["label"].first()
    issues = LabelIssues(_label_table(visits, labels, label_names), label_names)
    return RunRecord(
        issues=issues,
        margins=margins.to_numpy(np.float32).T.clip(-65504, 65504).astype(np.float16),
        margin_row_ids=margins.index.to_numpy(),
    )


def _long(table: pd.DataFrame) -> pd.DataFrame:
    """Return one line per visit: row_id, label, epoch, margin and other (missing if not known)."""
    found = {ours: next((name for name in names if name in table), None) for ours, names in _NAMES.items()}
    wide = [name for name in table.columns if str(name).startswith("margin") and name != "margin"]
    needed = ("row_id", "label") if wide else ("row_id", "label", "margin")
    for ours in needed:
        if found[ours] is None:
            raise InputError(
                f"the table of margins has no column {ours!r}: its columns are {listed(list(map(str, table.columns)))}"
            )
    for column in (found["label"], found["other"]):
        if column is not None:
            _check_scalars(table[column], column)
    if wide:
        long = table.melt([found["row_id"], found["label"]], wide, var_name="epoch", value_name="margin")
        long["epoch"] = long["epoch"].map({name: number for number, name in enumerate(wide)})
        found |= {"epoch": "epoch", "margin": "margin", "other": None}
    else:
        long = table
    visits = pd.DataFrame({"row_id": _integers(long[found["row_id"]]), "label": long[found["label"]]})
    visits["margin"] = _finite(_numbers(long[found["margin"]], "margin"))
    visits["other"] = pd.NA if found["other"] is None else long[found["other"]].to_numpy()
    counted = visits.groupby("row_id").cumcount()
    visits["epoch"] = counted if found["epoch"] is None else _numbers(long[found["epoch"]], "epoch").astype(int)
    visits = visits.dropna(subset=["margin"])
    if visits.empty:
        raise InputError("the table of margins has no margin in it: every cell is empty")
    if visits["label"].isna().any():
        raise InputError(f"row {visits.loc[visits['label'].isna(), 'row_id'].iloc[0]} has a margin, but no label")
    return visits


def _check_scalars(cells: pd.Series, column: str) -> None:
    wrong = [cell for cell in cells if not pd.api.types.is_scalar(cell)]
    if wrong:
        kind = type(wrong[0]).__name__
        raise InputError(f"column {column!r}: {quoted(wrong[0])} is a {kind}, expected a text or a number")


def _integers(column: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        bad = column[numbers.isna() | (numbers % 1 != 0)].iloc[0]
        raise InputError(f"row ids must be integers, got {quoted(bad)}: number the rows of your data set")
    return numbers.to_numpy(np.int64)


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna()
    if wrong.any():
        raise InputError(f"column {name!r}: {quoted(column[wrong].iloc[0])} is no number")
    return numbers.to_numpy(np.float64)


def _finite(margins: np.ndarray) -> np.ndarray:
    """Return margins with NaN in the place of those that no float32 holds: one would spoil the fit of its label."""
    with np.errstate(over="ignore"):
        infinite = np.isinf(margins.astype(np.float32))
    if infinite.any():
        warnings.warn(f"{infinite.sum()} margins are infinite, or too large to count: left out", stacklevel=4)
    return np.where(infinite, np.nan, margins)


def _label_table(visits: pd.DataFrame, labels: pd.Series, names: list[str] | None) -> pd.DataFrame:
    rows = visits.groupby("row_id", sort=True)
    average = rows["margin"].mean()
    codes = torch.tensor(pd.factorize(labels, sort=True)[0])
    values = torch.tensor(average.to_numpy())
    noise = noise_probability(values, None, codes, int(codes.max()) + 1).numpy()
    other, share = _runner_up(visits, average.index)
    is_issue = noise > 0.5  # noqa: PLR2004 -- more likely than not
    given = _named(labels, names)
    other = _named(other, names)
    if other.notna().any() and given.dtype != other.dtype:  # names and numbers: one kind in all columns of labels
        given, other = given.astype("string"), other.astype("string")
    suggested = given.mask(is_issue, other)
    missing = np.full(len(average), np.nan, dtype=np.float32)
    confidence = np.where(is_issue, np.where(other.isna(), np.nan, noise * share), 1 - noise)
    table = pd.DataFrame(
        {
            "row_id": average.index,
            "given_label": given,
            "suggested_label": suggested,
            "suggestion_confidence": confidence,
            "noise_probability": noise,
            "runner_up_label": other,
            "runner_up_share": share,
            **dict.fromkeys(("score", "alm", "aum"), average),
            **dict.fromkeys(("confidence", "variability"), missing),
            "correctness": rows["margin"].agg(lambda own: (own > 0).mean()),
            "weight": 1.0,
            "visits": rows.size().astype("int32"),
            "is_issue": is_issue,
        }
    )[list(COLUMNS)]
    numbers = table.columns[table.dtypes == "float64"]
    return table.astype(dict.fromkeys(numbers, "float32")).sort_values("score", kind="stable", ignore_index=True)


def _runner_up(visits: pd.DataFrame, index: pd.Index) -> tuple[pd.Series, pd.Series]:
    """Return each row's most frequent best other label, and its share of the visits."""
    counts = visits.dropna(subset=["other"]).groupby(["row_id", "other"]).size().rename("count").reset_index()
    most = counts.sort_values("count", kind="stable").drop_duplicates("row_id", keep="last").set_index("row_id")
    share = most["count"].reindex(index) / visits.groupby("row_id").size()
    return most["other"].reindex(index), share.astype("float32")


def _named(labels: pd.Series, names: list[str] | None) -> pd.Series:
    if names is None:
        numbers = pd.to_numeric(labels, errors="coerce")
        whole = numbers.notna().sum() == labels.notna().sum() > 0 and (numbers.dropna() % 1 == 0).all()
        return numbers.astype("Int64") if whole else labels.astype("string")
    numbers = pd.to_numeric(labels, errors="coerce")
    outside = labels.notna() & ~numbers.isin(range(len(names)))
    if outside.any():
        raise InputError(f"label {quoted(labels[outside].iloc[0])} is none of the {len(names)} that label_names names")
    return numbers.map(dict(enumerate(names))).astype("string")
