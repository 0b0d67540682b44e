"""What a label table says of the data set as a whole: noise rate, expected precision, labels one by one.

All functions take the columns of a [`LabelIssues`] and cost O(number of rows).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from ..errors import InputError
from ..mixture import MIN_GROUP_SIZE
from ..noise_probability import noise_probability

_RESAMPLES = 20
_LARGEST_SAMPLE = 5_000
_T = 2.093  # the 97.5% point of Student's t with 19 degrees of freedom, one less than there are resamples


class NoiseRate(NamedTuple):
    """An estimated share of wrong labels.

    Attributes:
        estimate: mean of `noise_probability`, in [0, 1].
        low: lower end of the 95% interval.
        high: upper end.

    Example:
        >>> NoiseRate(estimate=0.2, low=0.15, high=0.25).estimate
        0.2
    """

    estimate: float
    low: float
    high: float


def noise_rate(table: pd.DataFrame, seed: int = 0) -> NoiseRate:
    """Estimate the share of wrong labels, with the uncertainty of the mixture that finds them.

    The interval comes from fitting the mixture anew to rows drawn with replacement (of more than 5,000 rows, to so
    many of them, and the spread is scaled), with Student's t, as 20 resamples are too few for quantiles; and its upper
    end is at least 3 rows, which is what can be said of N rows without a wrong one (Hanley & Lippman-Hand, JAMA 1983).
    It says how much the estimate would change with another sample of rows
    of the same kind, not how wrong the mixture is as a model: rows that are wrong but were memorised at once are
    missed by all resamples alike.

    Args:
        table: with `noise_probability`, `aum`, `confidence`, `given_label` and `visits`; without `runner_up_label`
            noise is taken to be uniform.
        seed: of the resampling.

    Returns:
        [`NoiseRate`]; NaN everywhere if no row was seen.

    Source of the interval: Bickel, Götze & van Zwet, "Resampling fewer than n observations", Statistica Sinica 1997.

    Example:
        >>> table = pd.DataFrame({"noise_probability": [1.0, 0, 0, 0], "aum": [-3.0, 2, 2, 2.5], "visits": 1,
        ...                       "given_label": 0, "confidence": 0.5})
        >>> noise_rate(table).estimate
        0.25
    """
    seen = table[table["visits"] > 0]
    if seen.empty:
        return NoiseRate(np.nan, np.nan, np.nan)
    margins, (labels, others) = torch.tensor(seen["aum"].to_numpy()), _given_and_others(seen)
    confidence = torch.tensor(seen["confidence"].to_numpy(np.float32)) if seen["confidence"].notna().all() else None
    generator, size = torch.Generator().manual_seed(seed), min(len(seen), _LARGEST_SAMPLE)
    columns = (margins, confidence, labels, others)
    rates = np.array([_resampled_rate(columns, size, generator) for _ in range(_RESAMPLES)])
    half = _T * float(rates.std(ddof=1)) * math.sqrt(size / len(seen))
    estimate = estimated_rate(table)
    return NoiseRate(estimate, max(0.0, estimate - half), min(1.0, max(estimate + half, 3 / len(seen))))


def estimated_rate(table: pd.DataFrame) -> float:
    """Return the estimate of [`noise_rate`] alone, without the interval, which takes seconds; NaN if no row was seen.

    Example:
        >>> estimated_rate(pd.DataFrame({"noise_probability": [1.0, 0.5, 0.9], "visits": [2, 1, 0]}))
        0.75
    """
    return float(table.loc[table["visits"] > 0, "noise_probability"].mean())


def _given_and_others(seen: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return given labels and best other ones as numbers; None for these if a row has none."""
    given, others = seen["given_label"], seen.get("runner_up_label")
    if others is None or others.isna().any():
        return torch.tensor(pd.factorize(given)[0]), None
    codes = torch.tensor(pd.factorize(pd.concat([given, others], ignore_index=True))[0])
    return codes[: len(seen)], codes[len(seen) :]


def _resampled_rate(
    columns: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None],
    size: int,
    generator: torch.Generator,
) -> float:
    number = 1 + max(int(codes.max()) for codes in columns[2:] if codes is not None)
    drawn = torch.randint(len(columns[0]), (size,), generator=generator)
    margins, confidence, labels, others = columns
    confidence = None if confidence is None else confidence[drawn]
    others = None if others is None else others[drawn]
    margins, labels = margins[drawn], labels[drawn]
    return float(noise_probability(margins, confidence, labels, number, others).mean())


def expected_precision(table: pd.DataFrame, number: int | None = None) -> float:
    """Return the share of wrong labels to expect among the most suspicious rows.

    It is the mean of their `noise_probability`.

    Args:
        table: with `noise_probability`, `is_issue` and `visits`, most suspicious first.
        number: of how many rows from the top; None takes those that are marked as issues.

    Returns:
        A share in [0, 1]; NaN if there are no such rows.

    Raises:
        InputError: `number` is below 1.

    Example:
        >>> table = pd.DataFrame({"noise_probability": [0.9, 0.7, 0.0], "is_issue": [True, True, False], "visits": 2})
        >>> round(expected_precision(table), 3), round(expected_precision(table, 3), 3)
        (0.8, 0.533)
    """
    if number is not None and number < 1:
        raise InputError(f"number must be at least 1, got {number}")
    seen = table[table["visits"] > 0]
    chosen = seen[seen["is_issue"]] if number is None else seen.head(number)
    return float(chosen["noise_probability"].mean())


def per_label(table: pd.DataFrame, names: list[str] | None = None) -> pd.DataFrame:
    """Describe each given label.

    Args:
        table: a label table.
        names: all labels; None takes those that occur.

    Returns:
        One line per label: `label`, `rows` (seen), `issues`, `noise_rate` (mean probability that the label is wrong),
        `received` (issues with another label for which this one is suggested), `mean_margin` (logits), `confidence`
        (mean probability of the given label) and `note`, empty unless the label is too rare to be judged by its own.

    Example:
        >>> per_label(issues).head()  # doctest: +SKIP
    """
    labels = names if names is not None else sorted(table["given_label"].dropna().unique())
    seen = table[table["visits"] > 0]
    groups = seen.groupby("given_label", observed=True)
    received = seen.loc[seen["is_issue"], "suggested_label"].value_counts()
    lines = pd.DataFrame(
        {
            "rows": groups.size(),
            "issues": groups["is_issue"].sum(),
            "noise_rate": groups["noise_probability"].mean(),
            "received": received,
            "mean_margin": groups["alm"].mean(),
            "confidence": groups["confidence"].mean(),
        }
    ).reindex(pd.Index(labels, name="label"))
    counts = ["rows", "issues", "received"]
    lines[counts] = lines[counts].fillna(0).astype("int64")
    return lines.astype({"noise_rate": "float64"}).reset_index().assign(note=lambda own: own["rows"].map(_note))


def _note(rows: int) -> str:
    if rows == 0:
        return "no row has this label: it cannot be learned, nor suggested"
    if rows < MIN_GROUP_SIZE:
        return f"only {rows} row{'s' if rows > 1 else ''}: judged by the mixture over all labels, look yourself"
    return ""


def noise_matrix(table: pd.DataFrame, names: list[str] | None = None) -> pd.DataFrame:
    """Return which labels stand for which: `[K, K]`, rows are given labels, columns suggested ones.

    Each row sums to 1: a row of the table counts for its given label with the probability that this is right, and for
    its runner-up label with the rest. Labels without rows have 1 on the diagonal.

    Example:
        >>> table = pd.DataFrame({"given_label": ["a", "b"], "runner_up_label": ["b", "a"], "visits": 1,
        ...                       "noise_probability": [0.25, 0.0]})
        >>> noise_matrix(table).loc["a"].tolist()
        [0.75, 0.25]
    """
    labels = _labels(table, names)
    seen = table[table["visits"] > 0]
    given, other = _codes(seen["given_label"], labels), _codes(seen["runner_up_label"], labels)
    noise = seen["noise_probability"].to_numpy(np.float64)
    matrix = np.zeros((len(labels), len(labels)))
    known = other >= 0
    np.add.at(matrix, (given[known], other[known]), noise[known])
    np.add.at(matrix, (given, given), 1 - np.where(known, noise, 0.0))
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.eye(len(labels)), where=totals > 0)
    return pd.DataFrame(shares, index=pd.Index(labels, name="given"), columns=pd.Index(labels, name="suggested"))


def label_similarity(table: pd.DataFrame, names: list[str] | None = None) -> pd.DataFrame:
    """Return how close the classifier has found labels to each other: `[K, K]`, symmetric, 1 on the diagonal.

    The similarity of two labels is how often the rows of one, whose labels are probably right, have the other as their
    runner-up, relative to the pair of labels for which that is most often so; averaged over both directions.

    Example:
        >>> table = pd.DataFrame({"given_label": ["a", "b", "c"], "runner_up_label": ["b", "a", "b"], "visits": 1,
        ...                       "noise_probability": 0.0, "runner_up_share": 1.0})
        >>> label_similarity(table).loc["b"].tolist()
        [1.0, 1.0, 0.5]
    """
    labels = _labels(table, names)
    seen = table[(table["visits"] > 0) & table["runner_up_label"].notna()]
    given, other = _codes(seen["given_label"], labels), _codes(seen["runner_up_label"], labels)
    right = 1 - seen["noise_probability"].to_numpy(np.float64)
    closeness = np.zeros((len(labels), len(labels)))
    np.add.at(closeness, (given, other), right * seen["runner_up_share"].to_numpy(np.float64))
    size = np.bincount(given, weights=right, minlength=len(labels))[:, None]
    closeness = np.divide(closeness, size, out=np.zeros_like(closeness), where=size > 0)
    closeness = (closeness + closeness.T) / 2
    if closeness.max(initial=0.0) > 0:
        closeness /= closeness.max()
    np.fill_diagonal(closeness, 1.0)
    return pd.DataFrame(closeness, index=pd.Index(labels, name="label"), columns=pd.Index(labels, name="other"))


def _labels(table: pd.DataFrame, names: list[str] | None) -> list[Any]:
    if names is not None:
        return list(names)
    both = pd.concat([table["given_label"], table["runner_up_label"]]).dropna()
    return sorted(both.unique())


def _codes(column: pd.Series, labels: list[Any]) -> np.ndarray:
    return pd.Index(labels).get_indexer(column)
