"""RowTable: numbers of each row of the training set, written batch by batch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .buffer import check_state
from .row_ids import PADDING_ID, check_row_ids, first_occurrences


class RowTable:
    """One float32 vector, or number, for each row.

    Args:
        num_rows: number of rows of the training set.
        shape: sizes of the vector; () is one number a row.
        fill: what stands in rows never written, and is read for padding.
        device: where the state lies.

    Example:
        >>> table = RowTable(num_rows=3)
        >>> at = table.slots(torch.tensor([2, -1, 2]))
        >>> table.values[at] = torch.tensor([5.0, 6.0, 7.0])
        >>> table.rows
        tensor([0., 0., 5.])
    """

    def __init__(
        self, num_rows: int, shape: tuple[int, ...] = (), fill: float = 0.0, device: torch.device | str | None = None
    ) -> None:
        self._fill = fill
        # One slot more than rows: entries that do not count are written there, so that nothing has to be selected
        # (which would make the host wait for the device) and nothing races with the entry that counts.
        self.values = torch.full((num_rows + 1, *shape), fill, device=device)

    def __len__(self) -> int:
        return len(self.values) - 1

    @property
    def rows(self) -> Tensor:
        """The rows: `[num_rows, ...]`, in the table's own memory."""
        return self.values[:-1]

    def slots(self, row_ids: Tensor, counted: Tensor | None = None) -> Tensor:
        """Return where in `values` the entries of a batch belong.

        Args:
            row_ids: `[B]` row ids; -1 is padding. Of a row that comes twice only the first entry counts.
            counted: `[B]` bool, optional: entries that are False do not count.

        Returns:
            `[B]` int64 on the table's device: the row, or for entries that do not count a slot that is no row.

        Raises:
            IndexError: a row id is out of range.
        """
        check_row_ids(row_ids, len(self))
        ids = row_ids.to(self.values.device, torch.int64)
        use = (ids != PADDING_ID) & first_occurrences(ids)
        if counted is not None:
            use &= counted.to(ids.device)
        return torch.where(use, ids, len(self))

    def of(self, row_ids: Tensor) -> Tensor:
        """Return the numbers `[B, ...]` of rows; the fill value for padding."""
        ids = row_ids.to(self.values.device, torch.int64)
        is_row = (ids != PADDING_ID).reshape(-1, *[1] * (self.values.dim() - 1))
        return torch.where(is_row, self.values[ids.clamp_min(0)], self._fill)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        return {"rows": self.rows.to("cpu", copy=True)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows.
        """
        check_state(state, {"rows": self.rows}, type(self).__name__)
        self.rows.copy_(state["rows"])
