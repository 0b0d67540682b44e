r"""Which labels are taken for which, and how often? Counted from what a classifier prefers, given noisy labels.

Let C[k, y] be the number of rows that have the label y and for which the classifier has preferred k. Off its diagonal
stand wrong labels, but also rows that are hard: where it cannot tell k from y, the label is y half of the time, and
right. What tells them apart is that **confusion goes both ways and noise need not**. If C were due to hard rows and
uniform noise alone, it would be quasi-symmetric, C[k, y] = a_k S[k, y] b_y with S symmetric, whatever label the
classifier is fond of. So C is scaled to the same sums over rows and columns, which makes a quasi-symmetric table
symmetric. The noise has a direction from k to y where two things hold: what is left in the scaled table C', as a share
of the rows of k, is more than u, the rate of the noise without direction; and it is not chance (McNemar's test, with
the share that the scales let expect, at a level at which half a pair of all is expected to pass by chance). There

    T[k, y] = max((C[k, y] - C[y, k]) / sum_j C[k, j], the same of C'),

elsewhere it is u, and T[k, k] is what is left of 1.

Noise in both directions alike, and any noise among two labels only, has no direction here. It counts as uniform.

Sources: Caussinus, "Contribution à l'analyse statistique des tableaux de corrélation", 1965 (quasi-symmetry); McNemar,
"Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika 1947;
Sinkhorn & Knopp, "Concerning nonnegative matrices and doubly stochastic matrices", 1967 (the scaling); counting T from
predictions: Northcutt et al., "Confident Learning", JAIR 2021.
"""

from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

_PASSING_BY_CHANCE = 0.5  # pairs, of all pairs of labels
_PRIOR_ROWS = 10.0  # by which the rows of a label are counted too many, so that few rows show no strong direction
_SPREAD_ROWS = 1.0  # a row of each label, spread over its column, so that every table can be scaled
_ITERATIONS = 200
_CONVERGED = 1e-6  # of a scale, between two iterations
_LEAST_KEPT = 0.1  # T[k, k] is at least this: a label that means nothing cannot be judged by its rows


class Transitions(NamedTuple):
    """T[k, y], the probability that a row whose true label is k was given the label y, with O(directions) numbers.

    Attributes:
        uniform: u, of all pairs without a direction, float64 without dimensions.
        pairs: `[P]` k * K + y of the pairs with one, ascending, int64.
        rates: `[P]` T[k, y] of these, float64.
        kept: `[K]` T[k, k], float64.
    """

    uniform: Tensor
    pairs: Tensor
    rates: Tensor
    kept: Tensor

    def of(self, true: Tensor, given: Tensor) -> Tensor:
        """Return T[true, given], `[B]` float64.

        Example:
            >>> noise = uniform_transitions(torch.tensor(0.3, dtype=torch.float64), 4)
            >>> noise.of(torch.tensor([0, 0]), torch.tensor([0, 1])).round(decimals=3).tolist()
            [0.7, 0.1]
        """
        if len(true) > len(self.kept) ** 2:  # then it is quicker to look at each pair of labels once
            pairs = torch.arange(len(self.kept) ** 2, device=true.device)
            return self.of(pairs // len(self.kept), pairs % len(self.kept))[true * len(self.kept) + given]
        between = self.uniform.expand(len(true))
        if len(self.pairs):
            place, known = _find(self.pairs, true * len(self.kept) + given)
            between = torch.where(known, self.rates[place], between)
        return torch.where(true == given, self.kept[true], between)

    def neutral_margin(self, given: Tensor, other: Tensor) -> Tensor:
        """Return the margin `[B]`, in logits, at which the given label is as probably right as the other one.

        With equal true probabilities of both, a classifier that has learned what the labels say gives them the odds

            (T[given, given] + T[other, given]) / (T[given, other] + T[other, other]).

        Example:
            >>> noise = uniform_transitions(torch.tensor(0.3, dtype=torch.float64), 4)
            >>> noise.neutral_margin(torch.tensor([0]), torch.tensor([1]))
            tensor([0.])
        """
        ours = self.of(given, given) + self.of(other, given)
        theirs = self.of(given, other) + self.of(other, other)
        return (ours / theirs).log().float()


def uniform_transitions(rate: Tensor, num_labels: int, of: int | None = None) -> Transitions:
    """Return T of noise without any direction.

    Args:
        rate: share of wrong labels, float64 without dimensions.
        num_labels: number of labels that rows have, at least 2.
        of: number K of labels of the classifier, if it has more.
    """
    none = torch.zeros(0, dtype=torch.int64, device=rate.device)
    return Transitions(rate / (num_labels - 1), none, none.double(), (1 - rate).expand(of or num_labels))


@torch.no_grad()
def count_transitions(
    doubts: Tensor,
    preferred: Tensor,
    labels: Tensor,
    others: Tensor,
    num_labels: int,
    *,
    earlier: Transitions | None = None,
) -> Transitions:
    """Count T, as at the top of this file.

    Wrong labels are among those that some row has: what else the classifier has labels for takes none of the noise.

    Args:
        doubts: `[N]` probability that the given label is wrong. Where the noise has no direction, they are its rate.
        preferred: `[N]` the label that the classifier prefers: the given one or the other one.
        labels: `[N]` given labels.
        others: `[N]` best other labels.
        num_labels: number K of labels, at least 2.
        earlier: directions that were found before and stay: rates only rise.

    Returns:
        [`Transitions`]. It takes O(N + K) memory: only pairs that occur are counted.

    Example:
        >>> true = torch.arange(3).repeat_interleave(100)
        >>> labels = torch.where(torch.arange(300) % 100 < 40, (true + 1) % 3, true)
        >>> others = torch.where(labels == true, (true + 1) % 3, true)
        >>> noise = count_transitions((labels != true).double(), true, labels, others, 3)
        >>> noise.of(torch.tensor([0, 1, 0]), torch.tensor([1, 2, 0])).round(decimals=2).tolist()
        [0.36, 0.36, 0.64]
    """
    used = len(torch.unique(labels))
    if used <= 2:  # noqa: PLR2004
        return uniform_transitions(doubts.double().mean(), max(used, 2), of=num_labels)
    pairs, counts = torch.unique(preferred * num_labels + labels, return_counts=True)
    given = others * num_labels + labels
    before = pairs[:0] if earlier is None else earlier.pairs
    uniform = _rate_of_the_rest(doubts, given, before, used)
    directed, rates = _Table(pairs, counts.double(), num_labels).directed(above=uniform)
    pairs, rates = pairs[directed], rates[directed]
    if earlier is not None:
        pairs, rates = _highest(torch.cat([pairs, before]), torch.cat([rates, earlier.rates]))
    uniform = _rate_of_the_rest(doubts, given, pairs, used)
    rates = torch.maximum(rates, uniform)
    true = pairs // num_labels
    without = used - 1 - _sums(torch.ones_like(rates), true, num_labels)
    kept = 1 - _sums(rates, true, num_labels) - uniform * without
    return Transitions(uniform, pairs, rates, kept.clamp_min(_LEAST_KEPT))


def _rate_of_the_rest(doubts: Tensor, given: Tensor, directed: Tensor, used: int) -> Tensor:
    """Return the rate u between two labels, from the doubts of the rows whose pair has no direction."""
    doubts = doubts.double()
    if len(directed):
        doubts = torch.where(_find(directed, given)[1], 0.0, doubts)
    return doubts.mean() / (used - 1)


def _highest(pairs: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pair once, ascending, with its highest rate."""
    unique, place = torch.unique(pairs, return_inverse=True)
    return unique, torch.zeros_like(rates[: len(unique)]).scatter_reduce_(0, place, rates, "amax")


class _Table:
    """C, of which only the entries that occur are held: `pairs` k * K + y, ascending, and their `counts`."""

    def __init__(self, pairs: Tensor, counts: Tensor, num_labels: int) -> None:
        self._counts, self._num_labels = counts, num_labels
        self._rows, self._columns = pairs // num_labels, pairs % num_labels
        place, known = _find(pairs, self._columns * num_labels + self._rows)
        self._opposite = torch.where(known, counts[place], 0.0)

    def directed(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for each entry, whether there is a direction and not by chance, and its rate T[k, y]."""
        first, second, target = self._scales()
        there = first[self._rows] * second[self._columns]
        back = first[self._columns] * second[self._rows]
        # A symmetric scaled table has C[k, y] there = C[y, k] back, hence this share of both counts in C[k, y].
        share = back / (there + back)
        both = self._counts + self._opposite
        by_chance = (both * share * (1 - share)).sqrt()
        is_chance = self._counts - both * share <= _significant(self._num_labels) * by_chance
        size = self._sums(self._counts, self._rows) + _PRIOR_ROWS
        rate = (self._counts - self._opposite) / size[self._rows]
        scaled = (self._counts * there - self._opposite * back) / (target + _PRIOR_ROWS)[self._rows]
        return ~is_chance & (scaled > above) & (rate > 0), torch.maximum(rate, scaled)

    def _scales(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return a and b, `[K]`, with which a_k C[k, y] b_y has C's column sums in rows and columns, and the sums."""
        spread = _SPREAD_ROWS / self._num_labels
        target = self._sums(self._counts, self._columns) + _SPREAD_ROWS
        first, second = torch.ones_like(target), torch.ones_like(target)
        for _ in range(_ITERATIONS):
            before = first
            reached = self._sums(self._counts * second[self._columns], self._rows) + spread * second.sum()
            first = target / reached
            reached = self._sums(self._counts * first[self._rows], self._columns) + spread * first.sum()
            second = target / reached
            if bool(((first - before).abs() <= _CONVERGED * first).all()):
                break
        return first, second, target

    def _sums(self, values: Tensor, at: Tensor) -> Tensor:
        return _sums(values, at, self._num_labels)


def _significant(num_labels: int) -> float:
    """Return the standard deviations that half a pair of all pairs of labels is expected to exceed by chance."""
    return NormalDist().inv_cdf(1 - _PASSING_BY_CHANCE / (num_labels * (num_labels - 1)))


def _find(pairs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each wanted pair stands among the pairs, which are ascending, and whether it does."""
    place = torch.searchsorted(pairs, wanted).clamp_max(len(pairs) - 1)
    return place, pairs[place] == wanted


def _sums(values: Tensor, at: Tensor, size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float64, device=values.device).scatter_add_(0, at, values.double())
