"""How every example learns which row of the training set it is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .checks import check_batch_labels, check_order

ROW_ID = "row_id"
"""Name of the entry of a training batch that holds the row ids, and of a user's own column of row ids."""


class Row(NamedTuple):
    """An example together with its position in the training set and the epoch.

    Not a dictionary with one more key: collators and `RemoveColumnsCollator` of Transformers let it pass untouched,
    and a user's collator never sees a key that it does not know.
    """

    example: Any
    row_id: int
    epoch: int = 0


class RowDataset(Dataset[Row]):
    """A map-style data set whose items know their position.

    Args:
        dataset: any data set with `__len__` and `__getitem__`; `__getitems__` is used where it exists.

    Example:
        >>> RowDataset(["a", "b"])[1]
        Row(example='b', row_id=1, epoch=0)
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        # Shared, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins: augmentations differ from epoch to epoch. The data set is told as well."""
        self._epoch[0] = epoch
        if hasattr(self.dataset, "set_epoch"):  # Trainer and Accelerate see this data set only, which hides it
            self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Row:
        return Row(self.dataset[index], int(index), int(self._epoch))

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        """Fetch a batch in one call: a `datasets.Dataset` reads and decodes it in one go."""
        if hasattr(self.dataset, "__getitems__"):
            examples = self.dataset.__getitems__(list(indices))
        else:
            examples = [self.dataset[index] for index in indices]
        epoch = int(self._epoch)
        return [Row(example, int(index), epoch) for example, index in zip(examples, indices, strict=True)]


class RowCollator:
    """Collate examples with any collator and add their row ids to the batch.

    Labels are checked here, in the loader's worker, where they lie in main memory: no step waits for a device. Bools
    and small integers become int64.

    Args:
        collator: the user's collator; it gets the bare examples.
        label_names: names under which the batch may hold the labels.
        num_labels: number of labels.

    Raises:
        InputError: when a batch has no labels, labels that are no class indices, or rows that are not those that the
            collator was given, in their order.
    """

    def __init__(self, collator: Any, label_names: Sequence[str], num_labels: int) -> None:
        self.collator = collator
        self.label_names = tuple(label_names)
        self.num_labels = num_labels

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        """Return the user's batch with one more entry, `row_id`: `[B]` int64, the same for all views of a row."""
        examples, row_ids = [row.example for row in rows], [row.row_id for row in rows]
        if hasattr(self.collator, "collate_rows"):
            batch = dict(self.collator.collate_rows(examples, row_ids, rows[0].epoch))
            ids = torch.tensor(row_ids).repeat_interleave(1 + self.collator.num_views)
        else:
            batch, ids = dict(self.collator(examples)), torch.tensor(row_ids)
        check_batch_labels(batch, self.label_names, self.num_labels, ids)
        check_order(examples, batch, self.label_names, len(ids))
        return {**with_integer_labels(batch, self.label_names), ROW_ID: ids}


def with_integer_labels(batch: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the batch with labels of bools and small integers as int64, which PyTorch's losses ask for.

    Args:
        batch: a collated batch.
        names: names under which the labels may stand.

    Example:
        >>> with_integer_labels({"labels": torch.tensor([True, False])}, ["labels"])
        {'labels': tensor([1, 0])}
    """
    labels = {name: batch[name] for name in names if isinstance(batch.get(name), Tensor)}
    return {**batch, **{name: own.long() for name, own in labels.items() if not own.is_floating_point()}}
