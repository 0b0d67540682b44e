"""Label noise: as many wrong labels as it promises, repeatable, and a message for every wrong argument."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noises import MATRIX_KINDS, labels_and_size, matrices, noise_arguments, rates, seeds, skewed_labels

from lane_hf.errors import InputError
from lane_hf.label_space import ordinal_distances
from lane_hf.noise import KINDS, inject, transition_matrix


@given(labels_and_size(), st.sampled_from(KINDS), rates, seeds, st.booleans())
def test_what_every_kind_promises(labels_size, kind, rate, seed, binomial):
    labels, num_labels = labels_size
    before = labels.copy()
    arguments = noise_arguments(kind, num_labels, rate)
    noisy = inject(labels, **arguments, seed=seed, binomial=binomial)
    assert noisy.labels.dtype == np.int64
    assert noisy.is_flipped.dtype == np.bool_
    assert noisy.labels.shape == noisy.is_flipped.shape == labels.shape
    assert ((noisy.labels >= 0) & (noisy.labels < num_labels)).all()
    np.testing.assert_array_equal(noisy.is_flipped, noisy.labels != labels)
    np.testing.assert_array_equal(labels, before)  # the input is never modified
    again = inject(labels, **arguments, seed=seed, binomial=binomial)
    np.testing.assert_array_equal(again.labels, noisy.labels)


@given(labels_and_size(), st.sampled_from(KINDS), seeds, st.booleans())
def test_rate_zero_changes_nothing(labels_size, kind, seed, binomial):
    labels, num_labels = labels_size
    noisy = inject(labels, **noise_arguments(kind, num_labels, 0), seed=seed, binomial=binomial)
    np.testing.assert_array_equal(noisy.labels, labels)
    assert not noisy.is_flipped.any()
    assert not np.shares_memory(noisy.labels, labels)


@given(labels_and_size(), st.sampled_from(MATRIX_KINDS), rates, seeds)
def test_exactly_the_rounded_share_flips(labels_size, kind, rate, seed):
    labels, num_labels = labels_size
    noisy = inject(labels, **noise_arguments(kind, num_labels, rate), seed=seed)
    assert noisy.is_flipped.sum() == round(rate * len(labels))


@given(labels_and_size(), st.sampled_from((*MATRIX_KINDS, "matrix")), seeds, st.booleans())
def test_rate_one_flips_every_row(labels_size, kind, seed, binomial):
    labels, num_labels = labels_size
    assert inject(labels, **noise_arguments(kind, num_labels, 1), seed=seed, binomial=binomial).is_flipped.all()


@given(st.data(), labels_and_size(), seeds)
def test_a_matrix_flips_its_exact_number_of_rows_in_every_class(data, labels_size, seed):
    labels, num_labels = labels_size
    matrix = data.draw(matrices(num_labels))
    noisy = inject(labels, matrix, seed=seed)
    sizes = np.bincount(labels, minlength=num_labels)
    quotas = sizes * (1 - np.diag(matrix))
    flipped = np.bincount(labels[noisy.is_flipped], minlength=num_labels)
    assert (np.abs(flipped - quotas) < 1 + 1e-6).all()
    assert abs(flipped.sum() - quotas.sum()) <= 0.5 + 1e-6
    # A label that the matrix gives no probability is never given.
    assert (matrix[labels, noisy.labels] > 0).all()


def test_largest_remainders_by_hand():
    labels = np.repeat([0, 1, 2], [5, 4, 3])  # quotas 1.5, 1.6, 0.3: total 3.4, so 3; floors 1, 1, 0; one more for 1.6
    matrix = [[0.7, 0.3, 0.0], [0.4, 0.6, 0.0], [0.1, 0.0, 0.9]]
    flipped = labels[inject(labels, matrix, seed=0).is_flipped]
    np.testing.assert_array_equal(np.bincount(flipped, minlength=3), [1, 2, 0])


def test_whole_quotas_are_not_spoilt_by_float_dust():
    labels = np.repeat(np.arange(3), 10)
    matrix = transition_matrix("uniform", 3, 0.3).astype(np.float32)
    flipped = labels[inject(labels, matrix, seed=1).is_flipped]
    np.testing.assert_array_equal(np.bincount(flipped), [3, 3, 3])


@given(labels_and_size(), rates, seeds, st.booleans())
def test_shuffle_preserves_class_counts_and_touches_at_most_its_share(labels_size, rate, seed, binomial):
    labels, num_labels = labels_size
    noisy = inject(labels, "shuffle", rate=rate, seed=seed, num_labels=num_labels, binomial=binomial)
    np.testing.assert_array_equal(
        np.bincount(noisy.labels, minlength=num_labels), np.bincount(labels, minlength=num_labels)
    )
    if not binomial:
        assert noisy.is_flipped.sum() <= round(rate * len(labels))


def test_shuffle_makes_as_many_labels_wrong_as_documented():
    labels = skewed_labels(100_000, 5)
    shares = np.bincount(labels) / len(labels)
    wrong = inject(labels, "shuffle", rate=0.4, seed=0).is_flipped.mean()
    assert wrong == pytest.approx(0.4 * (1 - (shares**2).sum()), abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_different_seeds_differ(kind):
    labels = skewed_labels(200, 4)
    results = {inject(labels, **noise_arguments(kind, 4, 0.4), seed=seed).labels.tobytes() for seed in range(20)}
    assert len(results) == 20


@pytest.mark.parametrize("make", [list, tuple, lambda labels: labels.astype(np.uint8), lambda labels: labels])
def test_any_integer_array_gives_the_same_noise(make):
    labels = skewed_labels(100, 4)
    expected = inject(labels.astype(np.int64), "uniform", rate=0.3, seed=5)
    np.testing.assert_array_equal(inject(make(labels), "uniform", rate=0.3, seed=np.int64(5)).labels, expected.labels)


def test_the_number_of_labels_can_exceed_the_labels_seen():
    labels = np.zeros(1000, dtype=int)
    assert set(inject(labels, "uniform", rate=1, seed=0, num_labels=4).labels) == {1, 2, 3}
    distances = ordinal_distances(4)
    assert set(inject(labels + 1, "semantic", rate=1, seed=0, distances=distances).labels) == {0, 2, 3}
    assert set(inject(labels, transition_matrix("uniform", 4, 1.0), seed=0).labels) == {1, 2, 3}


GOOD = {"labels": [0, 1, 2, 1], "kind_or_matrix": "uniform", "rate": 0.5, "seed": 0}
IDENTITY = np.eye(3)

BAD_INJECTIONS = {
    "empty labels": ({"labels": []}, "labels is empty"),
    "float labels": ({"labels": [0.0, 1.0]}, "labels must be integers, got float64"),
    "bool labels": ({"labels": [True, False]}, "labels must be integers, got bool"),
    "label names": ({"labels": ["a", "b"]}, "labels must be integers, got <U1"),
    "missing label": ({"labels": [0, None]}, "labels must be integers, got object"),
    "one-hot labels": ({"labels": np.eye(3, dtype=int)}, r"one integer per row, shape \[N\]; got shape \[3, 3\]"),
    "one label": ({"labels": 1}, r"one integer per row, shape \[N\]; got shape \[\]"),
    "ragged labels": ({"labels": [[0], [1, 2]]}, "these rows have different lengths"),
    "ignored labels": ({"labels": [0, 1, -100]}, r"labels\[2\] is -100: labels start at 0"),
    "label too high": ({"num_labels": 2}, r"labels\[2\] is 2, but with 2 labels the highest is 1"),
    "only label 0": ({"labels": [0, 0]}, "every label is 0: give num_labels"),
    "num_labels 1": ({"labels": [0, 0], "num_labels": 1}, "num_labels is 1"),
    "no rate": ({"rate": None}, "uniform noise needs a rate"),
    "rate above 1": ({"rate": 1.5}, "rate must be a share"),
    "unknown kind": ({"kind_or_matrix": "flip"}, "unknown kind of noise 'flip'"),
    "matrix as a word": ({"kind_or_matrix": "matrix"}, "give inject the .K, K. array itself"),
    "no distances": ({"kind_or_matrix": "semantic"}, "semantic noise needs distances"),
    "seed None": ({"seed": None}, "seed must be a whole number from 0 on, got None"),
    "seed negative": ({"seed": -1}, "seed must be a whole number from 0 on, got -1"),
    "seed bool": ({"seed": True}, "seed must be a whole number from 0 on, got True"),
    "seed float": ({"seed": 0.5}, "seed must be a whole number from 0 on, got 0.5"),
    "matrix and rate": ({"kind_or_matrix": IDENTITY}, "says its own rates: leave out rate=0.5"),
    "matrix not square": ({"kind_or_matrix": np.ones((3, 2)), "rate": None}, r"must be square.*\[3, 2\]"),
    "matrix too small": ({"kind_or_matrix": np.eye(2), "rate": None}, r"labels\[2\] is 2, but with 2 labels"),
    "matrix of others": ({"kind_or_matrix": IDENTITY, "rate": None, "num_labels": 4}, "has 3 rows, but there are 4"),
    "matrix row sum": ({"kind_or_matrix": IDENTITY * 0.9, "rate": None}, "row 0 of the transition matrix sums to 0.9"),
    "matrix of columns": (
        {"kind_or_matrix": [[0.8, 0.3, 0], [0.1, 0.7, 0], [0.1, 0, 1]], "rate": None},
        "row 0 .* sums to 1.1, not 1: .*transpose",
    ),
    "matrix negative": (
        {"kind_or_matrix": [[1.2, -0.2, 0], [0, 1, 0], [0, 0, 1]], "rate": None},
        r"the transition matrix\[0, 0\] is 1.2: every entry must be a probability",
    ),
    "matrix nan": ({"kind_or_matrix": np.full((3, 3), np.nan), "rate": None}, r"\[0, 0\] is nan: .*finite"),
    "matrix of text": ({"kind_or_matrix": [["a"]], "rate": None}, "the transition matrix must be a .K, K. array"),
}


@pytest.mark.parametrize("case", BAD_INJECTIONS)
def test_bad_injection_arguments_have_their_own_message_in_one_line(case):
    changes, message = BAD_INJECTIONS[case]
    with pytest.raises(InputError, match=message) as caught:
        inject(**{**GOOD, **changes})
    assert "\n" not in str(caught.value)


def test_import_is_light():
    """Noise is made of numpy: importing it must not wait for torch, pandas or datasets."""
    heavy = ("torch", "datasets", "transformers", "pandas", "sklearn", "pyarrow")
    code = f"import sys, lane_hf.noise, lane_hf.label_space; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
