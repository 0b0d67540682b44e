r"""Targets that mix the given label with another one, or with the classifier's own sharpened prediction.

    belief = (1 - share) onehot(y) + share onehot(s)          s: the row's candidate
    target = (1 - share) onehot(y) + min(share, 1/2) onehot(s) + max(share - 1/2, 0) p(. | not y)
    target = (1 - share) onehot(y) + share sharpen(p),        sharpen(p) = p^(1/T) / sum_k p_k^(1/T)

With a share of 1 - weight, a row whose label is doubted learns what the classifier makes of it, in place of nothing
(bootstrapping): what it made of the row most of the time, its candidate, or what it makes of it now. The first stays
where it is while the classifier begins to memorise, the last moves along. The second is both: the candidate alone
outweighs a label that is probably wrong, and what would be left over for it goes to all labels but the given one, by
the present prediction p(k | not y) = p_k / (1 - p_y). So a wrong label cannot come back, and a row whose label is
certainly wrong can still be learned under one that was not its candidate: a rare label, which is late to be predicted.

Sources: Reed et al., "Training Deep Neural Networks on Noisy Labels with Bootstrapping", ICLR 2015 workshop; Arazo et
al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, who take the share from a mixture; sharpening:
Berthelot et al., "MixMatch", NeurIPS 2019.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .margins import at_least_float32

_ENOUGH = 0.5  # with it no label is above the candidate


@torch.no_grad()
def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """Sharpen probabilities: `p^(1/T)`, normalised.

    Args:
        probs: `[B, K]` probabilities.
        temperature: T; 1 leaves them as they are.

    Returns:
        `[B, K]` float32 unless they are float64. No gradient flows through them.

    Example:
        >>> sharpen(torch.tensor([[0.75, 0.25]]), 0.5)
        tensor([[0.9000, 0.1000]])
    """
    powers = at_least_float32(probs) ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


@torch.no_grad()
def interpolated_targets(logits: Tensor, labels: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """Mix given labels with sharpened predictions.

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.
        shares: `[B]` shares of the prediction in the target, in [0, 1].
        temperature: of the sharpening; 1 leaves predictions as they are.

    Returns:
        `[B, K]` probabilities, float32 unless the logits are float64. No gradient flows through them.

    Example:
        >>> interpolated_targets(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0.5]), 0.5)
        tensor([[0.7500, 0.2500]])
    """
    scores = at_least_float32(logits)
    predictions = ((scores - scores.amax(dim=1, keepdim=True)) / temperature).softmax(dim=1)
    shares = shares.to(predictions)[:, None]
    return shares * predictions + (1 - shares) * _marked(labels, logits.shape[1])


@torch.no_grad()
def believed_labels(labels: Tensor, candidates: Tensor, shares: Tensor, num_labels: int) -> Tensor:
    """Return how far each row is believed to belong to each label: to the given one, or else to its candidate.

    Args:
        labels: `[B]` given labels.
        candidates: `[B]` other labels.
        shares: `[B]` shares of the other label, in [0, 1].
        num_labels: number K of labels.

    Returns:
        `[B, K]` probabilities of the type of the shares. No gradient flows through them.

    Example:
        >>> believed_labels(torch.tensor([0]), torch.tensor([2]), torch.tensor([0.25]), num_labels=3)
        tensor([[0.7500, 0.0000, 0.2500]])
    """
    # Scattered: four operations, where adding multiples of one-hot vectors takes seven.
    shares = shares[:, None]
    beliefs = shares.new_zeros(len(labels), num_labels)
    return beliefs.scatter_(1, labels[:, None], 1 - shares).scatter_add_(1, candidates[:, None], shares)


@torch.no_grad()
def candidate_targets(
    logits: Tensor, labels: Tensor, candidates: Tensor, shares: Tensor, believed: Tensor | None = None
) -> Tensor:
    """Mix given labels with their rows' candidates, and beyond a half with the prediction of the other labels.

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.
        candidates: `[B]` other labels.
        shares: `[B]` shares that the given labels lose, in [0, 1]; up to a half of 1 goes to the candidate.
        believed: `[B, K]` what [`believed_labels`] returned for them, if it is known already.

    Returns:
        `[B, K]` probabilities, float32 unless the logits are float64. No gradient flows through them.

    Example:
        >>> candidate_targets(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([2]), torch.tensor([0.9]))
        tensor([[0.1000, 0.2000, 0.7000]])
    """
    scores = at_least_float32(logits)
    # The lowest number instead of minus infinity: of a single label there is no other one, and no NaN either.
    others = scores.scatter(1, labels[:, None], torch.finfo(scores.dtype).min).softmax(dim=1)
    shares = shares.to(scores)
    beyond = (shares - _ENOUGH).clamp_min(0)[:, None]
    if believed is None:
        believed = believed_labels(labels, candidates, shares, scores.shape[1])
    minus_candidate = others.scatter_add_(1, candidates[:, None], torch.full_like(beyond, -1.0))
    return believed + beyond * minus_candidate


def _marked(labels: Tensor, num_labels: int) -> Tensor:
    """Return `[B, K]` bool, True at the label of each row: `one_hot` with half of its operations."""
    return labels[:, None] == torch.arange(num_labels, device=labels.device)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy `[B]` of `[B, K]` logits with `[B, K]` targets, float32 unless they are float64.

    Example:
        >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
        tensor([0.6931])
    """
    return F.cross_entropy(at_least_float32(logits), targets, reduction="none")
