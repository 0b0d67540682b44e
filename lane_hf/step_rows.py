"""Which rows a training step stands for, when data-parallel samplers repeat rows to fill up the last batch.

All processes must take part in every step, so Accelerate completes the last global batch of an epoch with rows from
its beginning. These fillers would count twice in their averages, pull on the weights twice, and make two processes
learn something else than one. They are taken out again: each process keeps its real rows, and its loss counts in
proportion to their number,

    share = n_process * processes / n_step,      mean over processes of share * loss = mean over the real rows.

A process that has fillers only keeps one of them, so that it can take part in the step, with a share of 0.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .row_data import ROW_ID
from .row_ids import PADDING_ID

_STEP_SIZE = "rows_in_step"
"""Name of the entry of a batch without its fillers: rows of every process before that, real rows of all processes."""


class StepRows(NamedTuple):
    """The rows of one step on one process.

    Attributes:
        ids: `[B]` int64, one entry for each entry of the batch. A process that has only fillers has -1.
        size: entries that every process had before the fillers were taken out.
        total: real entries of all processes together.
        own: real entries of this process.
        processes: number of processes.
    """

    ids: Tensor
    size: int
    total: int
    own: int
    processes: int

    @property
    def share(self) -> float:
        """By how much this process's mean loss counts among those of all processes: 1 in a full step."""
        return self.own * self.processes / self.total

    def pad(self, values: Tensor) -> Tensor:
        """Append zeros to values of this process, until it has as many as every other: for gathering.

        Args:
            values: `[B / f, ...]`, for a whole number f: one value for each entry of the batch, or for each row of a
                batch in which f entries belong to a row.
        """
        missing = self._per_process(values) - len(values)
        return values if missing == 0 else F.pad(values, (0, 0) * (values.dim() - 1) + (0, missing))

    def real(self, gathered: Tensor) -> Tensor:
        """Return what belongs to real rows among values that were padded and gathered, in the order of processes."""
        return gathered[: len(gathered) * self.total // (self.size * self.processes)]  # fillers are the last ones

    def _per_process(self, values: Tensor) -> int:
        return self.size * len(values) // len(self.ids)


def without_fillers(
    batch: Mapping[str, Any], process_index: int, real_rows: int, views_per_row: int
) -> dict[str, Any]:
    """Take the fillers out of the last batch of an epoch.

    Args:
        batch: the batch of one process; tensors with one entry for each row or view are cut.
        process_index: which process this is. Processes have batches of equal size, in the order of their numbers.
        real_rows: how many rows of the step, over all processes, are no fillers.
        views_per_row: how many entries of the batch belong to each row.

    Returns:
        The batch, to be read by [`pop_rows`].

    Example:
        >>> without_fillers({"row_id": torch.tensor([7, 0])}, process_index=1, real_rows=3, views_per_row=1)
        {'row_id': tensor([7]), 'rows_in_step': (2, 3)}
    """
    entries = len(batch[ROW_ID])
    rows = entries // views_per_row
    own = min(max(real_rows - process_index * rows, 0), rows)
    kept = max(own, 1) * views_per_row
    cut = {
        name: value[:kept] if isinstance(value, Tensor) and value.dim() and len(value) == entries else value
        for name, value in batch.items()
    }
    if own == 0:
        cut[ROW_ID] = torch.full_like(cut[ROW_ID], PADDING_ID)
    return {**cut, _STEP_SIZE: (entries, real_rows * views_per_row)}


def pop_rows(batch: dict[str, Any], process_index: int, processes: int) -> StepRows:
    """Take what says which rows they are out of a training batch: models must not see it.

    Args:
        batch: the batch, with an entry `row_id`; it is changed.
        process_index: which process this is.
        processes: number of processes.
    """
    ids = batch.pop(ROW_ID)
    size, total = batch.pop(_STEP_SIZE, (len(ids), len(ids) * processes))
    own = min(max(total - process_index * size, 0), size)
    return StepRows(ids, size, total, own, processes)
