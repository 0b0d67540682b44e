"""Distances between labels: what is near, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lane_hf.errors import InputError
from lane_hf.label_space import (
    GEOMETRIES,
    NEUTRAL,
    NEUTRAL_DISTANCE,
    PRIMARY_EMOTION,
    SAME_PRIMARY_DISTANCE,
    WHEEL,
    distances_for,
    name_embedding_distances,
    named_ordinal_distances,
    ordinal_distances,
    plutchik_distances,
    validate_distances,
)

# The label sets as their data sets publish them, written out here and not read from the table under test.
_PUBLISHED = {
    "goemotions": (
        "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval "
        "disgust embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief "
        "remorse sadness surprise neutral"
    ),
    "empathetic_dialogues": (
        "afraid angry annoyed anticipating anxious apprehensive ashamed caring confident content devastated "
        "disappointed disgusted embarrassed excited faithful furious grateful guilty hopeful impressed jealous joyful "
        "lonely nostalgic prepared proud sad sentimental surprised terrified trusting"
    ),
    "isear": "joy fear anger sadness disgust shame guilt",
    "canceremo": "sadness joy fear anger surprise disgust trust anticipation",
}
LABEL_SETS = {label_set: names.split() for label_set, names in _PUBLISHED.items()}
SIZES = {"goemotions": 28, "empathetic_dialogues": 32, "isear": 7, "canceremo": 8}

emotion_names = st.lists(st.sampled_from(sorted(PRIMARY_EMOTION)), min_size=2, max_size=12, unique=True)


@pytest.mark.parametrize("label_set", LABEL_SETS)
def test_every_label_of_the_papers_emotion_sets_has_a_place(label_set):
    names = LABEL_SETS[label_set]
    assert len(set(names)) == SIZES[label_set]
    assert set(names) <= set(PRIMARY_EMOTION)
    distances = plutchik_distances(names)
    assert distances.shape == (len(names), len(names))
    np.testing.assert_array_equal(validate_distances(distances, len(names)), distances)


def test_the_table_holds_nothing_else():
    assert set(PRIMARY_EMOTION) == {name for names in LABEL_SETS.values() for name in names}
    assert set(PRIMARY_EMOTION.values()) == {*WHEEL, NEUTRAL}
    assert all(PRIMARY_EMOTION[primary] == primary for primary in (*WHEEL, NEUTRAL))
    with pytest.raises(TypeError, match="does not support item assignment"):
        PRIMARY_EMOTION["joy"] = "anger"


def test_steps_around_the_wheel():
    first = plutchik_distances(WHEEL)[0]
    np.testing.assert_array_equal(first, [0, 1, 2, 3, 4, 3, 2, 1])
    for turn in range(len(WHEEL)):  # the wheel has no beginning
        turned = (*WHEEL[turn:], *WHEEL[:turn])
        np.testing.assert_array_equal(plutchik_distances(turned)[0], first)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("joy", "trust", 1),
        ("joy", "sadness", 4),
        ("anger", "fear", 4),
        ("trust", "disgust", 4),
        ("anger", "annoyance", SAME_PRIMARY_DISTANCE),
        ("ashamed", "guilty", SAME_PRIMARY_DISTANCE),
        ("grateful", "hopeful", 1),
        ("approval", "disapproval", 4),
        ("neutral", "joy", NEUTRAL_DISTANCE),
        ("neutral", "grief", NEUTRAL_DISTANCE),
    ],
)
def test_distances_that_one_can_check_by_eye(one, other, expected):
    np.testing.assert_array_equal(plutchik_distances([one, other]), [[0, expected], [expected, 0]])


@given(emotion_names)
def test_plutchik_is_a_metric(names):
    distances = plutchik_distances(names)
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(np.diag(distances), 0)
    assert (distances[~np.eye(len(names), dtype=bool)] > 0).all()
    # d(i, k) <= d(i, j) + d(j, k)
    assert (distances[:, None, :] <= distances[:, :, None] + distances[None, :, :]).all()


@given(emotion_names)
def test_labels_of_one_primary_are_nearer_than_all_others(names):
    distances = plutchik_distances(names)
    primary = np.array([PRIMARY_EMOTION[name] for name in names])
    same = (primary[:, None] == primary) & ~np.eye(len(names), dtype=bool)
    other = primary[:, None] != primary
    assert (distances[same] == SAME_PRIMARY_DISTANCE).all()
    assert (distances[other] >= 1).all()


@given(st.permutations(LABEL_SETS["isear"]))
def test_rows_follow_the_order_of_the_names(names):
    order = [LABEL_SETS["isear"].index(name) for name in names]
    np.testing.assert_array_equal(
        plutchik_distances(names), plutchik_distances(LABEL_SETS["isear"])[np.ix_(order, order)]
    )


def test_case_and_outer_spaces_of_names_do_not_matter():
    np.testing.assert_array_equal(plutchik_distances(["Joy", " SADNESS "]), plutchik_distances(["joy", "sadness"]))


@given(st.integers(2, 40))
def test_ordinal_distances(num_labels):
    distances = ordinal_distances(num_labels)
    assert distances.dtype == np.float64
    assert all(distances[i, j] == abs(i - j) for i in range(num_labels) for j in range(num_labels))


@given(arrays(np.float64, (5, 5), elements=st.floats(0, 1e6)))
def test_validate_returns_a_new_equal_matrix(values):
    given_matrix = values + values.T
    np.fill_diagonal(given_matrix, 0)
    before = given_matrix.copy()
    distances = validate_distances(given_matrix, 5)
    np.testing.assert_array_equal(distances, before)
    distances += 1
    np.testing.assert_array_equal(given_matrix, before)


def test_rounding_errors_are_mended():
    rough = np.array([[1e-8, 2.0, 1.0], [2.0 + 1e-7, -1e-8, 3.0], [1.0, 3.0, 0.0]], dtype=np.float32)
    distances = validate_distances(rough, 3)
    assert distances.dtype == np.float64
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(np.diag(distances), 0)
    np.testing.assert_allclose(distances, rough, atol=1e-6)


BAD_DISTANCES = {
    "ragged": ([[0, 1], [1]], "must be a .K, K. array of numbers"),
    "text": ([["near", "far"], ["far", "near"]], "must be a .K, K. array of numbers"),
    "vector": ([0, 1], r"must be square.*\[2\]"),
    "scalar": (3.0, r"must be square.*\[\]"),
    "not square": (np.zeros((2, 3)), r"must be square.*\[2, 3\]"),
    "too many": (np.zeros((3, 3)), "has 3 rows, but there are 2 labels"),
    "nan": ([[0, np.nan], [1, 0]], r"distances\[0, 1\] is nan: .*finite"),
    "infinite": ([[0, 1], [np.inf, 0]], r"distances\[1, 0\] is inf: .*finite"),
    "negative": ([[0, -1], [-1, 0]], r"distances\[0, 1\] is -1: .*negative"),
    "diagonal": ([[0, 1], [1, 0.5]], r"distances\[1, 1\] is 0.5: .*itself must be 0"),
    "asymmetric": ([[0, 1], [2, 0]], r"distances\[0, 1\] is 1: .*symmetric"),
}


@pytest.mark.parametrize("case", BAD_DISTANCES)
def test_bad_distances_are_refused_with_their_own_message(case):
    matrix, message = BAD_DISTANCES[case]
    with pytest.raises(InputError, match=message):
        validate_distances(matrix, 2)


@pytest.mark.parametrize(
    ("num_labels", "message"),
    [(1, "num_labels is 1"), (0, "num_labels is 0"), (2.0, "whole number, got 2.0"), (True, "whole number, got True")],
)
def test_bad_numbers_of_labels_are_refused(num_labels, message):
    with pytest.raises(InputError, match=message):
        ordinal_distances(num_labels)
    with pytest.raises(InputError, match=message):
        validate_distances([[0, 1], [1, 0]], num_labels)


BAD_NAMES = {
    "unknown": (["joy", "hangry", "meh"], "'hangry', 'meh'.*use the names of emotions"),
    "twice": (["joy", "fear", "joy"], "given twice: 'joy'"),
    "twice but for case": (["Joy", "joy"], "given twice: 'joy'"),
    "one": (["joy"], "num_labels is 1"),
    "none": ([], "num_labels is 0"),
    "a text": ("joy", "list of names, got the single text 'joy'"),
    "indices": ([0, 1], "must be texts, got 0"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_bad_names_are_refused_with_their_own_message(case):
    names, message = BAD_NAMES[case]
    with pytest.raises(InputError, match=message):
        plutchik_distances(names)


def test_name_embeddings_give_cosine_distances():
    seen = []

    def embed(names):
        seen.append(names)
        return np.array([[3, 0], [0, 2], [-5, 0], [1, 1]], dtype=np.float32)

    distances = name_embedding_distances(("a", "b", "c", "d"), embed)
    assert seen == [["a", "b", "c", "d"]]
    near = 1 - np.sqrt(0.5)
    expected = [[0, 1, 2, near], [1, 0, 1, near], [2, 1, 0, 2 - near], [near, near, 2 - near, 0]]
    np.testing.assert_allclose(distances, expected, atol=1e-12)
    np.testing.assert_array_equal(np.diag(distances), 0)


@given(arrays(np.float64, (4, 6), elements=st.floats(-1, 1)), st.floats(0.01, 100))
def test_name_embedding_distances_ignore_length(noise, scale):
    vectors = np.eye(4, 6) * 3 + noise
    names = ["a", "b", "c", "d"]
    distances = name_embedding_distances(names, lambda _: vectors)
    assert ((distances >= 0) & (distances <= 2)).all()
    np.testing.assert_allclose(name_embedding_distances(names, lambda _: vectors * scale), distances, atol=1e-9)


BAD_EMBEDDINGS = {
    "too few": ([[1.0, 0.0]], r"one row per name, \[2, d\]; got shape \[1, 2\]"),
    "vector": ([1.0, 2.0, 3.0, 4.0], r"one row per name.*\[4\]"),
    "cube": (np.ones((2, 2, 2)), r"one row per name.*\[2, 2, 2\]"),
    "zero": ([[1.0, 0.0], [0.0, 0.0]], "embedding of 'b' is zero"),
    "no columns": (np.ones((2, 0)), "embedding of 'a', 'b' is zero"),
    "nan": ([[np.nan, 0.0], [0.0, 1.0]], "embedding of 'a' is zero or not finite"),
    "ragged": ([[1.0, 0.0], [0.0]], "must return a .K, d. array of numbers"),
}


@pytest.mark.parametrize("case", BAD_EMBEDDINGS)
def test_bad_embeddings_are_refused_with_their_own_message(case):
    vectors, message = BAD_EMBEDDINGS[case]
    with pytest.raises(InputError, match=message):
        name_embedding_distances(["a", "b"], lambda _: vectors)


def test_distances_for_every_geometry():
    assert GEOMETRIES == ("ordinal", "plutchik", "none")
    np.testing.assert_array_equal(distances_for("ordinal", ["bad", "fair", "good"]), ordinal_distances(3))
    np.testing.assert_array_equal(distances_for("plutchik", ["joy", "fear"]), plutchik_distances(["joy", "fear"]))
    with pytest.raises(InputError, match=r"no known geometry.*give a \[K, K\] matrix"):
        distances_for("none", ["a", "b"])
    with pytest.raises(InputError, match="unknown label geometry 'circle': choose one of ordinal, plutchik, none"):
        distances_for("circle", ["a", "b"])
    with pytest.raises(InputError, match="given twice"):
        distances_for("ordinal", ["a", "a"])


# ---- Ranks by name ----


def test_numbers_are_ranked_as_numbers_not_as_words():
    distances = named_ordinal_distances(["1", "10", "2", "2.5"])
    np.testing.assert_array_equal(distances[0], [0, 3, 1, 2])


def test_labels_are_ranked_in_the_order_that_is_given():
    names, order = ["bad", "fair", "good", "awful"], ["awful", "bad", "fair", "good"]
    np.testing.assert_array_equal(named_ordinal_distances(names, order)[3], [1, 2, 3, 0])


def test_the_alphabet_is_no_order_of_ranks():
    with pytest.raises(InputError, match=r"the ranks of these labels are not known: name them .* with label_order"):
        named_ordinal_distances(["bad", "fair", "good"])


@pytest.mark.parametrize("order", [["bad"], ["bad", "fair", "good", "good"], ["bad", "fair", "best"]])
def test_an_order_of_other_labels(order):
    with pytest.raises(InputError, match="label_order must name each label once: bad, fair, good"):
        named_ordinal_distances(["good", "fair", "bad"], order)
