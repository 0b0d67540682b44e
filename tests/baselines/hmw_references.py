"""Slow references for hyperspherical margin weighting."""

import math

import torch


def slow_distance(feature: list[float], direction: list[float]) -> float:
    product = math.fsum(f * w for f, w in zip(feature, direction, strict=True))
    lengths = [math.sqrt(math.fsum(x * x for x in each)) for each in (feature, direction)]
    cosine = product / (lengths[0] * lengths[1]) if min(lengths) > 0 else 0.0
    return (1 - cosine) / 2


def slow_slice(distances: list[float], label: int, a: float, b: float, rho: float) -> float:
    """Label by label, as the authors' code has it: drop the given label, then the nearest, then sort the rest."""
    others = [distance for k, distance in enumerate(distances) if k != label]
    nearest = min(others)
    others.remove(nearest)
    exponent = min(a * (nearest - distances[label]), 700.0)
    first = 1 / (1 + math.exp(-exponent)) if exponent > -700 else 0.0
    if not others:
        return first
    compared = sorted(others)[: max(int((len(distances) - 2) * rho), 1)]
    return (first + math.exp(b * (nearest - sum(compared) / len(compared)))) / 2


def slow_weight(visits: list[tuple[int, float]], epochs: int) -> float:
    """Softmax of the scores of the epochs, over the visits so far, as the paper has it."""
    factors = [math.exp(1 + math.cos(math.pi * epoch / epochs)) for epoch, _ in visits]
    return sum(factor / sum(factors) * value for factor, (_, value) in zip(factors, visits, strict=True))


def slow_cross_entropy(row: list[float], label: int) -> float:
    return max(row) + math.log(sum(math.exp(value - max(row)) for value in row)) - row[label]


def normals(*size: int, seed: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))
