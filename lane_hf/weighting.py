r"""Weights from averaged margins: Eq. 4 to 6 of LANE.

With N the set of rows whose averaged label-aware margin (ALM) is negative,

    mu = mean of ALM over N                                                        (Eq. 5)
    sigma^2 = mean of (ALM - mu)^2 over N                                          (Eq. 6)
    lambda(x) = exp(-(ALM(x) - mu)^2 / (2 sigma^2))   if ALM(x) < mu, else 1       (Eq. 4)

Eq. 6 is printed without the square on the left; Algorithm 1 says sigma^2, and only a variance has the unit that Eq. 4
needs. By Cantelli's inequality at most 17.8% of N can get a weight below 0.1, and at most 41.9% one below 0.5.

Source: Sosea & Caragea, "LANE: Label-Aware Noise Elimination", ICLR 2026, section 3.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .margins import at_least_float32

MIN_VARIANCE = 1e-12
_MAX_EXPONENT = 80.0  # exp(-80) is still a normal float32, so that a weight is never exactly zero


class NegativeStats(NamedTuple):
    """Statistics of the averaged margins that are negative (Eq. 5 and 6), as tensors without dimensions.

    Attributes:
        mean: float64; NaN if there is no negative average.
        variance: float64, divided by the count (not count - 1); NaN if there is no negative average.
        count: int64.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor  # type: ignore[assignment]  # tuple.count is no loss here


@torch.no_grad()
def negative_stats(averages: Tensor, mask: Tensor | None = None) -> NegativeStats:
    """Compute the statistics of the negative entries of `averages` (Eq. 5 and 6).

    Args:
        averages: `[M]` averaged margins.
        mask: `[M]` bool, optional: only entries where it is True count.

    Returns:
        [`NegativeStats`], on the device of `averages`, without waiting for it.

    Example:
        >>> negative_stats(torch.tensor([-1.0, -3.0, 5.0])).mean
        tensor(-2., dtype=torch.float64)
    """
    values = averages.double()
    negative = values < 0
    if mask is not None:
        negative = negative & mask
    count = negative.sum()
    zero = torch.zeros_like(values)
    # 0 / 0 is NaN: the documented answer for an empty set.
    mean = torch.where(negative, values, zero).sum() / count
    variance = torch.where(negative, (values - mean) ** 2, zero).sum() / count
    return NegativeStats(mean, variance, count)


@torch.no_grad()
def gaussian_weights(alm: Tensor, mean: Tensor | float, variance: Tensor | float) -> Tensor:
    """Weigh rows by a one-sided Gaussian of their averaged margin (Eq. 4).

    Args:
        alm: `[B]` averaged label-aware margins.
        mean: mean of the negative averages; NaN (no negative average) gives weight 1 everywhere.
        variance: variance of the negative averages; values below 1e-12 count as 1e-12.

    Returns:
        `[B]` float32 in (0, 1]: 1 at and above the mean, falling below it. A distance to the mean below 1e-6 times its
        size is rounding, not evidence, and gives 1. No gradient flows through it.

    Example:
        >>> gaussian_weights(torch.tensor([-1.0, -3.0]), mean=-2.0, variance=1.0)
        tensor([1.0000, 0.6065])
    """
    values = alm.double()
    mean = torch.as_tensor(mean, dtype=torch.float64, device=alm.device)
    variance = torch.as_tensor(variance, dtype=torch.float64, device=alm.device).clamp_min(MIN_VARIANCE)
    below = values < mean - 1e-6 * mean.abs().clamp_min(1.0)
    exponent = ((values - mean) ** 2 / (2 * variance)).clamp_max(_MAX_EXPONENT)
    return torch.where(below, torch.exp(-exponent), 1.0).float()


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Average `weights * losses` over the batch, not over the sum of the weights.

    A batch full of doubtful rows must move the network less than a clean one; dividing by the sum of the weights would
    undo just that.

    Args:
        losses: `[B]` per-row losses.
        weights: `[B]` weights in [0, 1].

    Returns:
        A scalar, float32.

    Example:
        >>> weighted_mean(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 0.0]))
        tensor(1.)
    """
    return (at_least_float32(losses) * weights).mean().float()
