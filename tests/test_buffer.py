"""The running averages and their incremental negative statistics against a buffer that recomputes everything."""

from __future__ import annotations

import math
import random

import pytest
import torch
from buffer_checks import Event, assert_averages_match, assert_stats_match, feed, float32_values, random_calls
from hypothesis import given, settings
from hypothesis import strategies as st
from references import SlowBuffer

from lane_hf.buffer import AlmBuffer
from lane_hf.weighting import NegativeStats

MARGINS = st.one_of(
    st.sampled_from([-2.0, -1.0, -0.5, 0.5, 1.0, 3.0, math.nan, math.inf, -math.inf]),
    st.floats(-10, 10, width=32),
)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(st.lists(st.tuples(st.integers(-1, n - 1), MARGINS), min_size=1, max_size=8), max_size=8),
        )
    )
)
def test_any_sequence_of_updates_equals_the_recomputing_buffer(case: tuple[int, list[list[Event]]]) -> None:
    rows, calls = case
    buffer, slow = AlmBuffer(rows), SlowBuffer(rows)
    for call in calls:
        ids, margins = [row for row, _ in call], [value for _, value in call]
        feed(buffer, ids, margins)
        slow.update(ids, margins)
    assert_averages_match(buffer, slow)
    assert int(buffer.skipped) == slow.skipped
    # An average that is zero but for rounding may fall on either side.
    if all(value == 0.0 or abs(value) > 1e-6 for value in slow.averages()):
        assert_stats_match(buffer, slow)


@pytest.mark.parametrize(("seed", "offset"), [(0, 0.0), (1, -5.0), (2, -100.0)])
def test_negative_stats_stay_exact_over_thousands_of_updates(seed: int, offset: float) -> None:
    buffer, slow = AlmBuffer(200), SlowBuffer(200)
    for number, (ids, margins) in enumerate(random_calls(seed, 200, 3000, 16, offset)):
        feed(buffer, ids, margins)
        slow.update(ids, margins)
        if number % 300 == 0:
            assert_stats_match(buffer, slow)
    assert_stats_match(buffer, slow)
    assert_averages_match(buffer, slow)
    assert int(buffer.skipped) == slow.skipped > 0


@pytest.mark.parametrize("calls", [5, 500])
def test_negative_stats_shrink_to_the_empty_set_and_fill_again(calls: int) -> None:
    rows = 40
    buffer, slow = AlmBuffer(rows), SlowBuffer(rows)
    for ids, margins in random_calls(3, rows, calls, 8, -4.0):
        feed(buffer, ids, margins)
        slow.update(ids, margins)
    assert buffer.negative_stats().count.item() == slow.negative_stats().count > 0
    for row in range(rows):
        feed(buffer, [row], [1e5])
        slow.update([row], [1e5])
        assert_stats_match(buffer, slow)
    stats = buffer.negative_stats()
    assert stats.count.item() == 0
    assert math.isnan(stats.mean.item())
    assert math.isnan(stats.variance.item())
    for row in range(0, rows, 3):
        feed(buffer, [row], [-1e6 - row])
        slow.update([row], [-1e6 - row])
        assert_stats_match(buffer, slow)
    assert buffer.negative_stats().count.item() == len(range(0, rows, 3))


def test_negative_stats_forget_a_huge_outlier_that_left_the_set() -> None:
    buffer, slow = AlmBuffer(6), SlowBuffer(6)
    for ids, margins in [([0, 1, 2, 3], [-1e7, -0.25, -0.5, -0.8]), ([0], [4e7]), ([4, 1], [-0.1, -0.3])]:
        feed(buffer, ids, margins)
        slow.update(ids, float32_values(margins))
        assert_stats_match(buffer, slow)
    assert buffer.negative_stats().count.item() == 4


def test_variance_stays_exact_when_the_spread_is_small_beside_the_mean() -> None:
    buffer, slow = AlmBuffer(64), SlowBuffer(64)
    for step in range(400):
        ids = [(row * 7 + 3 * step) % 64 for row in range(8)]
        margins = float32_values([-1000.0 - 1e-3 * ((row * 7 + step) % 11) for row in ids])
        feed(buffer, ids, margins)
        slow.update(ids, margins)
        assert_stats_match(buffer, slow)
    assert 0 < slow.negative_stats().variance < 1e-4


def test_negative_stats_stay_exact_over_margins_of_very_different_sizes() -> None:
    rng = random.Random(29)
    buffer, slow = AlmBuffer(100), SlowBuffer(100)
    for _ in range(1500):
        ids = rng.sample(range(100), 12)
        margins = [rng.gauss(0.0, 3.0) for _ in ids]
        margins = float32_values([value / 10 ** rng.uniform(-6, 0) if value < 0 else value for value in margins])
        feed(buffer, ids, margins)
        slow.update(ids, margins)
        assert_stats_match(buffer, slow)


@st.composite
def reordered_events(draw: st.DrawFn) -> tuple[int, list[list[Event]], list[list[Event]]]:
    """The same events twice, permuted and cut into calls without duplicates in two ways."""
    rows = draw(st.integers(1, 5))
    events = draw(st.lists(st.tuples(st.integers(0, rows - 1), st.floats(-10, 10, width=32)), min_size=1, max_size=30))

    def cut(sequence: list[Event]) -> list[list[Event]]:
        calls: list[list[Event]] = [[]]
        for event in sequence:
            if event[0] in [row for row, _ in calls[-1]] or draw(st.booleans()):
                calls.append([])
            calls[-1].append(event)
        return [call for call in calls if call]

    return rows, cut(events), cut(draw(st.permutations(events)))


@settings(deadline=None, max_examples=100)
@given(reordered_events())
def test_order_and_splitting_of_the_events_do_not_matter(
    case: tuple[int, list[list[Event]], list[list[Event]]],
) -> None:
    rows, *orders = case
    buffers = AlmBuffer(rows), AlmBuffer(rows)
    for buffer, calls in zip(buffers, orders, strict=True):
        for call in calls:
            feed(buffer, [row for row, _ in call], [value for _, value in call])
    assert buffers[0].average().tolist() == pytest.approx(buffers[1].average().tolist(), rel=1e-6, abs=1e-6)
    assert torch.equal(buffers[0].count, buffers[1].count)


def test_average_after_many_visits_does_not_depend_on_their_order() -> None:
    rng = random.Random(5)
    margins = float32_values([rng.gauss(-2.0, 5.0) for _ in range(2000)])
    averages = []
    for order in (margins, margins[::-1], sorted(margins)):
        buffer = AlmBuffer(1)
        for value in order:
            feed(buffer, [0], [value])
        averages.append(buffer.average().item())
    want = math.fsum(margins) / len(margins)
    assert averages == pytest.approx([want] * 3, rel=1e-6, abs=1e-6)


def test_a_fresh_buffer_is_empty() -> None:
    buffer = AlmBuffer(3)
    assert len(buffer) == 3
    assert buffer.average().tolist() == [0.0, 0.0, 0.0]
    assert buffer.average().dtype == torch.float32
    assert buffer.count.tolist() == [0, 0, 0]
    assert not buffer.count.is_floating_point()
    assert int(buffer.skipped) == 0
    stats = buffer.negative_stats()
    assert isinstance(stats, NegativeStats)
    assert [part.dtype for part in stats] == [torch.float64, torch.float64, torch.int64]
    assert [part.dim() for part in stats] == [0, 0, 0]
    assert math.isnan(stats.mean.item())
    assert math.isnan(stats.variance.item())
    assert stats.count.item() == 0


def test_update_returns_nothing_and_averages_the_visits() -> None:
    buffer = AlmBuffer(4)
    assert buffer.update(torch.tensor([2, 0]), torch.tensor([-1.0, 4.0])) is None
    feed(buffer, [2], [-4.0])
    assert buffer.average().tolist() == [4.0, 0.0, -2.5, 0.0]
    assert buffer.count.tolist() == [1, 0, 2, 0]
    assert [part.item() for part in buffer.negative_stats()] == [-2.5, 0.0, 1]


def test_average_of_chosen_rows_follows_their_order() -> None:
    buffer = AlmBuffer(4)
    feed(buffer, [0, 1, 3], [1.0, -2.0, 3.0])
    got = buffer.average(torch.tensor([3, 2, 1, 3]))
    assert got.tolist() == [3.0, 0.0, -2.0, 3.0]
    assert got.dtype == torch.float32


def test_an_average_of_exactly_zero_is_not_negative() -> None:
    buffer = AlmBuffer(2)
    feed(buffer, [0, 1], [-1.5, -1.0])
    feed(buffer, [0], [1.5])
    assert [part.item() for part in buffer.negative_stats()] == [-1.0, 0.0, 1]


def test_the_first_occurrence_of_a_row_in_a_call_counts() -> None:
    buffer = AlmBuffer(3)
    feed(buffer, [1, 2, 1, 1, 2], [-3.0, 5.0, 100.0, -100.0, 7.0])
    assert buffer.average().tolist() == [0.0, -3.0, 5.0]
    assert buffer.count.tolist() == [0, 1, 1]
    assert int(buffer.skipped) == 0


def test_padding_is_ignored() -> None:
    buffer = AlmBuffer(2)
    feed(buffer, [-1, 1, -1, 0], [-50.0, 2.0, math.nan, -1.0])
    assert buffer.average().tolist() == [-1.0, 2.0]
    assert buffer.count.tolist() == [1, 1]
    assert int(buffer.skipped) == 0
    feed(buffer, [-1, -1], [-50.0, math.inf])
    assert buffer.count.tolist() == [1, 1]
    assert int(buffer.skipped) == 0
    assert buffer.negative_stats().count.item() == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_margins_are_skipped_and_counted(bad: float) -> None:
    buffer = AlmBuffer(3)
    feed(buffer, [0, 1, 2], [bad, -1.0, bad])
    assert buffer.average().tolist() == [0.0, -1.0, 0.0]
    assert buffer.count.tolist() == [0, 1, 0]
    assert int(buffer.skipped) == 2
    feed(buffer, [1], [bad])
    assert int(buffer.skipped) == 3
    assert [part.item() for part in buffer.negative_stats()] == [-1.0, 0.0, 1]


def test_a_non_finite_duplicate_is_not_counted_as_skipped() -> None:
    buffer = AlmBuffer(2)
    feed(buffer, [1, 1], [-2.0, math.nan])
    assert buffer.average().tolist() == [0.0, -2.0]
    assert int(buffer.skipped) == 0


def test_a_non_finite_first_occurrence_is_skipped_and_its_duplicates_do_not_replace_it() -> None:
    buffer = AlmBuffer(2)
    feed(buffer, [1, 1, 1], [math.nan, -2.0, math.inf])
    assert buffer.count.tolist() == [0, 0]
    assert int(buffer.skipped) == 1


@pytest.mark.parametrize("row", [3, 4, 10**12, -2, -3])
def test_row_ids_outside_the_buffer_raise_index_error(row: int) -> None:
    with pytest.raises(IndexError):
        feed(AlmBuffer(3), [0, row], [1.0, 1.0])


@pytest.mark.parametrize("rows", [0, -1])
def test_a_buffer_needs_at_least_one_row(rows: int) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        AlmBuffer(rows)


def test_device_may_be_given() -> None:
    buffer = AlmBuffer(2, device=torch.device("cpu"))
    feed(buffer, [1], [-1.0])
    assert buffer.average().device.type == "cpu"


def test_margins_with_a_gradient_are_recorded_without_it() -> None:
    buffer = AlmBuffer(2)
    margins = torch.tensor([-1.0, 2.0], requires_grad=True)
    buffer.update(torch.tensor([0, 1]), margins)
    buffer.update(torch.tensor([0, 1]), margins)
    assert buffer.average().tolist() == [-1.0, 2.0]
    assert not buffer.average().requires_grad
    assert not any(part.requires_grad for part in buffer.negative_stats())
    assert not any(part.requires_grad for part in buffer.state_dict().values())


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float16, -60000.0), (torch.bfloat16, -257.0), (torch.float64, -0.1)]
)
def test_margins_of_other_precisions_are_averaged_without_overflow_or_loss(dtype: torch.dtype, value: float) -> None:
    buffer = AlmBuffer(1)
    margins = torch.tensor([value], dtype=dtype)
    for _ in range(7):
        buffer.update(torch.tensor([0]), margins)
    assert buffer.average().item() == pytest.approx(margins.item(), rel=1e-6)


def test_update_leaves_its_inputs_unchanged() -> None:
    row_ids, margins = torch.tensor([1, -1, 1, 0]), torch.tensor([2.0, 3.0, 4.0, -math.inf])
    AlmBuffer(2).update(row_ids, margins)
    assert row_ids.tolist() == [1, -1, 1, 0]
    assert margins.tolist() == [2.0, 3.0, 4.0, -math.inf]


def test_results_do_not_change_with_later_updates() -> None:
    buffer = AlmBuffer(2)
    feed(buffer, [0], [-1.0])
    stats, averages = buffer.negative_stats(), buffer.average()
    feed(buffer, [0, 1], [-5.0, -7.0])
    assert [part.item() for part in stats] == [-1.0, 0.0, 1]
    assert averages.tolist() == [-1.0, 0.0]
