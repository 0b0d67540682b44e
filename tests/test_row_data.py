"""Row ids: every example keeps its own, through fetching, workers, shuffling and any collator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny import make_text_dataset
from torch.utils.data import DataLoader, Subset
from training import dataset_for, make_trainer
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast, default_data_collator

from lane_hf import RowTrainer
from lane_hf.errors import InputError
from lane_hf.row_data import ROW_ID, Row, RowCollator, RowDataset

NAMES = ("labels", "label")


class ListRows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A map-style data set without `__getitems__`."""

    def __init__(self, num_rows: int) -> None:
        self.labels = [row % 3 for row in range(num_rows)]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": 10 * index, "labels": self.labels[index]}


class BatchedRows(ListRows):
    """A map-style data set that fetches whole batches, and only those."""

    def __init__(self, num_rows: int) -> None:
        super().__init__(num_rows)
        self.fetched: list[list[int]] = []

    def __getitem__(self, index: int) -> dict[str, Any]:
        raise AssertionError("rows must be fetched in one call")

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        self.fetched.append(indices)
        return [ListRows.__getitem__(self, index) for index in indices]


def test_items_know_their_position() -> None:
    rows = RowDataset(ListRows(5))
    assert len(rows) == 5
    assert rows[3] == Row({"x": 30, "labels": 0}, 3)
    assert rows.__getitems__([4, 0, 4]) == [rows[4], rows[0], rows[4]]
    assert type(rows[torch.tensor(2)].row_id) is int


def test_a_batch_is_fetched_in_one_call() -> None:
    batched = BatchedRows(6)
    loader = DataLoader(RowDataset(batched), batch_size=4, collate_fn=lambda rows: [row.row_id for row in rows])
    assert list(loader) == [[0, 1, 2, 3], [4, 5]]
    assert batched.fetched == [[0, 1, 2, 3], [4, 5]]


def test_a_batch_that_is_too_short_does_not_shift_the_ids() -> None:
    class Lossy(BatchedRows):
        def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
            return super().__getitems__(indices)[1:]

    with pytest.raises(ValueError, match="longer than argument 1"):
        RowDataset(Lossy(6)).__getitems__([0, 1])


@pytest.mark.parametrize("kind", ["datasets", "transformed", "subset", "list"])
def test_positions_in_the_data_set_that_was_given(kind: str) -> None:
    examples = [{"x": 10 * row, "labels": row % 3} for row in range(6)]
    kept = [5, 1, 3]
    dataset: Any = {
        "datasets": Dataset.from_list(examples).select(kept),
        "transformed": Dataset.from_list(examples).select(kept).with_transform(lambda batch: batch),
        "subset": Subset(ListRows(6), kept),
        "list": [examples[row] for row in kept],
    }[kind]
    rows = RowDataset(dataset)
    assert rows.__getitems__([2, 0]) == [Row(examples[3], 2), Row(examples[5], 0)]
    assert rows[1] == Row(examples[1], 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_ids_stay_with_their_examples_through_shuffling_and_workers(workers: int) -> None:
    loader = DataLoader(
        RowDataset(ListRows(23)),
        batch_size=4,
        shuffle=True,
        num_workers=workers,
        collate_fn=RowCollator(default_data_collator, NAMES, 3),
    )
    met = []
    for batch in loader:
        assert batch[ROW_ID].dtype == torch.int64
        assert batch[ROW_ID].shape == batch["labels"].shape
        assert torch.equal(batch["x"], 10 * batch[ROW_ID])
        assert torch.equal(batch["labels"], batch[ROW_ID] % 3)
        met += batch[ROW_ID].tolist()
    assert met != sorted(met)
    assert sorted(met) == list(range(23))


def test_a_bad_label_in_a_worker_is_an_input_error_here() -> None:
    dataset = ListRows(8)
    dataset.labels[6] = 9
    loader = DataLoader(
        RowDataset(dataset), batch_size=4, num_workers=1, collate_fn=RowCollator(default_data_collator, NAMES, 3)
    )
    batches = iter(loader)
    assert next(batches)[ROW_ID].tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"out of range: found \[9\].*row 6"):
        next(batches)
    next(batches, None)  # the worker ends with the loop; left to the garbage collector it would take 5 seconds


def test_the_users_collator_gets_the_bare_examples() -> None:
    examples = [{"labels": 1}, {"labels": 0}]
    given: list[Any] = []

    def collate(batch: Sequence[Any]) -> dict[str, Any]:
        given.extend(batch)
        return {"labels": torch.tensor([example["labels"] for example in batch]), ROW_ID: "the user's own"}

    batch = RowCollator(collate, NAMES, 2)([Row(examples[0], 7), Row(examples[1], 2)])
    assert all(mine is theirs for mine, theirs in zip(given, examples, strict=True))
    assert batch["labels"].tolist() == [1, 0]
    assert batch[ROW_ID].tolist() == [7, 2]


def test_padding_and_tensors_are_the_collators_business(tokenizer: PreTrainedTokenizerFast) -> None:
    dataset = make_text_dataset(num_rows=6, tokenizer=tokenizer)
    collator = DataCollatorWithPadding(tokenizer)
    rows = RowDataset(dataset).__getitems__([4, 1, 5])
    batch = RowCollator(collator, NAMES, 4)(rows)
    alone = collator([dataset[4], dataset[1], dataset[5]])
    assert type(batch) is dict
    assert batch.keys() == {*alone.keys(), ROW_ID}
    for name, tensor in alone.items():
        assert torch.equal(batch[name], tensor)


class Views:
    """A collator that wants to know its rows, and makes two views of each."""

    num_views = 2

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], int]] = []

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        raise AssertionError("collate_rows knows more")

    def collate_rows(self, examples: Sequence[Any], row_ids: Sequence[int], epoch: int) -> dict[str, Any]:
        self.seen.append((list(row_ids), epoch))
        return {"labels": torch.tensor([example["labels"] for example in examples]).repeat_interleave(3)}


def test_views_have_the_ids_of_their_rows() -> None:
    views, rows = Views(), RowDataset(ListRows(6))
    rows.set_epoch(4)
    batch = RowCollator(views, NAMES, 3)(rows.__getitems__([5, 2]))
    assert views.seen == [([5, 2], 4)]
    assert batch[ROW_ID].tolist() == [5, 5, 5, 2, 2, 2]
    assert batch["labels"].tolist() == [2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_epoch_reaches_workers_that_live_on(workers: int) -> None:
    rows = RowDataset(ListRows(8))
    loader = DataLoader(
        rows, batch_size=4, num_workers=workers, persistent_workers=workers > 0, collate_fn=lambda batch: batch
    )
    for epoch in range(3):
        rows.set_epoch(epoch)
        assert {row.epoch for batch in loader for row in batch} == {epoch}
    assert rows[3].epoch == 2


def test_a_data_set_that_wants_to_know_the_epoch_is_told(tmp_path: Path) -> None:
    class Epochs(ListRows):
        epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __getitem__(self, index: int) -> dict[str, Any]:
            met.append(self.epoch)
            return {**examples[index], "labels": self.labels[index]}

    met: list[int] = []
    texts = dataset_for("bert", num_rows=16)
    examples = [{name: texts[row][name] for name in ("input_ids", "attention_mask")} for row in range(16)]
    make_trainer(tmp_path, kind=RowTrainer, train_dataset=Epochs(16), num_train_epochs=3).train()
    assert met == [epoch for epoch in range(3) for _ in range(16)]


def test_a_batch_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match="no labels: expected one of 'labels', 'label', found 'x'"):
        RowCollator(default_data_collator, NAMES, 3)([Row({"x": 1}, 0)])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32])
def test_labels_of_small_types_become_int64(dtype: torch.dtype) -> None:
    def collate(examples: Sequence[Any]) -> dict[str, Any]:
        return {"label": torch.tensor(examples).to(dtype), "labels": None, "mask": torch.tensor(examples) > 0}

    batch = RowCollator(collate, NAMES, 2)([Row(1, 0), Row(0, 1)])
    assert (batch["label"].dtype, batch["label"].tolist()) == (torch.int64, [1, 0])
    assert batch["mask"].dtype == torch.bool


@pytest.mark.parametrize("kind", [int, torch.tensor, np.int64])
def test_a_collator_that_moves_rows_is_refused(kind: Any) -> None:
    def backwards(examples: list[dict[str, Any]]) -> Any:
        return default_data_collator(examples[::-1])

    rows = [Row({"x": number, "label": kind(label)}, number) for number, label in enumerate([0, 0, 1, 2])]
    with pytest.raises(InputError, match="returns the rows of a batch in another order"):
        RowCollator(backwards, NAMES, 3)(rows)


@pytest.mark.parametrize("kept", [slice(1, None), [0, 0, 1, 2]])
def test_a_collator_that_leaves_out_or_repeats_rows_is_refused(kept: Any) -> None:
    def other(examples: list[dict[str, Any]]) -> Any:
        return default_data_collator(examples[kept] if isinstance(kept, slice) else [examples[at] for at in kept])

    rows = [Row({"x": number, "label": number}, number) for number in range(3)]
    with pytest.raises(InputError, match=r"a batch of \d entries where 3 were expected"):
        RowCollator(other, NAMES, 3)(rows)


def test_a_collator_may_number_labels_anew() -> None:
    def other_way_round(examples: list[dict[str, Any]]) -> Any:
        return default_data_collator([{**example, "label": 1 - example["label"]} for example in examples])

    batch = RowCollator(other_way_round, NAMES, 2)([Row({"label": label}, label) for label in (0, 1)])
    assert batch["labels"].tolist() == [1, 0]
