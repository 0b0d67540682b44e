"""Which rows are asked about, and which serve as examples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_hf.errors import InputError

TEST_SEED = 13
"""The test rows are the same for every repeat."""


def draw_test_rows(number: int, most: int) -> list[int]:
    """Return at most so many of the rows 0 ... number - 1, drawn at random, in their order.

    Example:
        >>> draw_test_rows(3, most=5), len(draw_test_rows(9, most=5))
        ([0, 1, 2], 5)
    """
    rng = np.random.Generator(np.random.PCG64(TEST_SEED))
    return np.sort(rng.permutation(number)[:most]).tolist()


def stratified_counts(sizes: NDArray[np.int64], number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how many rows of each class a sample has: in proportion, and each class at least once if that fits.

    Args:
        sizes: `[K]`, rows of each class.
        number: size of the sample, at most the sum of `sizes`.
        rng: decides between classes that lack equally many.

    Returns:
        `[K]` counts that add up to `number`, none above its class's size.

    Example:
        >>> stratified_counts(np.array([90, 9, 1]), 10, np.random.default_rng(0)).tolist()
        [8, 1, 1]
    """
    occurs = sizes > 0
    counts = occurs.astype(np.int64) if number >= occurs.sum() else np.zeros_like(sizes)
    quotas = number * sizes / sizes.sum()
    order = rng.permutation(len(sizes))
    while counts.sum() < number:
        lacking = np.where(counts < sizes, quotas - counts, -np.inf)
        counts[order[np.argmax(lacking[order])]] += 1
    return counts


def draw_examples(labels: Any, num_labels: int, number: int, seed: int) -> list[int]:
    """Return the rows that are shown as examples, in a random order.

    Args:
        labels: `[N]` the clean labels of the training rows: whatever noise comes later, the texts are the same.
        num_labels: K.
        number: how many examples.
        seed: decides rows and order.

    Raises:
        InputError: there are not so many rows.
    """
    labels = np.asarray(labels)
    if number > len(labels):
        raise InputError(f"{number} examples are asked for, but there are only {len(labels)} training rows")
    # Not the stream of the noise, which has the same seed: who is drawn first would say who is mislabelled.
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    counts = stratified_counts(np.bincount(labels, minlength=num_labels), number, rng)
    chosen = [rng.choice(np.flatnonzero(labels == k), counts[k], replace=False) for k in range(num_labels)]
    return rng.permutation(np.concatenate(chosen)).tolist()
