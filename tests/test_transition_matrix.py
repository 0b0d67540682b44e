"""Transition matrices of label noise: by hand, by equation 10, and in the limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noises import MATRIX_KINDS, distance_matrices, rates

from lane_hf.errors import InputError
from lane_hf.label_space import ordinal_distances, plutchik_distances
from lane_hf.noise import transition_matrix


@given(st.sampled_from(MATRIX_KINDS), distance_matrices(), rates, st.floats(0, 1e3))
def test_rows_sum_to_one_and_the_diagonal_is_one_minus_the_rate(kind, distances, rate, gamma):
    matrix = transition_matrix(kind, len(distances), rate, distances=distances, gamma=gamma)
    assert matrix.dtype == np.float64
    assert ((matrix >= 0) & (matrix <= 1)).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(np.diag(matrix), 1 - rate)


@given(st.sampled_from(MATRIX_KINDS), distance_matrices())
def test_rate_zero_is_the_identity_matrix(kind, distances):
    matrix = transition_matrix(kind, len(distances), 0, distances=distances)
    np.testing.assert_array_equal(matrix, np.eye(len(distances)))


def test_uniform_and_pair_by_hand():
    np.testing.assert_allclose(transition_matrix("uniform", 5, 0.4)[2], [0.1, 0.1, 0.6, 0.1, 0.1])
    np.testing.assert_allclose(transition_matrix("pair", 3, 0.4), [[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]])
    np.testing.assert_allclose(transition_matrix("pair", 2, 0.4), transition_matrix("uniform", 2, 0.4))


@given(distance_matrices(), rates, st.floats(0, 5))
def test_semantic_is_equation_10(distances, rate, gamma):
    num_labels = len(distances)
    matrix = transition_matrix("semantic", num_labels, rate, distances=distances, gamma=gamma)
    for i in range(num_labels):
        total = sum(math.exp(-gamma * distances[i, k]) for k in range(num_labels) if k != i)
        for j in range(num_labels):
            if i != j:
                expected = rate * (math.exp(-gamma * distances[i, j]) / total)  # a tiny rate must not underflow
                assert matrix[i, j] == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(distance_matrices(), rates)
def test_gamma_zero_is_uniform(distances, rate):
    np.testing.assert_allclose(
        transition_matrix("semantic", len(distances), rate, distances=distances, gamma=0),
        transition_matrix("uniform", len(distances), rate),
        atol=1e-15,
    )


@pytest.mark.parametrize("gamma", [1e3, 1e12, 1e308])
def test_big_gamma_flips_only_to_the_nearest_and_ties_share(gamma):
    matrix = transition_matrix("semantic", 4, 0.4, distances=ordinal_distances(4), gamma=gamma)
    expected = [[0.6, 0.4, 0, 0], [0.2, 0.6, 0.2, 0], [0, 0.2, 0.6, 0.2], [0, 0, 0.4, 0.6]]
    np.testing.assert_allclose(matrix, expected, atol=1e-15)


def test_far_labels_do_not_underflow_a_row():
    distances = np.array([[0.0, 5000.0, 5001.0], [5000.0, 0.0, 1.0], [5001.0, 1.0, 0.0]])
    matrix = transition_matrix("semantic", 3, 0.5, distances=distances)
    share = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(matrix[0], [0.5, 0.5 * share, 0.5 * (1 - share)])


def test_semantic_prefers_near_emotions():
    names = ["joy", "love", "trust", "sadness"]
    row = transition_matrix("semantic", 4, 0.3, distances=plutchik_distances(names))[0]
    assert row[1] > row[2] > row[3] > 0


BAD_TRANSITIONS = {
    "shuffle": (("shuffle", 3, 0.2), {}, "shuffle has no fixed transition matrix.*use inject"),
    "matrix": (("matrix", 3, 0.2), {}, "a matrix of your own"),
    "unknown kind": (("symmetric", 3, 0.2), {}, "unknown kind of noise 'symmetric': choose one of shuffle, uniform"),
    "one label": (("uniform", 1, 0.2), {}, "num_labels is 1"),
    "half a label": (("uniform", 2.5, 0.2), {}, "num_labels must be a whole number, got 2.5"),
    "percent": (("uniform", 3, 20), {}, "rate must be a share in .0, 1., got 20: write 20% as 0.2"),
    "negative rate": (("uniform", 3, -0.1), {}, "rate must be a share in .0, 1., got -0.1"),
    "nan rate": (("uniform", 3, float("nan")), {}, "rate must be a share in .0, 1., got nan"),
    "text rate": (("uniform", 3, "0.2"), {}, "rate must be a share in .0, 1., got '0.2'"),
    "bool rate": (("uniform", 3, True), {}, "rate must be a share in .0, 1., got True"),
    "no distances": (("semantic", 3, 0.2), {}, "semantic noise needs distances"),
    "distances of others": (("semantic", 3, 0.2), {"distances": np.zeros((4, 4))}, "has 4 rows, but there are 3"),
    "negative gamma": (("semantic", 2, 0.2), {"distances": [[0, 1], [1, 0]], "gamma": -1}, "gamma must be.*got -1"),
    "infinite gamma": (
        ("semantic", 2, 0.2),
        {"distances": [[0, 1], [1, 0]], "gamma": np.inf},
        "gamma must be.*got inf",
    ),
    "text gamma": (("semantic", 2, 0.2), {"distances": [[0, 1], [1, 0]], "gamma": "1"}, "gamma must be.*got '1'"),
}


@pytest.mark.parametrize("case", BAD_TRANSITIONS)
def test_bad_transition_arguments_have_their_own_message(case):
    arguments, options, message = BAD_TRANSITIONS[case]
    with pytest.raises(InputError, match=message):
        transition_matrix(*arguments, **options)
