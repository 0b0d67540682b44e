"""Label noise in a data set: the noise of `inject`, and everything else as it was."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from noises import noise_arguments, skewed_labels

from lane_hf.errors import InputError
from lane_hf.noise import KINDS, inject
from lane_hf.noisy_dataset import inject_into_dataset

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


def test_rows_decide_for_themselves_if_asked(train):
    arguments = {"rate": 0.4, "seed": 2}
    expected = inject(train["label"], "uniform", **arguments, num_labels=3, binomial=True)
    noisy = inject_into_dataset(train, kind="uniform", **arguments, binomial=True)
    assert list(noisy["label"]) == expected.labels.tolist()
    assert expected.is_flipped.sum() != 20  # which is the exact number


def test_nearer_labels_are_preferred_as_much_as_asked(train):
    arguments = {"rate": 0.8, "seed": 2, "distances": np.abs(np.subtract.outer(range(3), range(3))), "gamma": 5.0}
    expected = inject(train["label"], "semantic", **arguments)
    noisy = inject_into_dataset(train, kind="semantic", **arguments)
    assert list(noisy["label"]) == expected.labels.tolist()
    assert list(noisy["label"]) != inject(train["label"], "semantic", **{**arguments, "gamma": 1.0}).labels.tolist()


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
