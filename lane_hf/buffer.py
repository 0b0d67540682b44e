"""AlmBuffer: a running average per training row, with statistics that cost nothing per step."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from .weighting import NegativeStats

PADDING_ID = -1
"""Row id of an entry that only fills up a batch."""

# Binary exponents that have a bin of their own in the statistics. What lies below goes to the lowest bin, where its
# rounding errors are below 1e-18; nothing lies above, as float32 ends there.
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -8, 128
_LARGEST = torch.finfo(torch.float32).max

# Work over all rows goes by chunks, so that its temporary memory, about 1 MiB, does not grow with the number of rows.
_ROWS_AT_ONCE = 2**14


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

    Usable without any trainer. It takes 12 bytes a row, and [`average`] of all rows another 4 for its result. An
    update and the statistics after it cost O(batch): the sums over all negative averages are kept up to date, and
    recomputed from scratch once every `num_rows` entries so that rounding cannot pile up. No method waits for the
    device.

    Args:
        num_rows: number of rows of the training set.
        device: where the state lies; put it where the margins are.

    Attributes:
        count: `[num_rows]` int32, how often each row was seen.
        skipped: how many margins were NaN, or infinite in float32, and therefore left out (int64 tensor without
            dimensions).

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
        self._totals = torch.zeros(3, len(exponents), dtype=torch.float64, device=device)
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
            margins: `[B]` margins; NaN and those that are infinite in float32 are left out and counted in `skipped`.

        Raises:
            IndexError: a row id is out of range.
        """
        check_row_ids(row_ids, len(self))
        ids = row_ids.to(self.device, torch.int64)
        values = margins.detach().to(self.device, torch.float64)
        counted = (ids != PADDING_ID) & first_occurrences(ids)
        finite = values.abs() <= _LARGEST  # False for NaN
        self.skipped += (counted & ~finite).sum()
        counted &= finite
        at = ids.clamp_min(0)
        self._totals -= self._totals_of(self._average(at), counted)
        # Exactly nothing is left where the last average is gone.
        self._totals *= self._totals[0] > 0
        self._sum.index_add_(0, at, torch.where(counted, values, 0.0))
        self.count.index_add_(0, at, counted.int())
        self._totals += self._totals_of(self._average(at), counted)
        self._entries_since_recount += len(ids)
        if self._entries_since_recount >= len(self):
            self._recount()

    @torch.no_grad()
    def merge(self, other: "AlmBuffer") -> None:
        """Take in what another buffer has seen of the same rows, on another machine or in another run.

        Sums and counts add up, so that every average is the one over the margins of both. The other buffer stays as
        it is. Costs O(num_rows). Nothing tells margins that both have seen: merging a buffer with an earlier state of
        itself counts them twice.

        Args:
            other: a buffer of the same number of rows, on any device.

        Raises:
            ValueError: the other buffer has another number of rows.

        Example:
            >>> first, second = AlmBuffer(num_rows=2), AlmBuffer(num_rows=2)
            >>> first.update(torch.tensor([0, 1]), torch.tensor([-1.0, 4.0]))
            >>> second.update(torch.tensor([0]), torch.tensor([-3.0]))
            >>> first.merge(second)
            >>> first.average()
            tensor([-2.,  4.])
        """
        if len(other) != len(self):
            raise ValueError(f"cannot merge buffers of different data sets: {len(self)} and {len(other)} rows")
        for rows in self._chunks():
            self._sum[rows] += other._sum[rows].to(self.device)
            self.count[rows] += other.count[rows].to(self.device)
        self.skipped += other.skipped.to(self.device)
        self._recount()

    def average(self, row_ids: Tensor | None = None) -> Tensor:
        """Return the average margin of the given rows, or of all.

        Args:
            row_ids: `[B]` integers in `0..num_rows-1`, optional; -1 marks padding.

        Returns:
            `[B]` or `[num_rows]` float32; 0 for padding and for a row never seen, so that it is never among the
            negative ones.

        Raises:
            IndexError: a row id is out of range.
        """
        if row_ids is None:
            averages = torch.empty(len(self), dtype=torch.float32, device=self.device)
            for rows in self._chunks():
                averages[rows] = self._average(rows)
            return averages
        check_row_ids(row_ids, len(self))
        ids = row_ids.to(self.device, torch.int64)
        return torch.where(ids == PADDING_ID, 0.0, self._average(ids.clamp_min(0)).float())

    def negative_stats(self) -> NegativeStats:
        """Return mean, variance and count of the averages that are negative (Eq. 5 and 6), over all rows seen."""
        number, distance, squares = self._totals
        count = number.sum()
        filled = number.clamp_min(1)
        means = self._middles + distance / filled
        mean = (number * means).sum() / count  # 0 / 0 is NaN: the documented answer for an empty set
        within = (squares - distance * distance / filled).clamp_min(0)
        variance = (within + number * (means - mean) ** 2).sum() / count
        return NegativeStats(mean, variance, count.round().long())

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory; [`load_state_dict`] continues from it exactly."""
        return {name: tensor.to("cpu", copy=True) for name, tensor in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Args:
            state: the tensors by name.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows.
        """
        own = self._state()
        check_state(state, own, "AlmBuffer")
        for name, tensor in own.items():
            tensor.copy_(state[name])
        self._entries_since_recount = int(own["entries_since_recount"])

    def _state(self) -> dict[str, Tensor]:
        """Return the state by name; the tensors are the buffer's own, except for the number of entries."""
        state = {"sum": self._sum, "count": self.count, "skipped": self.skipped, "totals": self._totals}
        return {**state, "entries_since_recount": torch.tensor(self._entries_since_recount)}

    def _chunks(self) -> Iterator[slice]:
        return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(self), _ROWS_AT_ONCE))

    def _average(self, rows: Tensor | slice) -> Tensor:
        if isinstance(rows, slice):
            sums, counts = self._sum[rows], self.count[rows]
        else:
            # In large buffers every entry is a cache miss, and index_select waits for several of them at a time.
            sums, counts = self._sum.index_select(0, rows), self.count.index_select(0, rows)
        return sums / counts.clamp_min(1)

    def _totals_of(self, averages: Tensor, counted: Tensor) -> Tensor:
        """Return what those of the averages that are counted and negative make up of the totals."""
        negative = counted & (averages < 0)
        exponent = torch.frexp(averages).exponent.long().clamp_(_LOWEST_EXPONENT, _HIGHEST_EXPONENT)
        at = exponent - _LOWEST_EXPONENT
        distance = torch.where(negative, averages - self._middles[at], 0.0)
        totals = torch.zeros_like(self._totals)
        # Vector by vector: each has one order of summation, and a matrix of three columns is slower.
        for total, values in zip(totals, (negative.double(), distance, distance * distance), strict=True):
            total.index_add_(0, at, values)
        return totals

    def _recount(self) -> None:
        self._totals.zero_()
        for rows in self._chunks():
            self._totals += self._totals_of(self._average(rows), self.count[rows] > 0)
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
