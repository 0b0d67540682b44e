"""Fingerprints of training sets: the same for the same rows, and the difference named for any other."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_image_dataset, make_text_dataset, make_tokenizer

from lane_hf.fingerprint import difference, fingerprint

LABELS = ["labels", "label"]
ROWS = {
    "text": ["a", "b", "c", "d", "", "né"],
    "input_ids": [[1, 2], [2, 1], [3], [], [1, 2, 0], [0, 1, 2]],
    "score": [0.5, -0.0, float("nan"), 1e300, None, 2.0],
    "flag": [True, False, None, True, False, True],
    "deep": [[[1], [2, 3]], [[1, 2], [3]], [], [[]], [[], []], [[4]]],
    "both": [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}, {"x": 1, "y": "b"}, {"x": 0, "y": ""}, {"x": 5, "y": "a"}, None],
    "label": [0, 1, 2, 0, 1, 2],
}


def table(**changes: Any) -> Dataset:
    return Dataset.from_dict({**ROWS, **changes})


def same(first: Any, second: Any) -> bool:
    return difference(fingerprint(first, LABELS), fingerprint(second, LABELS)) is None


def said(first: Any, second: Any) -> str:
    return difference(fingerprint(first, LABELS), fingerprint(second, LABELS)) or ""


def test_the_same_rows_however_they_are_stored() -> None:
    rows = table()
    assert same(rows, table())
    assert same(rows, rows.select(range(6)))  # the same rows behind a table of indices
    assert same(rows, concatenate_datasets([rows.select(range(2)), rows.select(range(2, 6))]))
    assert same(rows, rows.with_format("torch", columns=["input_ids", "label"]))
    assert same(rows, rows.with_transform(lambda batch: {"x": [random.random() for _ in batch["label"]]}))
    assert same(rows, rows.select_columns(sorted(rows.column_names)))


def test_many_rows_in_several_batches() -> None:
    numbers = range(25_000)
    rows = Dataset.from_dict({"input_ids": [[i, i + 1] for i in numbers], "label": [i % 3 for i in numbers]})
    assert same(rows, rows.select(range(25_000)))
    assert "another order" in said(rows, rows.shuffle(seed=1))
    swapped = rows.select([*range(24_998), 24_999, 24_998])
    assert "another order" in said(rows, swapped)


@pytest.mark.parametrize("column", [name for name in ROWS if name != "label"])
def test_a_change_in_any_kind_of_column_is_seen(column: str) -> None:
    values = list(ROWS[column])
    values[0], values[1] = values[1], values[0]
    assert "other rows than before" in said(table(), table(**{column: values}))


def test_differences_are_named() -> None:
    rows = table()
    assert "had 6 rows, now it has 5: rows were removed or added" in said(rows, rows.select(range(5)))
    assert "in another order: it was shuffled or sorted" in said(rows, rows.select([1, 0, 2, 3, 4, 5]))
    assert "with other labels: it was relabelled" in said(rows, table(label=[0, 1, 2, 0, 1, 1]))
    assert "other rows and other labels" in said(rows, table(label=[1, 1, 1, 1, 1, 1], text=list("uvwxyz")))
    assert "other rows than before" in said(rows, rows.remove_columns("text"))
    for other in (rows.select(range(5)), rows.select([1, 0, 2, 3, 4, 5])):
        assert "Resume with the training set of the first run" in said(rows, other)
        assert "\n" not in said(rows, other)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), max_size=3), st.text(max_size=3)), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
def test_order_matters_to_one_digest_only(rows: list[tuple[list[int], str]], rng: random.Random) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)

    def of(pairs: list[tuple[list[int], str]]) -> Any:
        ids, texts = zip(*pairs, strict=True)
        columns = {"input_ids": [list(each) for each in ids], "text": list(texts), "label": [0] * len(pairs)}
        from datasets import Features, Value

        features = Features({"input_ids": [Value("int64")], "text": Value("string"), "label": Value("int64")})
        return fingerprint(Dataset.from_dict(columns, features=features), LABELS)

    first, second = of(rows), of(shuffled)
    assert first["content_in_any_order"] == second["content_in_any_order"]
    assert (first["content"] == second["content"]) == (rows == shuffled)


def test_missing_values_are_no_zeros() -> None:
    assert not same(table(), table(score=[0.5, -0.0, float("nan"), 1e300, 0.0, 2.0]))
    assert not same(table(), table(flag=[True, False, False, True, False, True]))


def test_labels_of_text_count() -> None:
    names = ["x", "y", "z", "x", "y", "z"]
    assert same(table(label=names), table(label=list(names)))
    assert "relabelled" in said(table(label=names), table(label=["x", "y", "z", "x", "y", "y"]))


def test_other_map_style_data_sets_are_sampled() -> None:
    images = make_image_dataset(40)
    assert same(images, make_image_dataset(40))
    assert "had 40 rows, now it has 41" in said(images, make_image_dataset(41))
    assert "other rows" in said(images, make_image_dataset(40, seed=3))
    relabelled = make_image_dataset(40)
    relabelled.labels[7] = (relabelled.labels[7] + 1) % 4
    assert "relabelled" in said(images, relabelled)
    encoded = make_text_dataset(10, tokenizer=make_tokenizer())
    assert same([encoded[i] for i in range(10)], [encoded[i] for i in range(10)])


class Augmented(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Every visit of a row gives something else."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": torch.rand(2) + random.random() + np.random.rand(), "labels": index % 2}


def test_random_rows_say_nothing_but_their_labels_do() -> None:
    first = fingerprint(Augmented(), LABELS)
    assert first["content"] == ""
    assert first["labels"] != ""
    assert same(Augmented(), Augmented())


def test_taking_a_fingerprint_draws_no_random_number_of_the_training() -> None:
    def draw(fingerprints: int) -> tuple[float, float, float]:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        for _ in range(fingerprints):
            fingerprint(Augmented(), LABELS)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draw(fingerprints=0) == draw(fingerprints=1)


def test_an_empty_set_has_one() -> None:
    empty = Dataset.from_dict({"input_ids": [], "label": []})
    assert fingerprint(empty, LABELS)["rows"] == 0
