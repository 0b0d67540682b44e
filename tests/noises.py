"""Labels, matrices and arguments for the tests of label noise."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lane_hf.label_space import ordinal_distances
from lane_hf.noise import transition_matrix

MATRIX_KINDS = ("uniform", "pair", "semantic")

rates = st.floats(0, 1)
seeds = st.integers(0, 2**32)


@st.composite
def distance_matrices(draw, max_labels=6):
    num_labels = draw(st.integers(2, max_labels))
    values = draw(arrays(np.float64, (num_labels, num_labels), elements=st.floats(0, 50)))
    distances = np.triu(values, 1)
    return distances + distances.T


@st.composite
def labels_and_size(draw, max_rows=60):
    num_labels = draw(st.integers(2, 6))
    labels = draw(st.lists(st.integers(0, num_labels - 1), min_size=1, max_size=max_rows))
    return np.array(labels), num_labels


@st.composite
def matrices(draw, num_labels):
    weights = draw(arrays(np.float64, (num_labels, num_labels), elements=st.floats(0, 1)))
    weights += 0.01 * np.eye(num_labels)  # no row of zeros
    return weights / weights.sum(axis=1, keepdims=True)


def empirical(true, noisy, num_labels):
    """Shares of the given labels for each true label, [K, K]."""
    counts = np.zeros((num_labels, num_labels))
    np.add.at(counts, (true, noisy), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def skewed_labels(num_rows, num_labels, seed=0):
    shares = np.arange(1, num_labels + 1) / np.arange(1, num_labels + 1).sum()
    return np.random.default_rng(seed).choice(num_labels, size=num_rows, p=shares)


# --- injection: exactness and repeatability ----------------------------------------------------------------------


def noise_arguments(kind, num_labels, rate):
    """The arguments of `inject` for a kind; "matrix" is a semantic matrix given by hand."""
    distances = ordinal_distances(num_labels)
    if kind == "matrix":
        return {"kind_or_matrix": transition_matrix("semantic", num_labels, rate, distances=distances)}
    return {"kind_or_matrix": kind, "rate": rate, "num_labels": num_labels, "distances": distances}
