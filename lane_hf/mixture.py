r"""Two Gaussians on averaged margins: which rows belong to the clean component?

Averages of clean rows and of mislabelled rows form two humps. A mixture of two Gaussians, fitted by expectation
maximisation, gives each row the probability that it belongs to the higher hump,

    P(clean | a) = pi_1 N(a; m_1, v_1) / (pi_0 N(a; m_0, v_0) + pi_1 N(a; m_1, v_1)),   m_0 <= m_1.

A mixture per given label keeps rare classes: their averages are lower throughout, and one mixture over all rows would
take them for noise.

Sources: Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, and Li et al., "DivideMix", ICLR
2020 (both on losses, over all rows); here on margins and per label.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

MIN_GROUP_SIZE = 10
"""Groups with fewer rows use the mixture over all rows: two humps cannot be told apart in them."""

_ITERATIONS = 100
_RELATIVE_VARIANCE_FLOOR = 1e-3  # of the group's variance, so that a component cannot collapse onto one row


class Mixture(NamedTuple):
    """Two Gaussians per group; the last group is the one over all rows. Component 0 is the lower one.

    Attributes:
        means: `[G + 1, 2]` float64.
        variances: `[G + 1, 2]` float64.
        shares: `[G + 1, 2]` float64, summing to 1 in each row.
    """

    means: Tensor
    variances: Tensor
    shares: Tensor


@torch.no_grad()
def fit_mixture(values: Tensor, groups: Tensor | None = None, num_groups: int = 0) -> Mixture:
    """Fit two Gaussians to the values of each group, all groups at once.

    Args:
        values: `[N]` averaged margins, N >= 1.
        groups: `[N]` integers in `0..num_groups-1`, usually the given labels. None fits one mixture over all.
        num_groups: number of groups.

    Returns:
        [`Mixture`]. A group with fewer than 10 values or without spread gets the mixture over all values. Costs
        O(N) time and memory.

    Example:
        >>> fit_mixture(torch.tensor([-3.0, -3.2, 2.0, 2.2])).means.round(decimals=1)
        tensor([[-3.1000,  2.1000]], dtype=torch.float64)
    """
    values = values.double()
    everything = _fit(values, torch.zeros_like(values, dtype=torch.int64), 1)
    if groups is None or num_groups == 0:
        return everything
    each = _fit(values, groups, num_groups)
    size = torch.bincount(groups, minlength=num_groups)
    usable = (size >= MIN_GROUP_SIZE) & (_group_variance(values, groups, num_groups) > 0)
    return Mixture(
        *(
            torch.cat([torch.where(usable[:, None], own, shared), shared])
            for own, shared in zip(each, everything, strict=True)
        )
    )


@torch.no_grad()
def clean_probability(values: Tensor, mixture: Mixture, groups: Tensor | None = None) -> Tensor:
    """Return the probability that each value belongs to its group's higher component.

    The posterior is made monotone: above the higher mean it is 1, below the lower mean it stays what it is there. Without
    this the wider of the two Gaussians would claim both tails.

    Args:
        values: `[B]` averaged margins.
        mixture: what [`fit_mixture`] returned.
        groups: `[B]` group of each value; None uses the mixture over all values.

    Returns:
        `[B]` float32 in [0, 1].

    Example:
        >>> mixture = fit_mixture(torch.tensor([-3.0, -3.2, 2.0, 2.2]))
        >>> clean_probability(torch.tensor([-9.0, 3.0]), mixture)
        tensor([0., 1.])
    """
    at = torch.full_like(values, -1, dtype=torch.int64) if groups is None else groups
    means, variances, shares = (parameter[at] for parameter in mixture)
    inside = torch.maximum(values.double(), means[:, 0])
    log_joint = _log_joint(inside, means, variances, shares)
    posterior = log_joint.softmax(dim=1)[:, 1]
    return torch.where(values.double() >= means[:, 1], 1.0, posterior).float()


def _fit(values: Tensor, groups: Tensor, num_groups: int) -> Mixture:
    total = _sum(torch.ones_like(values), groups, num_groups).clamp_min(1)
    centre = _sum(values, groups, num_groups) / total
    floor = (_group_variance(values, groups, num_groups) * _RELATIVE_VARIANCE_FLOOR).clamp_min(1e-12)
    # Start from the split at the mean: deterministic, and never an empty component unless all values are equal.
    high = (values >= centre[groups]).double()
    responsibilities = torch.stack([1 - high, high], dim=1)
    for _ in range(_ITERATIONS):
        mass = _sum(responsibilities, groups, num_groups).clamp_min(1e-12)
        means = _sum(responsibilities * values[:, None], groups, num_groups) / mass
        spread = (values[:, None] - means[groups]) ** 2
        variances = _sum(responsibilities * spread, groups, num_groups) / mass
        variances = torch.maximum(variances, floor[:, None])
        shares = mass / mass.sum(dim=1, keepdim=True)
        responsibilities = _log_joint(values, means[groups], variances[groups], shares[groups]).softmax(dim=1)
    order = means.argsort(dim=1)
    return Mixture(means.gather(1, order), variances.gather(1, order), shares.gather(1, order))


def _sum(values: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    out = torch.zeros(num_groups, *values.shape[1:], dtype=values.dtype, device=values.device)
    return out.index_add_(0, groups, values)


def _group_variance(values: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    total = _sum(torch.ones_like(values), groups, num_groups).clamp_min(1)
    centre = _sum(values, groups, num_groups) / total
    return _sum((values - centre[groups]) ** 2, groups, num_groups) / total


def _log_joint(values: Tensor, means: Tensor, variances: Tensor, shares: Tensor) -> Tensor:
    squared = (values[:, None] - means) ** 2
    log_density = -0.5 * (squared / variances + variances.log() + math.log(2 * math.pi))
    return shares.log() + log_density
