"""Row ids of a batch: which row of the training set each entry is."""

import torch
from torch import Tensor

PADDING_ID = -1
"""Row id of an entry that only fills up a batch."""


def has_repeats(row_ids: Tensor) -> bool:
    """Return whether a row, other than padding, comes twice. On an accelerator the host waits for the answer.

    Args:
        row_ids: `[B]` integers.

    Example:
        >>> has_repeats(torch.tensor([2, -1, 0, -1])), has_repeats(torch.tensor([2, -1, 2]))
        (False, True)
    """
    ordered = row_ids.sort().values
    return bool(((ordered[1:] == ordered[:-1]) & (ordered[1:] != PADDING_ID)).any())


def first_occurrences(row_ids: Tensor) -> Tensor:
    """Mark the entries whose row id has not come earlier in the batch.

    Args:
        row_ids: `[B]` integers.

    Returns:
        `[B]` bool, without waiting for the device (`torch.unique` would).

    Example:
        >>> first_occurrences(torch.tensor([4, 2, 4]))
        tensor([ True,  True, False])
    """
    ordered, order = torch.sort(row_ids, stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return torch.empty_like(is_first).scatter_(0, order, is_first)


def check_row_ids(row_ids: Tensor, num_rows: int) -> None:
    """Raise `IndexError` for a row id outside `-1..num_rows-1`.

    Only for ids that lie in main memory: looking at ids on an accelerator would make the host wait for it at every
    step, and indexing reports them there anyway.
    """
    if row_ids.device.type == "cpu" and len(row_ids):
        low, high = (int(end) for end in row_ids.aminmax())
        if low < PADDING_ID or high >= num_rows:
            worst = low if low < PADDING_ID else high
            raise IndexError(f"row id {worst} is out of range: the buffer has {num_rows} rows (0 to {num_rows - 1})")
