"""AlmBuffer: a running average per training row, with statistics that cost nothing per step."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from .pending_steps import PendingSteps
from .row_ids import PADDING_ID, check_row_ids, first_occurrences
from .weighting import NegativeStats

# Binary exponents that have a bin of their own in the statistics. What lies below goes to the lowest bin; nothing lies
# above, as float32 ends there.
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -8, 128
_BINS = _HIGHEST_EXPONENT - _LOWEST_EXPONENT + 1
_LARGEST = torch.finfo(torch.float32).max
_MIDDLE = 0.75  # of a bin, in units of its upper end
_BITS_OF_A_SUM = 62  # of int64, without the sign and one to spare
_BITS_OF_A_NUMBER = 52  # of float64

# Work over all rows goes by chunks, so that its temporary memory, about 1 MiB, does not grow with the number of rows.
_ROWS_AT_ONCE = 2**14


class AlmBuffer:
    """Average of the margins seen for each training row (ALM), and the statistics of the negative ones (Eq. 5 and 6).

    Usable without any trainer. It takes 12 bytes a row, and [`average`] of all rows another 4 for its result. An
    update and the statistics after it cost O(batch): the sums over all negative averages are kept up to date, in
    integers, so that rounding cannot pile up and no order of summation matters. Updates wait until somebody asks, or
    until there are 64 of them: then the host waits for the device once, and nowhere else.

    Args:
        num_rows: number of rows of the training set.
        device: where the state lies; put it where the margins are.

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
        self._count = torch.zeros(num_rows, dtype=torch.int32, device=device)
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        # Over the rows with a negative average, binned by its binary exponent: how many, sum of the distances to the
        # middle of the bin in units of its upper end, sum of their squares. So a huge average that comes and goes
        # leaves no trace among small ones. Distances are below 1: so many of their bits leave room for all rows.
        exponents = torch.arange(_LOWEST_EXPONENT, _HIGHEST_EXPONENT + 1, dtype=torch.float64, device=device)
        self._units = torch.exp2(exponents)
        self._totals = torch.zeros(3, _BINS, dtype=torch.int64, device=device)
        self._scale = 2.0 ** min(_BITS_OF_A_NUMBER, _BITS_OF_A_SUM - math.ceil(math.log2(num_rows)))
        self._pending = PendingSteps()

    def __len__(self) -> int:
        return len(self._sum)

    @property
    def device(self) -> torch.device:
        """Where the state lies."""
        return self._sum.device

    @property
    def count(self) -> Tensor:
        """How often each row was seen: `[num_rows]` int32."""
        self._settle()
        return self._count

    @property
    def skipped(self) -> Tensor:
        """How many margins were NaN, or infinite in float32, and left out: an int64 tensor without dimensions."""
        self._settle()
        return self._skipped

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
        # Copies: the caller may use the tensors again before they are taken in.
        ids = row_ids.to(self.device, torch.int64, copy=True)
        # In two steps: a device without float64 would have to change the type before the copy leaves it.
        values = margins.detach().to(self.device).to(torch.float64, copy=True)
        if self._pending.add(ids, values):
            self._settle()

    @torch.no_grad()
    def _settle(self) -> None:
        self._pending.settle(self._take_in)

    def _take_in(self, ids: Tensor, values: Tensor) -> None:
        counted = (ids != PADDING_ID) & first_occurrences(ids)
        finite = values.abs() <= _LARGEST  # False for NaN
        self._skipped += (counted & ~finite).sum()
        counted &= finite
        at = ids.clamp_min(0)
        before = self._average(at)
        self._sum.index_add_(0, at, torch.where(counted, values, 0.0))
        self._count.index_add_(0, at, counted.int())
        after = self._average(at)
        signs = torch.ones_like(at)
        self._add_to_totals(torch.cat([before, after]), counted.repeat(2), torch.cat([-signs, signs]))

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
        self._settle()
        other._settle()
        for rows in self._chunks():
            self._sum[rows] += other._sum[rows].to(self.device)
            self._count[rows] += other._count[rows].to(self.device)
        self._skipped += other._skipped.to(self.device)
        self._totals.zero_()
        for rows in self._chunks():
            counts = self._count[rows]
            self._add_to_totals(self._average(rows), counts > 0, torch.ones_like(counts, dtype=torch.int64))

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
        self._settle()
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
        self._settle()
        number, distance, squares = self._totals.double()
        distance, squares = distance / self._scale, squares / self._scale
        count = number.sum()
        filled = number.clamp_min(1)
        means = self._units * (distance / filled - _MIDDLE)
        mean = (number * means).sum() / count  # 0 / 0 is NaN: the documented answer for an empty set
        within = squares - distance * distance / filled
        # Equal averages have no spread: what is left of their squares is the last bit of each.
        within = torch.where(within > number / self._scale, within, 0.0) * self._units**2
        variance = (within + number * (means - mean) ** 2).sum() / count
        return NegativeStats(mean, variance, count.long())

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory; [`load_state_dict`] continues from it exactly."""
        self._settle()
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
        self._pending.clear()
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _state(self) -> dict[str, Tensor]:
        """Return the state by name; the tensors are the buffer's own."""
        return {"sum": self._sum, "count": self._count, "skipped": self._skipped, "totals": self._totals}

    def _chunks(self) -> Iterator[slice]:
        return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(self), _ROWS_AT_ONCE))

    def _average(self, rows: Tensor | slice) -> Tensor:
        if isinstance(rows, slice):
            sums, counts = self._sum[rows], self._count[rows]
        else:
            # In large buffers every entry is a cache miss, and index_select waits for several of them at a time.
            sums, counts = self._sum.index_select(0, rows), self._count.index_select(0, rows)
        return sums / counts.clamp_min(1)

    def _add_to_totals(self, averages: Tensor, counted: Tensor, signs: Tensor) -> None:
        """Add to the totals, or take from them, those of the averages `[M]` that are counted and negative."""
        exponent = torch.frexp(averages).exponent.long().clamp_(_LOWEST_EXPONENT, _HIGHEST_EXPONENT)
        at = exponent - _LOWEST_EXPONENT
        # Zero for all others, which so change nothing wherever they are added.
        signs = signs * (counted & (averages < 0))
        distance = torch.where(signs != 0, averages / self._units[at] + _MIDDLE, 0.0)
        scaled = torch.stack([distance, distance * distance]) * self._scale
        changes = torch.cat([signs[None], scaled.round_().long() * signs])
        places = at + _BINS * torch.arange(3, device=self.device)[:, None]
        self._totals.view(-1).index_add_(0, places.view(-1), changes.view(-1))


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
