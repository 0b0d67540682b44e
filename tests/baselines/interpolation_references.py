"""Slow references for label interpolation."""

import math
from collections import defaultdict

import torch


def slow_divergence(probs: list[float], label: int) -> float:
    """Jensen-Shannon divergence by its definition, with two relative entropies over all labels, in bits."""
    onehot = [float(k == label) for k in range(len(probs))]
    middle = [(p + q) / 2 for p, q in zip(probs, onehot, strict=True)]

    def relative_entropy(p: list[float]) -> float:
        return sum(a * math.log2(a / m) for a, m in zip(p, middle, strict=True) if a > 0)

    return (relative_entropy(probs) + relative_entropy(onehot)) / 2


def slow_soft_ce(row: list[float], target: list[float]) -> float:
    normaliser = max(row) + math.log(sum(math.exp(value - max(row)) for value in row))
    return sum(t * (normaliser - value) for value, t in zip(row, target, strict=True))


def slow_ce(row: list[float], label: int) -> float:
    return slow_soft_ce(row, [float(k == label) for k in range(len(row))])


class SlowRecord:
    """The divergence of each row's last visit, and the ranges of the labels as they were when an epoch began."""

    def __init__(self) -> None:
        self.last: dict[int, tuple[int, float]] = {}
        self.ranges: dict[int, tuple[float, float]] = {}

    def begin_epoch(self) -> None:
        by_label = defaultdict(list)
        for label, divergence in self.last.values():
            by_label[label].append(divergence)
        self.ranges = {label: (min(values), max(values)) for label, values in by_label.items()}

    def share(self, row: int, label: int) -> float:
        low, high = self.ranges.get(label, (0.0, 0.0))
        if row not in self.last or high <= low:
            return 0.0
        return min(max((self.last[row][1] - low) / (high - low), 0.0), 1.0)


def random_logits(rows: int, labels: int, seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, labels, generator=generator)
    return logits, torch.randint(0, labels, (rows,), generator=generator)
