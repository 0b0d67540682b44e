"""Label noise: make some labels of a clean data set wrong, on purpose, and remember which.

Every kind but one is a transition matrix T `[K, K]`: the row is the true label, the column the given one, and what is
off the diagonal is noise.

    uniform    T[i, j] = rate / (K - 1)                     any other label
    pair       T[i, (i + 1) mod K] = rate                   always the next label
    semantic   T[i, j] = rate * exp(-gamma * d_ij) / sum_{k != i} exp(-gamma * d_ik)   (Eq. 10) near labels more often
    matrix     a matrix of the user's own

    shuffle    no matrix: the labels of randomly chosen rows are permuted among these rows, so class counts stay

How many labels become wrong is exact unless `binomial=True` lets every row decide for itself:

- uniform, pair, semantic: `round(rate * N)` random rows get another label, whatever their class.
- matrix: of each class, the share off the diagonal gets another label. Classes get whole numbers of rows that add up
  to the rounded total (largest remainders; the lower class first on ties).
- shuffle: `round(rate * N)` random rows take part. A row may get its own label back, so fewer become wrong: with class
  shares p, about `rate * (1 - sum p_k^2)` of all rows.

Source: Sosea & Caragea, "LANE: Label-Aware Noise Elimination", ICLR 2026: shuffle is its main setup, semantic its
Eq. 10. Distances for semantic noise come from `lane_hf.label_space`; `lane_hf.noisy_dataset` spoils a
`datasets.Dataset`.
"""

import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lane_hf.errors import InputError
from lane_hf.label_space import as_square_matrix, check_num_labels, validate_distances

KINDS = ("shuffle", "uniform", "pair", "matrix", "semantic")
"""The kinds of label noise; "matrix" stands for a transition matrix of the user's own."""

FLIPPED_COLUMN = "is_flipped"
"""The column that `lane_hf.noisy_dataset.inject_into_dataset` adds: whether the row's label was changed."""

ORIGINAL_COLUMN = "original_label"
"""The column that `lane_hf.noisy_dataset.inject_into_dataset` adds: the row's label before the noise."""

_TOLERANCE = 1e-6  # for the sums and entries of a user's matrix, which may come from float32


class NoisyLabels(NamedTuple):
    """Labels after noise, and which of them are wrong.

    Attributes:
        labels: `[N]` int64, the noisy labels.
        is_flipped: `[N]` bool, True exactly where the noisy label differs from the original.

    Example:
        >>> inject([0, 1, 0, 1], "pair", rate=0.5, seed=0).is_flipped.sum()
        np.int64(2)
    """

    labels: NDArray[np.int64]
    is_flipped: NDArray[np.bool_]


def transition_matrix(
    kind: str, num_labels: int, rate: float, *, distances: ArrayLike | None = None, gamma: float = 1.0
) -> NDArray[np.float64]:
    """Probabilities of the given label (column) for each true label (row).

    Args:
        kind: "uniform", "pair" or "semantic".
        num_labels: K, at least 2.
        rate: share of wrong labels, in `[0, 1]`.
        distances: `[K, K]` distances between labels; semantic noise needs them, the other kinds do not look at them.
        gamma: for semantic noise, how strongly near labels are preferred, per unit of distance: 0 is uniform noise,
            infinitely much would flip to the nearest label only (to each equally often, if several are nearest).

    Returns:
        `[K, K]` float64; rows sum to 1, the diagonal is `1 - rate`.

    Raises:
        InputError: for a kind without a fixed matrix (shuffle, matrix), an unknown kind, or an argument out of range.

    Source:
        Eq. 10 of LANE for "semantic".

    Example:
        >>> transition_matrix("uniform", 3, 0.5)
        array([[0.5 , 0.25, 0.25],
               [0.25, 0.5 , 0.25],
               [0.25, 0.25, 0.5 ]])
    """
    rate = _checked_rate(rate)
    matrix = rate * _target_distribution(kind, check_num_labels(num_labels), distances, gamma)
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def inject(
    labels: ArrayLike,
    kind_or_matrix: str | ArrayLike,
    *,
    rate: float | None = None,
    seed: int,
    num_labels: int | None = None,
    distances: ArrayLike | None = None,
    gamma: float = 1.0,
    binomial: bool = False,
) -> NoisyLabels:
    """Make some labels wrong; the same arguments always make the same ones wrong.

    Args:
        labels: `[N]` true labels, integers in `0..K-1`. Not modified.
        kind_or_matrix: "shuffle", "uniform", "pair", "semantic", or a transition matrix `[K, K]` (row: true label,
            column: given label, rows sum to 1). The top of this file says what each does.
        rate: share of rows that get noise, in `[0, 1]`. A matrix has its own rates, so it takes none.
        seed: a whole number from 0 on.
        num_labels: K. By default the size of the matrix, or of `distances`, or else the highest label plus one: give
            it if the last classes have no rows.
        distances: `[K, K]` distances between labels, for "semantic" only.
        gamma: preference for near labels per unit of distance, for "semantic" only; see `transition_matrix`.
        binomial: let every row decide for itself with its probability, instead of exact numbers.

    Returns:
        The noisy labels, and which rows' labels really changed.

    Raises:
        InputError: if an argument is missing, out of range, or does not fit another one.

    Example:
        >>> noisy = inject([0, 1, 2, 0, 1, 2], "pair", rate=0.5, seed=0)
        >>> int(noisy.is_flipped.sum())
        3
    """
    rng = _generator(seed)
    true = _checked_labels(labels)
    if isinstance(kind_or_matrix, str):
        if num_labels is None:
            num_labels = _count_labels(true, distances if kind_or_matrix == "semantic" else None)
        noise = _noise_of_kind(kind_or_matrix, num_labels, rate, distances, gamma)
    elif rate is None:
        noise = _noise_of_matrix(kind_or_matrix, num_labels)
    else:
        raise InputError(f"a transition matrix says its own rates: leave out rate={rate!r}")
    _check_range(true, len(noise.shares))
    rows = _choose_rows(true, noise, binomial, rng)
    noisy = true.copy()
    if noise.targets is None:
        noisy[rows] = true[rng.permutation(rows)]
    else:
        noisy[rows] = _draw_targets(true[rows], noise.targets, rng)
    return NoisyLabels(noisy, noisy != true)


class _Noise(NamedTuple):
    """What a kind of noise does to the rows of each class."""

    shares: NDArray[np.float64]  # [K], the share of a class's rows that get noise
    targets: NDArray[np.float64] | None  # [K, K], where they go; None: they permute their labels
    by_class: bool  # whether the exact numbers hold for each class, or over all rows


def _target_distribution(kind: str, num_labels: int, distances: ArrayLike | None, gamma: float) -> NDArray[np.float64]:
    """Where a flipped label goes: `[K, K]`, zero diagonal, rows sum to 1. The transition matrix at rate 1."""
    if kind == "uniform":
        weights = np.ones((num_labels, num_labels))
    elif kind == "pair":
        weights = np.roll(np.eye(num_labels), 1, axis=1)
    elif kind == "semantic":
        weights = _semantic_weights(num_labels, distances, gamma)
    elif kind == "shuffle":
        raise InputError("shuffle has no fixed transition matrix: it permutes the labels of random rows; use inject")
    elif kind == "matrix":
        raise InputError('kind "matrix" stands for a matrix of your own: give inject the [K, K] array itself')
    else:
        raise InputError(f"unknown kind of noise {kind!r}: choose one of {', '.join(KINDS)}")
    np.fill_diagonal(weights, 0.0)
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _semantic_weights(num_labels: int, distances: ArrayLike | None, gamma: float) -> NDArray[np.float64]:
    """`exp(-gamma * d)` off the diagonal, each row scaled so that its nearest other label has weight 1."""
    if distances is None:
        raise InputError("semantic noise needs distances between the labels: give a [K, K] matrix (see label_space)")
    if not _is_real(gamma) or not np.isfinite(gamma) or gamma < 0:
        raise InputError(f"gamma must be a finite number from 0 on, got {gamma!r}")
    gaps = validate_distances(distances, num_labels)
    np.fill_diagonal(gaps, np.inf)
    # The largest exponent of a softmax is subtracted, so that no row underflows to zeros however big gamma is.
    gaps -= gaps.min(axis=1, keepdims=True)
    np.fill_diagonal(gaps, 0.0)  # else 0 * inf at gamma = 0; the caller clears the diagonal
    with np.errstate(over="ignore"):
        return np.exp(-float(gamma) * gaps)


def _noise_of_kind(
    kind: str, num_labels: int, rate: float | None, distances: ArrayLike | None, gamma: float
) -> _Noise:
    """The noise of a kind with one rate for all classes."""
    num_labels = check_num_labels(num_labels)
    targets = None if kind == "shuffle" else _target_distribution(kind, num_labels, distances, gamma)
    if rate is None:
        raise InputError(f"{kind} noise needs a rate: give the share of wrong labels, such as rate=0.2")
    return _Noise(np.full(num_labels, _checked_rate(rate)), targets, by_class=False)


def _noise_of_matrix(matrix: ArrayLike, num_labels: int | None) -> _Noise:
    """The noise of a user's transition matrix."""
    what = "the transition matrix"
    probabilities = as_square_matrix(matrix, what, None if num_labels is None else check_num_labels(num_labels))
    out_of_range = (probabilities < -_TOLERANCE) | (probabilities > 1 + _TOLERANCE)
    if out_of_range.any():
        row, column = np.argwhere(out_of_range)[0]
        raise InputError(
            f"{what}[{row}, {column}] is {probabilities[row, column]:g}: every entry must be a probability in [0, 1]"
        )
    off = np.abs(probabilities.sum(axis=1) - 1.0) > _TOLERANCE
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"row {row} of {what} sums to {probabilities[row].sum():g}, not 1: a row is a true label, "
            "its columns the given labels (transpose the matrix if its columns sum to 1)"
        )
    targets = np.clip(probabilities, 0.0, 1.0)
    np.fill_diagonal(targets, 0.0)
    shares = targets.sum(axis=1)
    targets /= np.where(shares > 0, shares, 1.0)[:, None]
    return _Noise(np.minimum(shares, 1.0), targets, by_class=True)


def _choose_rows(
    true: NDArray[np.int64], noise: _Noise, binomial: bool, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The rows that get noise, in no particular order."""
    if binomial:
        return np.flatnonzero(rng.random(len(true)) < noise.shares[true])
    if not noise.by_class:
        return rng.choice(len(true), size=round(float(noise.shares[0]) * len(true)), replace=False)
    counts = _largest_remainders(np.bincount(true, minlength=len(noise.shares)) * noise.shares)
    chosen = [
        rng.choice(np.flatnonzero(true == label), size=counts[label], replace=False) for label in counts.nonzero()[0]
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *chosen])


def _largest_remainders(quotas: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to whole numbers that add up to the rounded total; the largest fractions are rounded up."""
    quotas = np.round(quotas, 9)  # 0.3 * 10 is 3, not 3 and a fraction
    counts = np.floor(quotas).astype(np.int64)
    largest_first = np.argsort(counts - quotas, kind="stable")
    counts[largest_first[: round(float(quotas.sum())) - int(counts.sum())]] += 1
    return counts


def _draw_targets(
    true: NDArray[np.int64], targets: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a wrong label for each true label from its row of `targets`."""
    drawn = np.empty_like(true)
    for label in np.unique(true):
        of_label = true == label
        drawn[of_label] = rng.choice(len(targets), size=np.count_nonzero(of_label), p=targets[label])
    return drawn


def _generator(seed: int) -> np.random.Generator:
    """PCG64 by name: numpy may change what `default_rng` means."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number from 0 on, got {seed!r}: without one noise cannot be repeated")
    return np.random.Generator(np.random.PCG64(operator.index(seed)))


def _checked_rate(rate: float) -> float:
    """The rate as a float in `[0, 1]`."""
    if not _is_real(rate) or not 0 <= rate <= 1:
        raise InputError(f"rate must be a share in [0, 1], got {rate!r}: write 20% as 0.2")
    return float(rate)


def _is_real(value: object) -> bool:
    """Whether it is a number, and no bool."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _checked_labels(labels: ArrayLike) -> NDArray[np.int64]:
    """A copy of the labels as `[N]` int64, none below 0."""
    try:
        given = np.asarray(labels)
    except ValueError:
        raise InputError("labels must be one integer per row; these rows have different lengths") from None
    if given.ndim != 1:
        raise InputError(f"labels must be one integer per row, shape [N]; got shape {list(given.shape)}")
    if not given.size:
        raise InputError("labels is empty: give at least one row")
    if not np.issubdtype(given.dtype, np.integer):
        raise InputError(f"labels must be integers, got {given.dtype}: give label indices 0..K-1, not names or scores")
    if given.min() < 0:
        row = int(np.argmax(given < 0))
        raise InputError(f"labels[{row}] is {given[row]}: labels start at 0; leave out rows without a label")
    return given.astype(np.int64)


def _check_range(true: NDArray[np.int64], num_labels: int) -> None:
    """Refuse labels above K - 1."""
    if true.max() >= num_labels:
        row = int(np.argmax(true >= num_labels))
        raise InputError(f"labels[{row}] is {true[row]}, but with {num_labels} labels the highest is {num_labels - 1}")


def _count_labels(true: NDArray[np.int64], distances: ArrayLike | None) -> int:
    """K where it is not given: the size of the distances, else the highest label plus one."""
    if distances is not None:
        return len(as_square_matrix(distances, "distances"))
    if not true.any():
        raise InputError("every label is 0: give num_labels if there are other labels that have no rows")
    return int(true.max()) + 1
