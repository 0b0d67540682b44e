"""The table of label issues: one line per training row, most suspicious first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..row_scores import RowScores
from ..row_statistics import RowStatistics

TEXT_COLUMN = "text"
EXCERPT_LENGTH = 1000
COLUMNS = (
    "row_id",
    "given_label",
    "suggested_label",
    "suggestion_confidence",
    "noise_probability",
    "runner_up_label",
    "runner_up_share",
    "score",
    "alm",
    "aum",
    "confidence",
    "variability",
    "correctness",
    "weight",
    "visits",
    "is_issue",
)


def build_table(
    statistics: RowStatistics,
    judged: RowScores,
    row_ids: np.ndarray | None = None,
    label_names: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Build the table from the state of a training run; O(number of rows) memory.

    Args:
        statistics: what was recorded of each row.
        judged: what the method says of the rows.
        row_ids: `[num_rows]` the user's names of the rows; None numbers them from 0.
        label_names: names of the labels; None leaves their numbers.
        texts: `[num_rows]` excerpts, for a further column `text`.

    Returns:
        The columns of `COLUMNS`, and `text` if there are texts. Unless the method has a verdict of its own, a row is
        an issue if its label is more likely wrong than right, see [`noise_probability`]; this uses plain margins, as
        label-aware ones divide by small probabilities and have a long tail. Its suggestion is then the best other
        label, with the probability that the given label is wrong times the share of visits at which this was the best
        other one; else its given label. Rows never seen stand at the end.

    Example:
        >>> statistics = RowStatistics(num_rows=2, num_labels=2)
        >>> build_table(statistics, RowScores(torch.zeros(2), torch.ones(2))).is_issue.tolist()
        [False, False]
    """
    margins = statistics.average_margin() if judged.margins is None else judged.margins
    scores, weights, margins = judged.scores.cpu(), judged.weights.cpu(), margins.cpu()
    visits, labels = statistics.visits.cpu(), statistics.labels.cpu()
    seen = visits > 0
    highest = max(int(labels.max()), int(statistics.candidates().max()))
    noise = statistics.estimate_noise(highest + 1 if label_names is None else len(label_names)).probability
    is_issue = noise > 0.5 if judged.is_issue is None else judged.is_issue.cpu()  # noqa: PLR2004 -- more likely than not
    is_issue &= seen
    candidates, share = statistics.candidates().cpu(), statistics.candidate_share().cpu()
    suggested = torch.where(is_issue, candidates, labels)
    confidence = torch.where(is_issue, noise * share, 1 - noise)
    table = pd.DataFrame(
        {
            "row_id": np.arange(len(scores)) if row_ids is None else row_ids,
            "given_label": _named(labels, label_names),
            "suggested_label": _named(suggested, label_names),
            "suggestion_confidence": _of(seen, confidence),
            "noise_probability": _of(seen, noise),
            "runner_up_label": _named(candidates, label_names),
            "runner_up_share": _of(seen, share),
            "score": _of(seen, scores),
            "alm": _of(seen, margins),
            **_coordinates(statistics, seen),
            "weight": weights.numpy(),
            "visits": visits.numpy(),
            "is_issue": is_issue.numpy(),
        },
        columns=list(COLUMNS),
    )
    if texts is not None:
        table[TEXT_COLUMN] = pd.Series(texts, dtype="string")
    return table.sort_values("score", kind="stable", na_position="last", ignore_index=True)


def _coordinates(statistics: RowStatistics, seen: Tensor) -> dict[str, np.ndarray]:
    """Return the plain margin and the coordinates of a data map."""
    numbers = {
        "aum": statistics.average_margin(),
        "confidence": statistics.given_confidence(),
        "variability": statistics.given_variability(),
        "correctness": statistics.correctness(),
    }
    return {name: _of(seen, values) for name, values in numbers.items()}


def _of(seen: Tensor, numbers: Tensor) -> np.ndarray:
    return torch.where(seen, numbers.cpu(), torch.nan).numpy()


def excerpts(dataset: Any) -> list[str] | None:
    """Return the first 1,000 characters of each text of a data set, or None if it has no column of texts `text`.

    Example:
        >>> from datasets import Dataset
        >>> excerpts(Dataset.from_dict({"text": ["a", "b"]})), excerpts(Dataset.from_dict({"label": [1]}))
        (['a', 'b'], None)
    """
    features = getattr(dataset, "features", None) or {}
    if not is_text(features.get(TEXT_COLUMN)):
        return None
    rows = dataset.with_format(None).select_columns([TEXT_COLUMN])
    return [(text or "")[:EXCERPT_LENGTH] for text in rows[TEXT_COLUMN]]


def is_text(feature: Any) -> bool:
    """Return whether a feature of a data set is that of texts.

    Example:
        >>> from datasets import Value
        >>> is_text(Value("string")), is_text(Value("int64"))
        (True, False)
    """
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _named(labels: Tensor, names: Sequence[str] | None) -> pd.Series:
    numbers = pd.Series(labels.numpy()).astype("Int64").mask(labels.numpy() < 0)
    if names is None:
        return numbers
    return numbers.map(dict(enumerate(names)), na_action="ignore").astype("string")
