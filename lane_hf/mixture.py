r"""Two Gaussians on averaged margins: which rows belong to the clean component?

Averages of clean rows and of mislabelled rows form two humps. A mixture of two Gaussians, fitted by expectation
maximisation, gives each row the probability that it belongs to the higher hump,

    P(clean | a) = pi_1 N(a; m_1, v_1) / (pi_0 N(a; m_0, v_0) + pi_1 N(a; m_1, v_1)),   m_0 <= m_1.

A mixture per given label keeps rare classes: their averages are lower throughout, and one mixture over all rows would
take them for noise.

Sources: Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, and Li et al., "DivideMix",
ICLR 2020 (both on losses, over all rows); here on margins and per label.
"""

from typing import NamedTuple

import torch
from torch import Tensor

MIN_GROUP_SIZE = 10
"""Groups with fewer rows use the mixture over all rows: two humps cannot be told apart in them."""

_ITERATIONS = 100
_CONVERGED = 1e-6  # no probability moves by more in an iteration
_VARIANCE_FLOOR = 1e-3  # of the group's variance, so that a component cannot collapse onto one row
_NO_SPREAD = 1e-6  # of the values' size: what is left of equal values after rounding, so no evidence
_PSEUDO_MASS = 1e-12  # at the group's centre, where a component without rows then lies
_MOST_ROWS = 2**18  # more are fitted in chunks: rows of a group that come one after the other in order of their values
_CHUNKS = 4096  # of each group


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
def fit_mixture(
    values: Tensor, groups: Tensor | None = None, num_groups: int = 0, *, always_pooled: bool = True
) -> Mixture:
    """Fit two Gaussians to the values of each group, all groups at once.

    Args:
        values: `[N]` averaged margins, N >= 1.
        groups: `[N]` integers in `0..num_groups-1`, usually the given labels. None fits one mixture over all.
        num_groups: number of groups.
        always_pooled: fit the mixture over all values also if no group needs it. False saves half of the time where
            the mixture is asked about these groups only; those over all values and of groups without values are
            then without meaning.

    Returns:
        [`Mixture`]. A group with fewer than 10 values or without spread gets the mixture over all values. If all
        values are equal nothing can be told apart: the mixture then finds everything clean. It costs O(N) memory and
        O(N log N) time: more than 262,144 rows are sorted and fitted in up to 4,096 chunks of each group, whose rows
        count with the probability of their mean.

    Example:
        >>> fit_mixture(torch.tensor([-3.0, -3.2, 2.0, 2.2])).means.round(decimals=1)
        tensor([[-3.1000,  2.1000]], dtype=torch.float64)
    """
    values = values.double()
    if groups is None:
        return _fit(values, torch.zeros_like(values, dtype=torch.int64), 1)
    each = _fit(values, groups, num_groups)
    size = torch.bincount(groups, minlength=num_groups)
    usable = (size >= MIN_GROUP_SIZE) & _centre_and_spread(values, groups, num_groups)[2]
    if always_pooled or bool(((size > 0) & ~usable).any()):
        everything = _fit(values, torch.zeros_like(values, dtype=torch.int64), 1)
    else:
        everything = Mixture(*(parameter[:1] for parameter in each))  # in its place: nobody asks for it
    return Mixture(
        *(
            torch.cat([torch.where(usable[:, None], own, shared), shared])
            for own, shared in zip(each, everything, strict=True)
        )
    )


@torch.no_grad()
def clean_probability(values: Tensor, mixture: Mixture, groups: Tensor | None = None) -> Tensor:
    """Return the probability that each value belongs to its group's higher component.

    The posterior is made monotone: above the higher mean it is 1, below the lower mean it stays what it is there.
    Without this the wider of the two Gaussians would claim both tails.

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
    last = len(mixture.means) - 1
    at = torch.full_like(values, last, dtype=torch.int64) if groups is None else groups
    low, high = (_each(mean, at) for mean in mixture.means.T)
    posterior = _posterior(torch.maximum(values.double(), low), at, mixture)
    return torch.where(values.double() >= high, 1.0, posterior).float()


@torch.no_grad()
def label_probability(averages: Tensor, mixture: Mixture, labels: Tensor) -> Tensor:
    """Return the probability that each row's given label is right.

    It is [`clean_probability`], except that a row whose average is not negative, for which the classifier has on
    average preferred the given label, is never doubted: a mixture finds two components also where there is only one.

    Args:
        averages: `[B]` averaged margins.
        mixture: what [`fit_mixture`] returned for the averages of all rows, grouped by their labels.
        labels: `[B]` given labels.

    Returns:
        `[B]` float32 in [0, 1].

    Example:
        >>> averages, labels = torch.tensor([1.0, 1.2, 4.0, 4.2]), torch.zeros(4, dtype=torch.int64)
        >>> label_probability(averages, fit_mixture(averages, labels, num_groups=1), labels)
        tensor([1., 1., 1., 1.])
    """
    return torch.where(averages >= 0, 1.0, clean_probability(averages, mixture, labels))


def _fit(values: Tensor, groups: Tensor, num_groups: int) -> Mixture:
    centre, deviation, has_spread = _centre_and_spread(values, groups, num_groups)
    # Each group in units of its own spread: where the zero lies and what the unit is must not change anything.
    scaled = (values - _each(centre, groups)) / _each(deviation, groups)
    points = _points(scaled, groups, num_groups)
    # Start from the split at the mean: deterministic, and never an empty component where there is spread.
    high = (points.values >= 0).double()
    for _ in range(_ITERATIONS):
        before, mixture = high, _components(points, high, num_groups)
        high = _posterior(points.values, points.groups, mixture)
        if bool((high - before).abs().max() < _CONVERGED):
            break
    order = mixture.means.argsort(dim=1)
    means, variances, shares = (parameter.gather(1, order) for parameter in mixture)
    everything_high = torch.tensor([0.0, 1.0], dtype=values.dtype, device=values.device)
    return Mixture(
        torch.where(has_spread[:, None], means * deviation[:, None] + centre[:, None], centre[:, None]),
        variances * deviation[:, None] ** 2,
        torch.where(has_spread[:, None], shares, everything_high),
    )


class _Points(NamedTuple):
    """What a mixture is fitted to: rows, or chunks of rows with nearly the same value.

    Attributes:
        values: `[P]` values, or their means.
        groups: `[P]` their groups.
        moments: `[3, P]` number of rows, sum of their values, sum of the squares.
        places: `[6 P]` where the moments of either component are summed.
    """

    values: Tensor
    groups: Tensor
    moments: Tensor
    places: Tensor


def _points(values: Tensor, groups: Tensor, num_groups: int) -> _Points:
    moments = torch.stack((torch.ones_like(values), values, values * values))
    if len(values) > _MOST_ROWS:
        moments, groups = _in_chunks(moments, groups, num_groups)
    first = num_groups * torch.arange(6, device=values.device)
    return _Points(moments[1] / moments[0], groups, moments, (first[:, None] + groups).flatten())


def _in_chunks(moments: Tensor, groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    """Return the moments `[3, P]` of chunks of rows, and their groups `[P]`."""
    values = moments[1]
    # One sort by group and value: values are squeezed between -1 and 1, which keeps their order.
    order = (4.0 * groups + values / (1 + values.abs())).argsort(stable=True)
    size = torch.bincount(groups, minlength=num_groups)
    chunks = size.clamp_max(_CHUNKS)
    groups = torch.repeat_interleave(size)
    place = torch.arange(len(groups), device=groups.device) - _each(size.cumsum(0) - size, groups)
    at = _each(chunks.cumsum(0) - chunks, groups) + place * _each(chunks, groups) // _each(size, groups)
    number = int(chunks.sum())
    return torch.stack([_sum(each[order], at, number) for each in moments]), torch.repeat_interleave(chunks)


def _components(points: _Points, high: Tensor, num_groups: int) -> Mixture:
    """Return both components, given the probability of the higher one; values in units of their group's spread."""
    weighted = torch.stack((1 - high, high))[:, None] * points.moments
    # Sums of all six at once: on few rows the time is that of calling the operations.
    mass, first, second = _sum(weighted.flatten(), points.places, 6 * num_groups).view(2, 3, num_groups).unbind(1)
    mass = mass + _PSEUDO_MASS
    means = first / mass
    variances = (second / mass - means * means).clamp_min(_VARIANCE_FLOOR)
    return Mixture(means.T, variances.T, (mass / mass.sum(dim=0)).T)


def _posterior(values: Tensor, groups: Tensor, mixture: Mixture) -> Tensor:
    """Return the probability that each value belongs to its group's component 1."""
    means, variances, shares = (parameter.T for parameter in mixture)
    log_ratio = shares[1].log() - shares[0].log() - 0.5 * (variances[1].log() - variances[0].log())
    low, high = (
        (values - _each(mean, groups)) ** 2 / _each(variance, groups)
        for mean, variance in zip(means, variances, strict=True)
    )
    return torch.sigmoid(_each(log_ratio, groups) + 0.5 * (low - high))


def _each(parameter: Tensor, groups: Tensor) -> Tensor:
    return parameter.index_select(0, groups)


def _sum(values: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    return torch.zeros(num_groups, dtype=values.dtype, device=values.device).scatter_add_(0, groups, values)


def _centre_and_spread(values: Tensor, groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, standard deviation (1 where there is no spread) and whether there is spread, `[G]` each."""
    size = _sum(torch.ones_like(values), groups, num_groups).clamp_min(1)
    centre = _sum(values, groups, num_groups) / size
    deviation = (_sum((values - _each(centre, groups)) ** 2, groups, num_groups) / size).sqrt()
    has_spread = deviation > _NO_SPREAD * (_sum(values * values, groups, num_groups) / size).sqrt()
    return centre, torch.where(has_spread, deviation, 1.0), has_spread
