"""AlmBuffer on many rows: no work or memory that grows with them where it should not, and no drift in long runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from references import slow_negative_stats
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lane_hf import buffer as buffer_module
from lane_hf import pending_steps as pending_module
from lane_hf.buffer import AlmBuffer

ROWS = 100_000
AT_ONCE = buffer_module._ROWS_AT_ONCE


class NewTensors(TorchDispatchMode):
    """Notes the bytes of every tensor that an operation returns, unless it lies in the memory of the given ones."""

    def __init__(self, *known: torch.Tensor) -> None:
        super().__init__()
        self._kept = known  # or their memory would be free for others
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.bytes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self._known:
                self.bytes.append(tensor.numel() * tensor.element_size())
        return result


def new_tensors(buffer: AlmBuffer) -> NewTensors:
    return NewTensors(*buffer._state().values())


def filled(rows: int, seed: int, device: str | None = None) -> AlmBuffer:
    """A buffer in which about two thirds of the rows have been seen, some twice."""
    buffer = AlmBuffer(rows, device)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(rows, (rows,), generator=generator)
    for part, margins in zip(ids.split(1000), torch.randn(rows, generator=generator).split(1000), strict=True):
        buffer.update(part, 3 * margins)
    return buffer


# ------------------------------------------------------------------------------------------------- memory and work
def test_a_step_makes_no_tensor_that_grows_with_the_rows() -> None:
    sizes = []
    for rows in (ROWS, 10 * ROWS):
        buffer = AlmBuffer(rows)
        ids, margins = torch.arange(0, 76_800, 300), torch.randn(256)
        with new_tensors(buffer) as seen:
            buffer.update(ids, margins)
            buffer.negative_stats()
            buffer.average(ids)
        sizes.append(seen.bytes)
    assert sizes[0] == sizes[1]
    assert 0 < max(sizes[0]) < 20_000


def test_what_waits_to_be_taken_in_does_not_grow_without_end() -> None:
    buffer = AlmBuffer(ROWS)
    kept = []
    for step in range(400):
        buffer.update(torch.arange(step, step + 256), torch.full((256,), -1.0))
        kept.append(buffer._pending._entries)
    assert 256 < max(kept) <= pending_module._MOST_ENTRIES
    assert kept.count(0) > 2
    buffer.update(torch.arange(ROWS), torch.zeros(ROWS))
    assert buffer._pending._entries == 0


def test_averages_of_all_rows_need_the_memory_of_their_result_and_a_chunk() -> None:
    buffer = filled(ROWS, seed=1)
    with new_tensors(buffer) as seen:
        averages = buffer.average()
    assert {size for size in seen.bytes if size > 8 * AT_ONCE} == {averages.numel() * averages.element_size()}
    # State, result and a chunk: 12 + 4 bytes a row.
    assert averages.element_size() + sum(t.element_size() for t in buffer._state().values() if len(t.shape) == 1) == 16


def test_merging_makes_only_tensors_of_a_chunk() -> None:
    buffer, other = filled(ROWS, seed=1), filled(ROWS, seed=2)
    with NewTensors(*buffer._state().values(), *other._state().values()) as seen:
        buffer.merge(other)
    assert max(seen.bytes) == 3 * 8 * AT_ONCE
    assert AT_ONCE <= ROWS // 4


def test_loading_a_state_copies_it_only_once() -> None:
    state, buffer = filled(ROWS, seed=1).state_dict(), AlmBuffer(ROWS)
    with NewTensors(*buffer._state().values(), *state.values()) as seen:
        buffer.load_state_dict(state)
    assert seen.bytes == []


# -------------------------------------------------------------------------------------------- chunks and edge cases
@pytest.mark.parametrize("at_once", [1, 7, 50, 51, 64])
def test_results_do_not_depend_on_the_size_of_a_chunk(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled(50, seed=3)
    monkeypatch.setattr(buffer_module, "_ROWS_AT_ONCE", at_once)
    parts = filled(50, seed=3)
    assert torch.equal(parts.average(), whole.average())
    assert torch.equal(parts.count, whole.count)
    for got, want in zip(parts.negative_stats(), whole.negative_stats(), strict=True):
        assert got.item() == pytest.approx(want.item(), rel=1e-12)


def test_equal_histories_give_equal_states_to_the_last_bit() -> None:
    first, second = filled(3 * AT_ONCE + 17, seed=4), filled(3 * AT_ONCE + 17, seed=4)
    states = first.state_dict(), second.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    averages = first.average().double()
    assert first.negative_stats().mean.item() == pytest.approx(averages[averages < 0].mean().item(), rel=1e-6)


def test_padding_has_average_zero() -> None:
    buffer = AlmBuffer(3)
    buffer.update(torch.tensor([0, 1, 2]), torch.tensor([-1.0, -2.0, -3.0]))
    assert buffer.average(torch.tensor([-1, 2, -1, 0])).tolist() == [0.0, -3.0, 0.0, -1.0]


@pytest.mark.parametrize("margin", [1e200, -1e200, 3.5e38, -3.5e38])
def test_margins_beyond_float32_are_skipped_so_that_no_later_number_is_infinite(margin: float) -> None:
    buffer = AlmBuffer(2)
    buffer.update(torch.tensor([0, 1]), torch.tensor([margin, -1.0], dtype=torch.float64))
    buffer.update(torch.tensor([0]), torch.tensor([-3.0]))
    assert int(buffer.skipped) == 1
    assert buffer.average().tolist() == [-3.0, -1.0]
    assert [part.item() for part in buffer.negative_stats()] == [-2.0, 1.0, 2]


def test_the_largest_float32_margins_are_counted() -> None:
    buffer, largest = AlmBuffer(10), torch.finfo(torch.float32).max
    for _ in range(3):
        buffer.update(torch.tensor([0, 1]), torch.tensor([-largest, -largest]))
    assert buffer.average()[:2].tolist() == [-largest, -largest]
    assert buffer.negative_stats().mean.item() == pytest.approx(-largest, rel=1e-12)
    buffer.update(torch.tensor([2]), torch.tensor([-1.0]))
    for _ in range(4):
        buffer.update(torch.tensor([0, 1]), torch.tensor([largest, largest]))
    assert [part.item() for part in buffer.negative_stats()] == [-1.0, 0.0, 1]


# --------------------------------------------------------------------------------------------------------- merging
def test_merging_equals_one_buffer_that_saw_both() -> None:
    generator = torch.Generator().manual_seed(5)
    first, second, both = AlmBuffer(100), AlmBuffer(100), AlmBuffer(100)
    for step in range(40):
        ids, margins = torch.randperm(100, generator=generator)[:16], 3 * torch.randn(16, generator=generator) - 1
        margins[step % 16] = [math.nan, 1.0][step % 2]
        (first if step % 3 else second).update(ids, margins)
        both.update(ids, margins)
    untouched = second.state_dict()
    assert first.merge(second) is None
    assert first.average().tolist() == pytest.approx(both.average().tolist(), rel=1e-6, abs=1e-6)
    assert torch.equal(first.count, both.count)
    assert int(first.skipped) == int(both.skipped) == 20
    for got, want in zip(first.negative_stats(), both.negative_stats(), strict=True):
        assert got.item() == pytest.approx(want.item(), rel=1e-9)
    assert all(torch.equal(untouched[name], tensor) for name, tensor in second.state_dict().items())


def test_updates_after_a_merge_keep_the_statistics_right() -> None:
    first, second = filled(500, seed=6), filled(500, seed=7)
    first.merge(second)
    for step in range(20):
        first.update(torch.arange(step, 500, 20), torch.full((25,), -float(step)))
    state = first.state_dict()
    want = slow_negative_stats((state["sum"] / state["count"].clamp_min(1)).tolist())
    got = first.negative_stats()
    assert got.count.item() == want.count > 0
    assert got.mean.item() == pytest.approx(want.mean, rel=1e-12)
    assert got.variance.item() == pytest.approx(want.variance, rel=1e-12)


def test_merging_a_buffer_with_itself_counts_everything_twice() -> None:
    buffer = AlmBuffer(2)
    buffer.update(torch.tensor([0, 1]), torch.tensor([-1.0, math.nan]))
    buffer.merge(buffer)
    assert buffer.average().tolist() == [-1.0, 0.0]
    assert buffer.count.tolist() == [2, 0]
    assert int(buffer.skipped) == 2


@pytest.mark.parametrize(("rows", "other"), [(37, 41), (41, 37), (1, 29)])
def test_merging_another_number_of_rows_names_both_and_changes_nothing(rows: int, other: int) -> None:
    buffer = filled(rows, seed=8)
    before = buffer.state_dict()
    with pytest.raises(ValueError, match=f"{rows} and {other} rows"):
        buffer.merge(filled(other, seed=9))
    assert all(torch.equal(before[name], tensor) for name, tensor in buffer.state_dict().items())


# ----------------------------------------------------------------------------------------------------------- drift
ENTRIES, BATCH, BUSY = 1_000_000, 4000, 8000


@pytest.mark.parametrize(
    ("usual", "huge"),
    [
        pytest.param(3.0, 0.0, id="ordinary margins"),
        pytest.param(3.0, 1e8, id="the largest that Eq. 3 makes of ordinary margins come and go"),
        pytest.param(3.0, 1e30, id="huge margins come and go among ordinary ones"),
        pytest.param(1e10, 1e30, id="huge margins come and go among large ones"),
    ],
)
def test_statistics_do_not_drift_over_a_million_entries(usual: float, huge: float) -> None:
    """More rows than entries, of which few are busy."""
    buffer = AlmBuffer(ENTRIES + 1)
    generator = np.random.default_rng(10)
    sums, counts = np.zeros(BUSY), np.zeros(BUSY, dtype=np.int64)
    come_and_go = 20 if huge else 0
    for step in range(ENTRIES // BATCH):
        ids = generator.permutation(BUSY)[:BATCH]
        margins = generator.normal(-0.1 * usual, usual, BATCH).astype(np.float32)
        if come_and_go:
            # Rows that jump from far below zero to far above it and back; whenever statistics are checked, all of them
            # are above.
            below = step % 50 < 40 and step % 2 == 0
            ids[:come_and_go] = BUSY - 1 - generator.permutation(come_and_go)
            ids[come_and_go:] = generator.permutation(BUSY - come_and_go)[: BATCH - come_and_go]
            target = (-1 if below else 1) * huge * generator.uniform(0.5, 2.0, come_and_go)
            jumping = ids[:come_and_go]
            margins[:come_and_go] = target * (counts[jumping] + 1) - sums[jumping]
        buffer.update(torch.from_numpy(ids), torch.from_numpy(margins))
        sums[ids] += margins.astype(np.float64)
        counts[ids] += 1
        if step % 50 == 49:
            averages = sums / np.maximum(counts, 1)
            negative = averages[averages < 0]
            assert not come_and_go or averages[-come_and_go:].min() > 0
            got = buffer.negative_stats()
            assert got.count.item() == len(negative) > 0
            assert got.mean.item() == pytest.approx(negative.mean(), rel=1e-6)
            assert got.variance.item() == pytest.approx(negative.var(), rel=1e-6)
    assert buffer.average(torch.arange(BUSY)).tolist() == pytest.approx(averages.tolist(), rel=1e-6, abs=1e-6)


def test_the_totals_are_those_of_the_averages_to_the_last_bit_whatever_came_before() -> None:
    buffer, fresh = filled(500, seed=11), AlmBuffer(500)
    for step in range(300):
        buffer.update(torch.arange(step % 7, 500, 7), 1e3 * torch.randn(len(range(step % 7, 500, 7))))
    fresh.merge(buffer)  # counts its totals from the averages
    assert torch.equal(fresh.state_dict()["totals"], buffer.state_dict()["totals"])
    assert fresh.state_dict()["totals"][0].sum() > 100
