r"""Margins of the given label: Eq. 1 and Eq. 3 of LANE.

The margin of a row says how far the logit of its given label lies above the best other logit,

    M(x, y) = z_y - max_{k != y} z_k                                               (Eq. 1)

so it is negative exactly when the classifier prefers another label. The *label-aware* margin makes a negative margin
count for more when the preferred label j is one that the auxiliary network finds unlikely for this row,

    LM(x, y) = M(x, y)             if M(x, y) >= 0
               M(x, y) / w_{x,j}   otherwise                                       (Eq. 3)

Source: Sosea & Caragea, "LANE: Label-Aware Noise Elimination", ICLR 2026, section 3.
"""

import math

import torch
from torch import Tensor

_LARGEST = torch.finfo(torch.float32).max
MIN_PROBABILITY = 1e-6
"""Floor under the auxiliary probabilities that Eq. 3 divides by and Eq. 8 takes the logarithm of."""


def at_least_float32(values: Tensor) -> Tensor:
    """Return `values` in float32, or in float64 if that is what they are: half precision is too coarse for margins."""
    return values if values.dtype == torch.float64 else values.float()


@torch.no_grad()
def margin(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the margin of each row's given label (Eq. 1).

    Args:
        logits: `[B, K]` scores of the classifier, any floating type.
        labels: `[B]` given labels, integers in `0..K-1`.

    Returns:
        The margins `[B]` (float32, in logits) and the runner-up labels `[B]` (int64): the best label other than the
        given one, the lowest index on ties. No gradient flows through either.

    Example:
        >>> margin(torch.tensor([[1.0, 3.0, 2.5]]), torch.tensor([1]))
        (tensor([0.5000]), tensor([2]))
    """
    scores = at_least_float32(logits)
    given = scores.gather(1, labels[:, None])
    others = scores.scatter(1, labels[:, None], float("-inf"))
    best, runner_up = others.max(dim=1)
    # If all others are -inf too, the maximum may name the label itself: take the lowest other index instead.
    runner_up = torch.where(runner_up == labels, (labels == 0).long(), runner_up)
    return (given.squeeze(1) - best).float(), runner_up


@torch.no_grad()
def label_aware_margin(logits: Tensor, labels: Tensor, aux_probs: Tensor) -> Tensor:
    """Compute the label-aware margin of each row's given label (Eq. 3).

    Args:
        logits: `[B, K]` scores of the classifier.
        labels: `[B]` given labels, integers in `0..K-1`.
        aux_probs: `[B, K]` probabilities of the auxiliary network, usually smoothed by
            [`smooth_probabilities`]; values below 1e-6 count as 1e-6.

    Returns:
        `[B]` float32: the margin where it is not negative, else the margin divided by the auxiliary probability of the
        label that the classifier prefers. No gradient flows through it.

    Example:
        >>> logits, labels = torch.tensor([[1.2, 1.8]]), torch.tensor([0])
        >>> label_aware_margin(logits, labels, torch.tensor([[0.5, 0.5]]))
        tensor([-1.2000])
    """
    return make_label_aware(*margin(logits, labels), aux_probs)


@torch.no_grad()
def make_label_aware(margins: Tensor, runner_up: Tensor, aux_probs: Tensor) -> Tensor:
    """Turn margins that are known into label-aware ones (Eq. 3).

    Args:
        margins: `[B]`, as [`margin`] returns them.
        runner_up: `[B]` the best label other than the given one, likewise.
        aux_probs: `[B, K]` probabilities of the auxiliary network; values below 1e-6 count as 1e-6.

    Returns:
        `[B]` float32. No gradient flows through it.

    Example:
        >>> make_label_aware(torch.tensor([-0.5, 2.0]), torch.tensor([1, 0]), torch.full((2, 2), 0.5))
        tensor([-1.,  2.])
    """
    probability = at_least_float32(aux_probs).gather(1, runner_up[:, None]).squeeze(1)
    return torch.where(margins < 0, margins / probability.clamp_min(MIN_PROBABILITY), margins).float()


def smooth_probabilities(probs: Tensor, eps: float) -> Tensor:
    """Mix probabilities with the uniform distribution: `(1 - eps) * w + eps / K`.

    The auxiliary network learns the same labels as the classifier, wrong ones included. Without a floor its
    probabilities of all other labels go to zero, a single row's label-aware margin then grows without limit, and that
    row decides the statistics of all. With the floor, Eq. 3's factor stays below `K / eps`.

    Args:
        probs: `[B, K]` probabilities.
        eps: share of the uniform distribution, in `[0, 1)`. 0 leaves the probabilities as they are.

    Returns:
        `[B, K]` float32 probabilities; gradients flow through.

    Raises:
        ValueError: `eps` lies outside `[0, 1)`.

    Example:
        >>> smooth_probabilities(torch.tensor([[1.0, 0.0]]), 0.1)
        tensor([[0.9500, 0.0500]])
    """
    if not 0 <= eps < 1:
        raise ValueError(f"eps must be in [0, 1), got {eps}")
    return ((1 - eps) * at_least_float32(probs) + eps / probs.shape[-1]).float()


def finite_rows(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Separate rows whose logits are all finite from those that hold NaN or infinity.

    Args:
        logits: `[B, K]` scores.

    Returns:
        The logits in float32 with zeros in place of the rows that are not whole, so that no NaN comes out of a loss,
        and `[B]` float32: 1 for a whole row, 0 for another.

    Example:
        >>> finite_rows(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]))[1]
        tensor([1., 0.])
    """
    logits = logits.float()
    # The largest absolute value, which is NaN if any is: a third of the operations of isfinite and all.
    finite = torch.linalg.vector_norm(logits.detach(), ord=math.inf, dim=1) <= _LARGEST
    return logits.masked_fill(~finite[:, None], 0.0), finite.float()
