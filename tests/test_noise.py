"""Label noise: exact where it promises to be, right on average elsewhere, repeatable always."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lane_hf.errors import InputError
from lane_hf.label_space import ordinal_distances, plutchik_distances
from lane_hf.noise import KINDS, inject, inject_into_dataset, transition_matrix

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


# --- transition matrices -----------------------------------------------------------------------------------------


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


# --- injection: exactness and repeatability ----------------------------------------------------------------------


def noise_arguments(kind, num_labels, rate):
    """The arguments of `inject` for a kind; "matrix" is a semantic matrix given by hand."""
    distances = ordinal_distances(num_labels)
    if kind == "matrix":
        return {"kind_or_matrix": transition_matrix("semantic", num_labels, rate, distances=distances)}
    return {"kind_or_matrix": kind, "rate": rate, "num_labels": num_labels, "distances": distances}


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


# --- injection: distributions ------------------------------------------------------------------------------------


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


# --- bad input ---------------------------------------------------------------------------------------------------

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


# --- data sets ---------------------------------------------------------------------------------------------------

NAMES = ["bad", "fair", "good"]


@pytest.fixture
def train():
    labels = skewed_labels(50, 3)
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES), "id": Value("int32")})
    columns = {"text": [f"row {row}" for row in range(50)], "label": labels, "id": np.arange(50)}
    return Dataset.from_dict(columns, features=features)


@pytest.mark.parametrize("kind", KINDS)
def test_dataset_gets_the_noise_of_inject_and_keeps_the_rest(train, kind):
    before = train.to_dict()
    arguments = noise_arguments(kind, 3, 0.4)
    expected = inject(train["label"], **arguments, seed=2)
    arguments["kind"] = arguments.pop("kind_or_matrix")
    arguments.pop("num_labels", None)
    noisy = inject_into_dataset(train, **arguments, seed=2)

    assert noisy.column_names == ["text", "label", "id", "is_flipped", "original_label"]
    assert noisy.features["label"] == noisy.features["original_label"] == train.features["label"]
    assert noisy.features["is_flipped"] == Value("bool")
    assert noisy.features["text"] == train.features["text"]
    assert noisy.features["id"] == train.features["id"]
    assert list(noisy["label"]) == expected.labels.tolist()
    assert list(noisy["is_flipped"]) == expected.is_flipped.tolist()
    assert any(noisy["is_flipped"])
    assert list(noisy["original_label"]) == before["label"]
    assert list(noisy["text"]) == before["text"]
    assert list(noisy["id"]) == before["id"]
    assert train.to_dict() == before
    assert train.column_names == ["text", "label", "id"]


def test_class_label_says_how_many_labels_there_are(train):
    two_of_three = train.filter(lambda row: row["label"] < 2)
    noisy = inject_into_dataset(two_of_three, kind="uniform", rate=1.0, seed=0)
    assert set(noisy["label"]) == {0, 1, 2}


def test_integer_column_of_another_name(train):
    plain = train.cast_column("label", Value("int8")).rename_column("label", "stars")
    noisy = inject_into_dataset(plain, label_column="stars", kind="pair", rate=0.5, seed=0)
    assert noisy.features["stars"] == noisy.features["original_label"] == Value("int8")
    assert sum(noisy["is_flipped"]) == 25
    assert "label" not in noisy.column_names


def test_selected_and_shuffled_rows_keep_their_labels(train):
    part = train.shuffle(seed=1).select(range(5, 30))
    noisy = inject_into_dataset(part, kind="uniform", rate=0.4, seed=0)
    assert list(noisy["original_label"]) == list(part["label"])
    assert list(noisy["text"]) == list(part["text"])
    assert sum(noisy["is_flipped"]) == 10
    changed = [given != original for given, original in zip(noisy["label"], noisy["original_label"], strict=True)]
    assert changed == list(noisy["is_flipped"])


def test_format_is_kept(train):
    as_numpy = train.with_format("numpy", columns=["label", "id"])
    noisy = inject_into_dataset(as_numpy, kind="uniform", rate=0.4, seed=0)
    assert noisy.format["type"] == "numpy"
    assert set(noisy[0]) == {"label", "id", "is_flipped", "original_label"}
    plain = inject_into_dataset(train, kind="uniform", rate=0.4, seed=0)
    np.testing.assert_array_equal(noisy["label"][:], plain["label"][:])


def test_same_noise_has_the_same_fingerprint(train):
    """So that later `map` calls find their caches."""
    first, second, other = (inject_into_dataset(train, kind="uniform", rate=0.4, seed=seed) for seed in (0, 0, 1))
    assert first._fingerprint == second._fingerprint
    assert first._fingerprint != other._fingerprint


BAD_DATASETS = {
    "dict of splits": (lambda train: DatasetDict(train=train), {}, "give one datasets.Dataset.*got DatasetDict"),
    "streaming": (lambda train: train.to_iterable_dataset(), {}, "give one datasets.Dataset.*got IterableDataset"),
    "no such column": (lambda train: train, {"label_column": "y"}, "no column 'y': the columns are text, label, id"),
    "text column": (
        lambda train: train,
        {"label_column": "text"},
        r"must be a ClassLabel or an integer.*class_encode",
    ),
    "float column": (lambda train: train.cast_column("label", Value("float32")), {}, "must be a ClassLabel or an int"),
    "noisy already": (
        lambda train: inject_into_dataset(train, kind="pair", rate=0.1, seed=0),
        {},
        "has 'is_flipped' and 'original_label' already",
    ),
    "one column taken": (lambda train: train.rename_column("id", "is_flipped"), {}, "has 'is_flipped' already"),
    "missing label": (
        lambda train: train.map(lambda row: {"label": None if row["id"] == 3 else row["label"]}),
        {},
        "column 'label' has 1 missing labels",
    ),
    "unlabelled split": (
        lambda train: train.map(lambda row: {"label": -1}),
        {},
        r"labels\[0\] is -1: labels start at 0",
    ),
    "matrix of others": (lambda train: train, {"kind": np.eye(4), "rate": None}, "has 4 rows, but there are 3 labels"),
}


@pytest.mark.parametrize("case", BAD_DATASETS)
def test_bad_datasets_have_their_own_message(train, case):
    make, options, message = BAD_DATASETS[case]
    dataset = make(train)
    with pytest.raises(InputError, match=message):
        inject_into_dataset(dataset, **{"kind": "uniform", "rate": 0.2, "seed": 0, **options})


def test_import_is_light():
    """Noise is made of numpy: importing it must not wait for torch, pandas or datasets."""
    heavy = ("torch", "datasets", "transformers", "pandas", "sklearn", "pyarrow")
    code = f"import sys, lane_hf.noise, lane_hf.label_space; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
