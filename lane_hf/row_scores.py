"""RowScores: how a method judges the rows once it has trained on them."""

from typing import NamedTuple

from torch import Tensor


class RowScores(NamedTuple):
    """What a method says of each row; `[num_rows]` tensors.

    Attributes:
        scores: rows are ranked by it, the most suspicious (lowest) first; NaN where the method has none.
        weights: weight of the row in the cross-entropy; 0 for a row that was removed.
        margins: averaged margins in logits, label-aware if the method has such; None takes the plain ones.
        is_issue: the method's own verdict (bool); None finds it from the margins.

    Example:
        >>> import torch
        >>> RowScores(scores=torch.zeros(3), weights=torch.ones(3)).is_issue is None
        True
    """

    scores: Tensor
    weights: Tensor
    margins: Tensor | None = None
    is_issue: Tensor | None = None
