"""Slow, independent versions of what the methods with several stages compute."""

import math
from fractions import Fraction

import numpy as np


def slow_map(visits: list[list[tuple[int, list[float]]]], num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, variability and correctness of each row, from `(label, logits)` of each of its visits."""
    confidence, variability, correctness = np.zeros(num_rows), np.zeros(num_rows), np.zeros(num_rows)
    for row in range(num_rows):
        probs, hits = [], 0
        for label, logits in visits[row]:
            shares = [math.exp(z - max(logits)) for z in logits]
            probs.append(shares[label] / sum(shares))
            hits += logits.index(max(logits)) == label
        confidence[row], variability[row] = np.mean(probs), np.std(probs)
        correctness[row] = hits / len(visits[row])
    return confidence, variability, correctness


def slow_flags(aum: list[float], is_threshold: list[bool], percentile: float) -> list[bool]:
    """As the authors' script has it: flagged if more than a share of the threshold samples has a higher AUM."""
    thresholds = [value for value, chosen in zip(aum, is_threshold, strict=True) if chosen and not math.isnan(value)]
    flags = []
    for value, chosen in zip(aum, is_threshold, strict=True):
        higher = Fraction(sum(value < threshold for threshold in thresholds), len(thresholds))
        flags.append(not chosen and not math.isnan(value) and higher > 1 - Fraction(percentile) / 100)
    return flags
