"""The table of label issues: one line per training row, most suspicious first."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..mixture import fit_mixture, label_probability
from ..row_statistics import RowStatistics

COLUMNS = (
    "row_id",
    "given_label",
    "suggested_label",
    "suggestion_confidence",
    "alm",
    "aum",
    "weight",
    "visits",
    "is_issue",
)


def build_table(
    statistics: RowStatistics,
    scores: Tensor,
    weights: Tensor,
    row_ids: np.ndarray | None = None,
    label_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Build the table from the state of a training run; O(number of rows) memory.

    Args:
        statistics: what was recorded of each row.
        scores: `[num_rows]` averages that rows are ranked by, lowest first.
        weights: `[num_rows]` weights of the rows.
        row_ids: `[num_rows]` the user's names of the rows; None numbers them from 0.
        label_names: names of the labels; None leaves their numbers.

    Returns:
        The columns of `COLUMNS`. A row is an issue if its score is negative and it more likely belongs to the lower
        than to the higher component of a mixture of two Gaussians on the scores of the rows with its label; its
        suggestion is then the best other label, else its given label. Rows never seen stand at the end.

    Example:
        >>> statistics = RowStatistics(num_rows=2, num_labels=2)
        >>> build_table(statistics, torch.zeros(2), torch.ones(2)).is_issue.tolist()
        [False, False]
    """
    scores, weights = scores.cpu(), weights.cpu()
    visits, labels = statistics.visits.cpu(), statistics.labels.cpu()
    seen = visits > 0
    is_issue = _issues(scores, labels, seen)
    candidates, candidate_confidence = (each.cpu() for each in statistics.candidates())
    suggested = torch.where(is_issue, candidates, labels)
    confidence = torch.where(is_issue, candidate_confidence, statistics.given_confidence().cpu())
    table = pd.DataFrame(
        {
            "row_id": np.arange(len(scores)) if row_ids is None else row_ids,
            "given_label": _named(labels, label_names),
            "suggested_label": _named(suggested, label_names),
            "suggestion_confidence": torch.where(seen, confidence, torch.nan).numpy(),
            "alm": torch.where(seen, scores, torch.nan).numpy(),
            "aum": torch.where(seen, statistics.average_margin().cpu(), torch.nan).numpy(),
            "weight": weights.numpy(),
            "visits": visits.numpy(),
            "is_issue": is_issue.numpy(),
        },
        columns=list(COLUMNS),
    )
    return table.sort_values("alm", kind="stable", na_position="last", ignore_index=True)


def _issues(scores: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    is_issue = torch.zeros_like(seen)
    if not bool(seen.any()):
        return is_issue
    number_of_labels = int(labels.max()) + 1
    mixture = fit_mixture(scores[seen], labels[seen], number_of_labels)
    is_issue[seen] = label_probability(scores[seen], mixture, labels[seen]) < 0.5  # noqa: PLR2004 -- more likely than not
    return is_issue


def _named(labels: Tensor, names: Sequence[str] | None) -> pd.Series:
    numbers = pd.Series(labels.numpy()).astype("Int64").mask(labels.numpy() < 0)
    if names is None:
        return numbers
    return numbers.map(dict(enumerate(names)), na_action="ignore").astype("string")
