"""AlmBuffer: a running average per training row, with statistics that cost nothing per step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .weighting import NegativeStats

PADDING_ID = -1
"""Row id of an entry that only fills up a batch."""

# Binary exponents that have a bin of their own in the statistics; what lies outside goes to the outermost bins.
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -8, 31


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
        low, high = int(row_ids.min()), int(row_ids.max())
        if low < PADDING_ID or high >= num_rows:
            worst = low if low < PADDING_ID else high
            raise IndexError(f"row id {worst} is out of range: the buffer has {num_rows} rows (0 to {num_rows - 1})")


class AlmBuffer:
    """Average of the margins seen for each training row (ALM), and the statistics of the negative ones (Eq. 5 and 6).

    Usable without any trainer. It takes 12 bytes a row. An update and the statistics after it cost O(batch): the sums
    over all negative averages are kept up to date, and recomputed from scratch once every `num_rows` entries so that
    rounding cannot pile up. No method waits for the device.

    Args:
        num_rows: number of rows of the training set.
        device: where the state lies; put it where the margins are.

    Attributes:
        count: `[num_rows]` int32, how often each row was seen.
        skipped: how many margins were NaN or infinite and therefore left out (int64 tensor without dimensions).

    Raises:
        ValueError: `num_rows` is below 1.

    Example:
        >>> buffer = AlmBuffer(num_rows=3)
        >>> buffer.update(torch.tensor([0, 2]), torch.tensor([-1.0, 4.0]))
        >>> buffer.update(torch.tensor([0]), torch.tensor([-3.0]))
        >>> buffer.average()
        tensor([-2.,  0.,  4.])
        >>> buffer.negative_stats().count
        tensor(1)
    """

    def __init__(self, num_rows: int, device: torch.device | str | None = None) -> None:
        if num_rows < 1:
            raise ValueError(f"num_rows must be at least 1, got {num_rows}")
        self._sum = torch.zeros(num_rows, dtype=torch.float64, device=device)
        self.count = torch.zeros(num_rows, dtype=torch.int32, device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        # Over the rows with a negative average, binned by its binary exponent: how many, sum of the distances to the
        # middle of the bin, sum of their squares. So a huge average that comes and goes leaves no rounding error
        # among small ones.
        exponents = torch.arange(_LOWEST_EXPONENT, _HIGHEST_EXPONENT + 1, dtype=torch.float64, device=device)
        self._middles = -0.75 * torch.exp2(exponents)
        self._totals = torch.zeros(len(exponents), 3, dtype=torch.float64, device=device)
        self._entries_since_recount = 0

    def __len__(self) -> int:
        return len(self._sum)

    @property
    def device(self) -> torch.device:
        """Where the state lies."""
        return self._sum.device

    @torch.no_grad()
    def update(self, row_ids: Tensor, margins: Tensor) -> None:
        """Take in the margins of a batch.

        Args:
            row_ids: `[B]` integers in `0..num_rows-1`; -1 marks padding, which is ignored. Of a row that comes twice
                only the first entry counts: data parallel samplers repeat rows to fill up the last batch.
            margins: `[B]` margins; NaN and infinite ones are left out and counted in `skipped`.

        Raises:
            IndexError: a row id is out of range.
        """
        check_row_ids(row_ids, len(self))
        ids = row_ids.to(self.device, torch.int64)
        values = margins.detach().to(self.device, torch.float64)
        counted = (ids != PADDING_ID) & first_occurrences(ids)
        finite = torch.isfinite(values)
        self.skipped += (counted & ~finite).sum()
        counted &= finite
        at = ids.clamp_min(0)
        self._count_in(self._average(at), counted, sign=-1)
        self._sum.index_add_(0, at, torch.where(counted, values, 0.0))
        self.count.index_add_(0, at, counted.int())
        self._count_in(self._average(at), counted, sign=1)
        self._entries_since_recount += len(ids)
        if self._entries_since_recount >= len(self):
            self._recount()

    def average(self, row_ids: Tensor | None = None) -> Tensor:
        """Return the average margin of the given rows, or of all.

        Args:
            row_ids: `[B]` integers in `0..num_rows-1`, optional.

        Returns:
            `[B]` or `[num_rows]` float32; 0 for a row never seen, so that it is never among the negative ones.

        Raises:
            IndexError: a row id is out of range.
        """
        if row_ids is None:
            return self._average(slice(None)).float()
        check_row_ids(row_ids, len(self))
        return self._average(row_ids.to(self.device, torch.int64)).float()

    def negative_stats(self) -> NegativeStats:
        """Return mean, variance and count of the averages that are negative (Eq. 5 and 6), over all rows seen."""
        number, distance, squares = self._totals.unbind(dim=1)
        count = number.sum()
        filled = number.clamp_min(1)
        means = self._middles + distance / filled
        mean = (number * means).sum() / count  # 0 / 0 is NaN: the documented answer for an empty set
        within = (squares - distance * distance / filled).clamp_min(0)
        variance = (within + number * (means - mean) ** 2).sum() / count
        return NegativeStats(mean, variance, count.round().long())

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory; [`load_state_dict`] continues from it exactly."""
        state = {"sum": self._sum, "count": self.count, "skipped": self.skipped, "totals": self._totals}
        state["entries_since_recount"] = torch.tensor(self._entries_since_recount)
        return {name: tensor.to("cpu", copy=True) for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Args:
            state: the tensors by name.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows.
        """
        check_state(state, self.state_dict(), "AlmBuffer")
        self._sum.copy_(state["sum"])
        self.count.copy_(state["count"])
        self.skipped.copy_(state["skipped"])
        self._totals.copy_(state["totals"])
        self._entries_since_recount = int(state["entries_since_recount"])

    def _average(self, index: Tensor | slice) -> Tensor:
        return self._sum[index] / self.count[index].clamp_min(1)

    def _count_in(self, averages: Tensor, counted: Tensor, sign: int) -> None:
        """Add the negative ones of the averages to the totals, or take them out again (sign -1)."""
        negative = counted & (averages < 0)
        exponent = torch.frexp(averages).exponent.long().clamp_(_LOWEST_EXPONENT, _HIGHEST_EXPONENT)
        at = exponent - _LOWEST_EXPONENT
        distance = torch.where(negative, averages - self._middles[at], 0.0)
        entries = torch.stack([negative.double(), distance, distance * distance], dim=1)
        self._totals.index_add_(0, at, entries, alpha=sign)
        # Exactly nothing is left where the last average is gone.
        self._totals *= self._totals[:, :1] > 0

    def _recount(self) -> None:
        self._totals.zero_()
        self._count_in(self._average(slice(None)), self.count > 0, sign=1)
        self._entries_since_recount = 0


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], owner: str) -> None:
    """Raise `ValueError` unless `state` has the keys and sizes of `expected`."""
    if state.keys() != expected.keys():
        missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
        raise ValueError(f"this is no state of {owner}: missing {missing}, unexpected {unexpected}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise ValueError(
                f"the state of {owner} belongs to another data set: {name} has size {list(state[name].shape)}, "
                f"expected {list(tensor.shape)}"
            )
