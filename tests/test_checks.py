"""Every kind of bad training data has a message of its own, and good data passes."""

import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from lane_hf.checks import (
    check_batch_labels,
    check_labels,
    check_map_style,
    check_row_id_column,
    check_sharing,
    check_task,
    warn_of_arguments,
)
from lane_hf.errors import InputError


def message_of(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# ------------------------------------------------------------------------------------------------------------- task
@pytest.mark.parametrize("problem", [None, "single_label_classification"])
def test_single_label_classifiers_pass(problem: str | None) -> None:
    check_task(SimpleNamespace(problem_type=problem), 2)
    check_task(None, 2)


@pytest.mark.parametrize(
    ("problem", "num_labels", "message"),
    [
        ("multi_label_classification", 3, "'multi_label_classification': multi-label classification is not supported"),
        ("regression", 3, "problem_type is 'regression': regression is not supported"),
        (None, 1, "the model has 1 label: at least 2 are needed"),
        (None, 0, "the model has 0 label"),
    ],
)
def test_other_tasks_are_refused(problem: str | None, num_labels: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_task(SimpleNamespace(problem_type=problem), num_labels)
    message_of(error)


# --------------------------------------------------------------------------------------------------------- data set
class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[Any]:
        return iter([{"labels": 0}])


class StreamWithLength(Stream):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return {"labels": 0}


class NoLength(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __getitem__(self, index: int) -> Any:
        return {"labels": 0}


@pytest.mark.parametrize(
    "dataset",
    [
        None,
        [{"labels": 0}],
        datasets.Dataset.from_dict({"labels": [0]}),
        torch.utils.data.Subset([{"labels": 0}] * 3, [1]),  # type: ignore[arg-type]
    ],
)
def test_map_style_data_sets_pass(dataset: Any) -> None:
    check_map_style(dataset)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (datasets.Dataset.from_dict({"labels": [0]}).to_iterable_dataset(), "the training set is iterable"),
        (Stream(), "the training set is iterable"),
        (StreamWithLength(), "the training set is iterable"),
        (iter([{"labels": 0}]), "the training set is iterable"),
        (NoLength(), "the training set has no length"),
        ([], "the training set is empty"),
        (datasets.Dataset.from_dict({"labels": []}), "the training set is empty"),
    ],
)
def test_other_data_sets_are_refused(dataset: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_map_style(dataset)
    message_of(error)


# ----------------------------------------------------------------------------------------------------------- labels
GOOD = [2, 0, 1, 1]
MANY = list(range(7))

# Labels of a model with 3 labels, and what is said about them. Each phrase belongs to one kind of mistake.
BAD_LABELS: dict[str, tuple[Any, str]] = {
    "None": ([0, None, 1, None], "are missing (None): 2 rows (row 1, 3)"),
    "NaN": (np.array([0.0, np.nan, 1.0]), "are missing (NaN): 1 row (row 1)"),
    "ignored": ([0, 1, -100, 2], "has the label -100 (rows without a label): 1 row (row 2); remove"),
    "too high": ([0, 3, 1, 7], "out of range: found [3, 7]: 2 rows (row 1, 3); the model has 3 labels (0 to 2)"),
    "negative": (np.array([0, -1], dtype=np.int8), "out of range: found [-1]: 1 row (row 1); the model has 3 labels"),
    "many rows": ([9] * 8, "out of range: found [9]: 8 rows (row 0, 1, 2, 3, 4, ...); the model"),
    "floats": ([0.0, 1.0], "are floating-point numbers"),
    "soft": (np.array([0.2, 0.8], dtype=np.float16), "are floating-point numbers"),
    "multi-hot": ([[1, 0, 1], [0, 0, 1]], "are lists (shape [2, 3]): multi-label"),
    "tokens": ([[0, 1], [0]], "are lists (of different lengths): multi-label"),
    "arrays": (np.array([np.zeros(2), np.zeros(3)], dtype=object), "are lists (shape [2]): multi-label"),
    "text": (["good", "bad"], "are text: encode them first, for example with dataset.class_encode_column('target')"),
    "text array": (np.array(["good", "bad"]), "are text: encode them first"),
    "text objects": (np.array(["good", "bad"], dtype=object), "are text: encode them first"),
}


def assert_own_words(text: str, phrase: str) -> None:
    assert phrase in text
    assert "'target'" in text
    heads = {each.partition(":")[0] for _, each in BAD_LABELS.values()} - {phrase.partition(":")[0]}
    assert not any(head in text for head in heads)


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_bad_labels_in_a_column(kind: str) -> None:
    labels, phrase = BAD_LABELS[kind]
    with pytest.raises(InputError) as error:
        check_labels(labels, 3, "target")
    assert_own_words(message_of(error), phrase)


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_bad_labels_in_a_batch(kind: str) -> None:
    labels, phrase = BAD_LABELS[kind]
    row_ids = torch.arange(len(labels))
    with pytest.raises(InputError) as error:
        check_batch_labels({"target": labels}, ["target"], 3, row_ids)
    assert_own_words(message_of(error), phrase)


@pytest.mark.parametrize(
    ("labels", "phrase"),
    [
        (torch.tensor([0, 1, -100]), "has the label -100 (rows without a label): 1 row (row 50)"),
        (torch.tensor([0, 5, 1]), "out of range: found [5]: 1 row (row 40)"),
        (torch.tensor([0.0, 1.0, 2.0]), "are floating-point numbers"),
        (torch.tensor([0.0, 1.0, 2.0], dtype=torch.bfloat16), "are floating-point numbers"),
        (torch.zeros(3, 3, dtype=torch.int64), "are lists (shape [3, 3])"),
        (torch.zeros(3, 3, dtype=torch.bfloat16), "are lists (shape [3, 3])"),
        ([0, None, 1], "are missing (None): 1 row (row 40)"),
        ([0.0, float("nan"), 1.0], "are missing (NaN): 1 row (row 40)"),
    ],
)
def test_a_batch_names_rows_of_the_training_set(labels: Any, phrase: str) -> None:
    with pytest.raises(InputError) as error:
        check_batch_labels({"target": labels}, ["target"], 3, torch.tensor([30, 40, 50]))
    assert_own_words(message_of(error), phrase)


@pytest.mark.parametrize("values", [[0, None, 1], ["a", None], [[0], [0, 1]], [[0, 1], [1, 0]], [0.5, 1.0]], ids=str)
def test_bad_columns_as_a_data_set_gives_them(values: list[Any]) -> None:
    column = datasets.Dataset.from_dict({"target": values}).with_format("numpy")["target"][:]
    expected = {0: r"are missing \(NaN\)", "a": r"are missing \(None\)|are text", 0.5: "are floating-point"}
    with pytest.raises(InputError, match="are lists" if isinstance(values[0], list) else expected[values[0]]):
        check_labels(column, 2, "target")


@pytest.mark.parametrize(
    "labels",
    [
        GOOD,
        tuple(GOOD),
        np.array(GOOD, dtype=np.uint8),
        np.array(GOOD, dtype=object),
        torch.tensor(GOOD),
        torch.tensor(GOOD, dtype=torch.int32),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_good_labels_pass(labels: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = check_labels(labels, 3, "target")
    assert checked.dtype == np.int64
    assert checked.tolist() == GOOD
    check_batch_labels({"x": 1, "target": labels}, ["labels", "target"], 3, torch.arange(4))


def test_labels_on_a_device_are_fetched_from_there() -> None:
    class OnDevice(torch.Tensor):
        def numpy(self, **_: Any) -> Any:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")

        def cpu(self, **_: Any) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)

    labels = torch.tensor(GOOD).as_subclass(OnDevice)
    assert check_labels(labels, 3, "target").tolist() == GOOD


def test_labels_without_a_row_give_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"2 of 4 labels have no row in the training set \(label 1, 3\)"):
        check_labels([0, 2, 2], 4, "target")
    with pytest.warns(UserWarning, match=r"9 of 10 labels .* \(label 1, 2, 3, 4, 5, \.\.\.\)"):
        check_labels([0], 10, "target")


def test_labels_are_looked_for_under_their_names_in_order() -> None:
    names = ["labels", "label"]
    check_batch_labels({"label": [9], "labels": [1]}, names, 2, torch.tensor([0]))
    check_batch_labels({"label": [1], "labels": None}, names, 2, torch.tensor([0]))
    with pytest.raises(InputError, match="no labels: expected one of 'labels', 'label', found 'input_ids', 'y'"):
        check_batch_labels({"y": [1], "input_ids": [3]}, names, 2, torch.tensor([0]))


def test_a_column_of_integers_costs_a_few_arrays_of_its_size() -> None:
    labels = np.arange(1_000_000) % 7
    tracemalloc.start()
    check_labels(labels, 7, "target")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * labels.nbytes  # an array of objects would take 5 times as much


def test_a_column_of_long_texts_is_refused_before_it_is_copied() -> None:
    texts = ["x" * 1_000_000, *["y"] * 50]  # as a NumPy array each row would be as long as the longest
    tracemalloc.start()
    with pytest.raises(InputError, match="are text"):
        check_labels(texts, 2, "target")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


# ---------------------------------------------------------------------------------------------------------- row ids
@pytest.mark.parametrize("row_ids", [[5, -3, 10**12], np.array([2, 0], dtype=np.uint16), torch.tensor([4, 2])])
def test_unique_integers_are_row_ids(row_ids: Any) -> None:
    checked = check_row_id_column(row_ids)
    assert checked.dtype == np.int64
    assert checked.tolist() == [int(row_id) for row_id in row_ids]


@pytest.mark.parametrize(
    ("row_ids", "message"),
    [
        ([3, 1, 3, 1, 2], r"must be unique, but 2 ids occur more than once \(for example 1\)"),
        (["a", "b"], "must hold integers, found <U1"),
        ([1.0, 2.0], "must hold integers, found float64"),
        ([1, None], "must hold integers, found object"),
        ([True, False], "must hold integers, found bool"),
        ([[1], [2, 3]], "must hold integers, found object"),
    ],
    ids=str,
)
def test_other_row_ids_are_refused(row_ids: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_row_id_column(row_ids)
    assert "'row_id'" in message_of(error)


@pytest.mark.parametrize(
    ("config", "views", "message"),
    [
        ({"even_batches": False, "dispatch_batches": None}, 1, "even_batches=False gives the processes unequal"),
        ({"even_batches": True, "dispatch_batches": True}, 2, "dispatch_batches=True may tear a row and its views"),
        ({"even_batches": True, "dispatch_batches": True}, 1, None),
        ({"even_batches": True, "dispatch_batches": None}, 2, None),
    ],
)
def test_how_processes_may_share_rows(config: dict[str, Any], views: int, message: str | None) -> None:
    arguments = SimpleNamespace(accelerator_config=SimpleNamespace(**config), dataloader_in_order=True)
    if message is None:
        check_sharing(arguments, views)
        return
    with pytest.raises(InputError, match=message):
        check_sharing(arguments, views)


@pytest.mark.parametrize(("in_order", "workers", "refused"), [(False, 2, True), (False, 0, False), (True, 2, False)])
def test_batches_may_not_overtake_each_other(in_order: bool, workers: int, refused: bool) -> None:
    arguments = SimpleNamespace(
        accelerator_config=SimpleNamespace(even_batches=True, dispatch_batches=None),
        dataloader_in_order=in_order,
        dataloader_num_workers=workers,
    )
    with pytest.raises(InputError, match="dataloader_in_order=False") if refused else nullcontext():
        check_sharing(arguments, 1)


@pytest.mark.parametrize(("started", "together", "warned"), [("2", 1, True), ("2", 2, False), ("1", 1, False)])
def test_processes_that_do_not_find_each_other_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, started: str, together: int, warned: bool
) -> None:
    monkeypatch.setenv("WORLD_SIZE", started)
    args = SimpleNamespace(fp16=False, device=torch.device("cpu"), world_size=together)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_arguments(args)
    expected = ["2 processes were started, but each of them trains by itself: on processors set use_cpu=True"]
    assert [str(each.message).partition(" in the arguments")[0] for each in caught] == (expected if warned else [])
