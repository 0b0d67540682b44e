"""Slow, loop-based float64 references for the tests.

Nothing here calls the library: every formula is written a second time, one row and one pair at a time, in plain
Python floats. Only the gradient references use torch, as float64 scalars that autograd can follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch

PROB_FLOOR = 1e-6
VARIANCE_FLOOR = 1e-12
EXPONENT_FLOOR = -80.0

Matrix = Sequence[Sequence[float]]


# --------------------------------------------------------------------------------------------------------- margins
def slow_margin(row: Sequence[float], label: int) -> tuple[float, int]:
    """Margin of one row and the strongest other label, the lowest index among ties."""
    runner_up = -1
    for k, value in enumerate(row):
        if k == label:
            continue
        if runner_up < 0 or value > row[runner_up]:
            runner_up = k
    return row[label] - row[runner_up], runner_up


def slow_label_aware_margin(row: Sequence[float], label: int, probs: Sequence[float]) -> float:
    """The margin, divided by the (floored) probability of the runner-up where it is negative."""
    value, runner_up = slow_margin(row, label)
    if value >= 0:
        return value
    return value / max(probs[runner_up], PROB_FLOOR)


# ---------------------------------------------------------------------------------------------------- soft targets
def slow_softmax(row: list[float]) -> list[float]:
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def slow_target(row: list[float], label: int, share: float, temperature: float) -> list[float]:
    """Mix of the given label and the sharpened prediction."""
    powers = [p ** (1 / temperature) for p in slow_softmax(row)]
    sharp = [power / sum(powers) for power in powers]
    return [share * p + (1 - share) * (k == label) for k, p in enumerate(sharp)]


def slow_candidate_target(row: list[float], label: int, candidate: int, share: float) -> list[float]:
    others = slow_softmax([score for k, score in enumerate(row) if k != label])
    others.insert(label, 0.0)
    target = [max(share - 0.5, 0) * other for other in others]
    target[label] += 1 - share
    target[candidate] += min(share, 0.5)
    return target


# ------------------------------------------------------------------------------------------------------- weighting
class SlowStats(NamedTuple):
    mean: float
    variance: float
    count: int


def slow_negative_stats(values: Iterable[float], mask: Iterable[bool] | None = None) -> SlowStats:
    """Population mean and variance of the entries below zero; NaN, NaN, 0 without any."""
    values = list(values)
    keep = [True] * len(values) if mask is None else list(mask)
    chosen = [value for value, wanted in zip(values, keep, strict=True) if wanted and value < 0]
    if not chosen:
        return SlowStats(math.nan, math.nan, 0)
    mean = math.fsum(chosen) / len(chosen)
    variance = math.fsum((value - mean) ** 2 for value in chosen) / len(chosen)
    return SlowStats(mean, variance, len(chosen))


def slow_weight_below(distance: float, variance: float) -> float:
    """The Gaussian branch alone, for a value that lies `distance` below the mean."""
    exponent = -(distance * distance) / (2.0 * max(variance, VARIANCE_FLOOR))
    return math.exp(max(exponent, EXPONENT_FLOOR))


def slow_threshold(mean: float) -> float:
    """Values below this one get a Gaussian weight."""
    return mean - 1e-6 * max(1.0, abs(mean))


def slow_gaussian_weight(value: float, mean: float, variance: float) -> float:
    if math.isnan(mean) or not value < slow_threshold(mean):
        return 1.0
    return slow_weight_below(mean - value, variance)


# ----------------------------------------------------------------------------------------------------- contrastive
def slow_pairs(labels: Sequence[int], row_ids: Sequence[int] | None, i: int) -> tuple[list[int], list[int], list[int]]:
    """Positives, negatives and all others of anchor i."""
    positives: list[int] = []
    negatives: list[int] = []
    for j in range(len(labels)):
        if j == i:
            continue
        if row_ids is not None and row_ids[j] == row_ids[i]:
            continue
        if labels[j] == labels[i]:
            positives.append(j)
        else:
            negatives.append(j)
    return positives, negatives, sorted(positives + negatives)


def slow_similarities(embeddings: Matrix, temperature: float) -> list[list[float]]:
    unit: list[list[float]] = []
    for row in embeddings:
        norm = math.sqrt(math.fsum(value * value for value in row))
        unit.append([value / norm if norm > 0 else 0.0 for value in row])
    return [[math.fsum(a * b for a, b in zip(u, v, strict=True)) / temperature for v in unit] for u in unit]


def slow_label_aware_contrastive(
    embeddings: Matrix,
    labels: Sequence[int],
    probs: Matrix,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> float:
    s = slow_similarities(embeddings, temperature)
    total = 0.0
    for i, label in enumerate(labels):
        positives, negatives, _ = slow_pairs(labels, row_ids, i)
        if not positives or not negatives:
            continue
        w = [max(p, PROB_FLOOR) for p in probs[i]]
        denominator = math.log(math.fsum(w[labels[k]] * math.exp(s[i][k]) for k in negatives))
        total -= math.fsum(math.log(w[label]) + s[i][p] - denominator for p in positives) / len(positives)
    return total / len(labels)


def slow_supervised_contrastive(
    embeddings: Matrix,
    labels: Sequence[int],
    probs: Matrix | None,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> float:
    """`probs` is accepted, and not used, so that the three references can be called alike."""
    s = slow_similarities(embeddings, temperature)
    total = 0.0
    for i in range(len(labels)):
        positives, _, others = slow_pairs(labels, row_ids, i)
        if not positives:
            continue
        denominator = math.log(math.fsum(math.exp(s[i][k]) for k in others))
        total -= math.fsum(s[i][p] - denominator for p in positives) / len(positives)
    return total / len(labels)


def slow_believed_contrastive(
    embeddings: Matrix,
    labels: Sequence[int],
    beliefs: Matrix,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> float:
    """`labels` are not looked at: the beliefs say what they are."""
    s = slow_similarities(embeddings, temperature)
    total = 0.0
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if (j != i if row_ids is None else row_ids[j] != row_ids[i])]
        pairs = {j: math.fsum(a * b for a, b in zip(beliefs[i], beliefs[j], strict=True)) for j in others}
        if math.fsum(pairs.values()) < 1e-4:
            continue
        denominator = math.log(math.fsum(math.exp(s[i][k]) for k in others))
        attraction = math.fsum(pairs[j] * s[i][j] for j in others) / math.fsum(pairs.values())
        total += math.fsum(belief**2 for belief in beliefs[i]) * (denominator - attraction)
    return total / len(labels)


def slow_label_contrastive(
    embeddings: Matrix,
    labels: Sequence[int],
    probs: Matrix,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> float:
    s = slow_similarities(embeddings, temperature)
    total = 0.0
    for i, label in enumerate(labels):
        positives, _, others = slow_pairs(labels, row_ids, i)
        if not positives:
            continue
        w = [max(p, PROB_FLOOR) for p in probs[i]]
        denominator = math.log(math.fsum(w[labels[k]] * math.exp(s[i][k]) for k in others))
        total -= math.fsum(w[label] * (s[i][p] - denominator) for p in positives) / len(positives)
    return total / len(labels)


def _autograd_similarities(embeddings: torch.Tensor, temperature: float) -> list[list[torch.Tensor]]:
    unit = []
    for row in embeddings:
        norm = (row * row).sum().sqrt() if bool((row != 0).any()) else torch.ones((), dtype=row.dtype)
        unit.append(row / norm)
    return [[(u * v).sum() / temperature for v in unit] for u in unit]


def _floored(value: torch.Tensor) -> torch.Tensor:
    return value if value.item() > PROB_FLOOR else torch.full_like(value, PROB_FLOOR)


def autograd_label_aware_contrastive(
    embeddings: torch.Tensor,
    labels: Sequence[int],
    probs: torch.Tensor,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> torch.Tensor:
    """float64 scalar-by-scalar version that autograd can differentiate (so are the next two)."""
    s = _autograd_similarities(embeddings, temperature)
    total = embeddings.sum() * 0.0 + probs.sum() * 0.0
    for i, label in enumerate(labels):
        positives, negatives, _ = slow_pairs(labels, row_ids, i)
        if not positives or not negatives:
            continue
        denominator = torch.zeros((), dtype=torch.float64)
        for k in negatives:
            denominator = denominator + _floored(probs[i, labels[k]]) * s[i][k].exp()
        for p in positives:
            total = total - (_floored(probs[i, label]).log() + s[i][p] - denominator.log()) / len(positives)
    return total / len(labels)


def autograd_supervised_contrastive(
    embeddings: torch.Tensor,
    labels: Sequence[int],
    probs: torch.Tensor,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> torch.Tensor:
    s = _autograd_similarities(embeddings, temperature)
    total = embeddings.sum() * 0.0 + probs.sum() * 0.0
    for i in range(len(labels)):
        positives, _, others = slow_pairs(labels, row_ids, i)
        if not positives:
            continue
        denominator = torch.zeros((), dtype=torch.float64)
        for k in others:
            denominator = denominator + s[i][k].exp()
        for p in positives:
            total = total - (s[i][p] - denominator.log()) / len(positives)
    return total / len(labels)


def autograd_believed_contrastive(
    embeddings: torch.Tensor,
    labels: Sequence[int],
    beliefs: torch.Tensor,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> torch.Tensor:
    s = _autograd_similarities(embeddings, temperature)
    beliefs = beliefs.detach()
    total = embeddings.sum() * 0.0
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if (j != i if row_ids is None else row_ids[j] != row_ids[i])]
        pairs = {j: float(beliefs[i] @ beliefs[j]) for j in others}
        if sum(pairs.values()) < 1e-4:
            continue
        denominator = torch.zeros((), dtype=torch.float64)
        for k in others:
            denominator = denominator + s[i][k].exp()
        for j in others:
            share = pairs[j] / sum(pairs.values())
            total = total - float(beliefs[i] @ beliefs[i]) * share * (s[i][j] - denominator.log())
    return total / len(labels)


def autograd_label_contrastive(
    embeddings: torch.Tensor,
    labels: Sequence[int],
    probs: torch.Tensor,
    temperature: float,
    row_ids: Sequence[int] | None = None,
) -> torch.Tensor:
    s = _autograd_similarities(embeddings, temperature)
    total = embeddings.sum() * 0.0 + probs.sum() * 0.0
    for i, label in enumerate(labels):
        positives, _, others = slow_pairs(labels, row_ids, i)
        if not positives:
            continue
        denominator = torch.zeros((), dtype=torch.float64)
        for k in others:
            denominator = denominator + _floored(probs[i, labels[k]]) * s[i][k].exp()
        for p in positives:
            total = total - _floored(probs[i, label]) * (s[i][p] - denominator.log()) / len(positives)
    return total / len(labels)


def central_difference(function: Callable[[Matrix], float], matrix: Matrix, step: float = 1e-6) -> list[list[float]]:
    """Numerical gradient of `function` at `matrix`; it needs no autograd at all."""
    gradient = []
    for r, row in enumerate(matrix):
        line = []
        for c in range(len(row)):
            ends = []
            for sign in (1.0, -1.0):
                moved = [list(values) for values in matrix]
                moved[r][c] += sign * step
                ends.append(function(moved))
            line.append((ends[0] - ends[1]) / (2 * step))
        gradient.append(line)
    return gradient


# ---------------------------------------------------------------------------------------------------------- buffer
class SlowBuffer:
    """Keeps every margin that was ever recorded and averages them from scratch."""

    def __init__(self, num_rows: int) -> None:
        self.history: list[list[float]] = [[] for _ in range(num_rows)]
        self.skipped = 0

    def update(self, row_ids: Sequence[int], margins: Sequence[float]) -> None:
        met: set[int] = set()
        for row, value in zip(row_ids, margins, strict=True):
            if row == -1 or row in met:
                continue
            met.add(row)
            if math.isfinite(value):
                self.history[row].append(value)
            else:
                self.skipped += 1

    def averages(self) -> list[float]:
        return [math.fsum(values) / len(values) if values else 0.0 for values in self.history]

    def counts(self) -> list[int]:
        return [len(values) for values in self.history]

    def negative_stats(self) -> SlowStats:
        return slow_negative_stats(self.averages(), [bool(values) for values in self.history])
