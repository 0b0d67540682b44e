"""Label noise on average: frequencies, row by row and label by label, and against cleanlab."""

import numpy as np
import pytest
from noises import MATRIX_KINDS, empirical, noise_arguments, skewed_labels

from lane_hf.label_space import ordinal_distances, plutchik_distances
from lane_hf.noise import KINDS, inject, transition_matrix


@pytest.mark.parametrize("binomial", [False, True])
@pytest.mark.parametrize("kind", [*MATRIX_KINDS, "matrix"])
def test_frequencies_are_near_the_matrix(kind, binomial):
    labels = skewed_labels(100_000, 5)
    if kind == "matrix":
        matrix = np.random.default_rng(7).dirichlet(np.ones(5), size=5)
        noisy = inject(labels, matrix, seed=3, binomial=binomial)
    else:
        matrix = transition_matrix(kind, 5, 0.3, distances=ordinal_distances(5))
        noisy = inject(labels, **noise_arguments(kind, 5, 0.3), seed=3, binomial=binomial)
    # The smallest class has some 6,700 rows: a standard error of at most 0.0062, so this is five of them.
    assert np.abs(empirical(labels, noisy.labels, 5) - matrix).max() < 0.03
    if not binomial and kind == "matrix":  # exact per class, to within one row
        np.testing.assert_allclose(np.diag(empirical(labels, noisy.labels, 5)), np.diag(matrix), atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_binomial_numbers_vary_and_exact_numbers_do_not(kind):
    # For shuffle every label once: then all but the fixed points of the permutation are wrong.
    labels = np.arange(400) if kind == "shuffle" else np.tile(np.arange(4), 100)
    arguments = noise_arguments(kind, labels.max() + 1, 0.3)
    drawn = [inject(labels, **arguments, seed=seed, binomial=True).is_flipped.sum() for seed in range(300)]
    # Binomial(400, 0.3): mean 120, standard deviation 9.2; the mean of 300 is within 4 standard errors (2.1).
    assert abs(np.mean(drawn) - 120) < (2.1 if kind != "shuffle" else 3.5)
    assert 7.5 < np.std(drawn) < 11
    exact = {int(inject(labels, **arguments, seed=seed).is_flipped.sum()) for seed in range(20)}
    assert exact == {120} if kind != "shuffle" else exact <= set(range(112, 121))


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_the_rows_permutes_the_distribution_of_flips(kind):
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    order = np.random.default_rng(0).permutation(len(labels))
    arguments = noise_arguments(kind, 3, 0.4)
    repeats = 1500

    def frequencies(rows, first_seed):
        counts = np.zeros((len(rows), 3))
        for seed in range(first_seed, first_seed + repeats):
            counts[np.arange(len(rows)), inject(rows, **arguments, seed=seed).labels] += 1
        return counts / repeats

    straight, permuted = frequencies(labels, 0), frequencies(labels[order], 10_000)
    # Two frequencies of 1,500 trials each differ with a standard deviation of at most 0.018: this is five of them.
    assert np.abs(straight[order] - permuted).max() < 0.09
    # And within a class no row is preferred.
    for label in range(3):
        of_label = straight[labels == label]
        assert np.abs(of_label - of_label.mean(axis=0)).max() < 0.07


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_cleanlab(seed):
    """cleanlab's generator, given our matrix (theirs has the true label in the columns), makes the same joint."""
    cleanlab = pytest.importorskip(
        "cleanlab.benchmarking.noise_generation", reason="cleanlab is the independent implementation compared with"
    )
    labels = skewed_labels(100_000, 6, seed=seed)
    distances = plutchik_distances(["joy", "trust", "fear", "surprise", "sadness", "anger"])
    for matrix in (
        transition_matrix("uniform", 6, 0.2),
        transition_matrix("pair", 6, 0.4),
        transition_matrix("semantic", 6, 0.3, distances=distances, gamma=0.7),
        np.random.default_rng(seed).dirichlet(np.ones(6), size=6),
    ):
        theirs = cleanlab.generate_noisy_labels(labels, matrix.T)
        ours = inject(labels, matrix, seed=seed)
        # Theirs has no randomness in its counts; ours draws targets: the smallest class has some 4,700 rows.
        assert np.abs(empirical(labels, ours.labels, 6) - empirical(labels, theirs, 6)).max() < 0.03
        # Numbers of flips: theirs rounds each of 30 cells down, ours is exact.
        assert 0 <= ours.is_flipped.sum() - (theirs != labels).sum() <= 31
