"""AlmBuffer saved and restored: nothing is lost, nothing is shared, and what does not fit is refused."""

from __future__ import annotations

import io

import pytest
import torch
from buffer_checks import assert_same_state, assert_stats_match, feed, random_calls
from references import SlowBuffer, slow_negative_stats

from lane_hf.buffer import AlmBuffer


@pytest.mark.parametrize("stop", [0, 1, 150, 2400])
def test_continuing_after_a_round_trip_equals_never_having_stopped(stop: int) -> None:
    calls = random_calls(7, 64, 2500, 16, -1.0)
    straight = AlmBuffer(64)
    for ids, margins in calls:
        feed(straight, ids, margins)
    before, after = AlmBuffer(64), AlmBuffer(64)
    for ids, margins in calls[:stop]:
        feed(before, ids, margins)
    after.load_state_dict(before.state_dict())
    assert_same_state(before, after)
    for ids, margins in calls[stop:]:
        feed(after, ids, margins)
    assert_same_state(straight, after)


def test_loading_replaces_everything_that_was_recorded_before() -> None:
    source, target = AlmBuffer(8), AlmBuffer(8)
    for ids, margins in random_calls(11, 8, 20, 4):
        feed(source, ids, margins)
    for ids, margins in random_calls(12, 8, 30, 4, -3.0):
        feed(target, ids, margins)
    target.load_state_dict(source.state_dict())
    assert_same_state(source, target)
    target.load_state_dict(AlmBuffer(8).state_dict())
    assert_same_state(AlmBuffer(8), target)


def test_state_survives_saving_to_disk_as_plain_tensors() -> None:
    buffer, other = AlmBuffer(8), AlmBuffer(8)
    for ids, margins in random_calls(13, 8, 20, 4):
        feed(buffer, ids, margins)
    state = buffer.state_dict()
    assert all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items())
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_same_state(buffer, other)


def test_state_tensors_do_not_share_memory_with_the_buffer_that_gave_them() -> None:
    buffer, twin = AlmBuffer(8), AlmBuffer(8)
    first, second, third = random_calls(17, 8, 3, 6, -1.0)
    for each in (buffer, twin):
        feed(each, *first)
        feed(each, *second)
    state = buffer.state_dict()
    kept = {key: value.clone() for key, value in state.items()}
    feed(buffer, *third)
    assert all(torch.equal(state[key].nan_to_num(), kept[key].nan_to_num()) for key in kept)
    for value in state.values():
        value.fill_(1)
    feed(twin, *third)
    assert_same_state(buffer, twin)


def test_state_tensors_do_not_share_memory_with_the_buffer_that_loaded_them() -> None:
    source, target = AlmBuffer(8), AlmBuffer(8)
    first, second, third = random_calls(19, 8, 3, 6, -1.0)
    feed(source, *first)
    feed(source, *second)
    state = source.state_dict()
    kept = {key: value.clone() for key, value in state.items()}
    target.load_state_dict(state)
    feed(target, *third)
    assert all(torch.equal(state[key].nan_to_num(), kept[key].nan_to_num()) for key in kept)
    for value in state.values():
        value.fill_(1)
    feed(source, *third)
    assert_same_state(source, target)


@pytest.mark.parametrize(("rows", "other"), [(37, 41), (41, 37), (1, 29)])
def test_loading_another_number_of_rows_names_both_sizes(rows: int, other: int) -> None:
    with pytest.raises(ValueError, match=r"\d") as caught:
        AlmBuffer(rows).load_state_dict(AlmBuffer(other).state_dict())
    assert str(rows) in str(caught.value)
    assert str(other) in str(caught.value)


def test_loading_a_state_with_any_key_missing_raises() -> None:
    state = AlmBuffer(3).state_dict()
    assert state
    for key in state:
        partial = {name: value for name, value in state.items() if name != key}
        with pytest.raises(ValueError, match=key):
            AlmBuffer(3).load_state_dict(partial)


def test_loading_a_state_with_an_unexpected_key_raises() -> None:
    state = {**AlmBuffer(3).state_dict(), "surplus": torch.zeros(3)}
    with pytest.raises(ValueError, match="surplus"):
        AlmBuffer(3).load_state_dict(state)


def test_state_takes_at_most_sixteen_bytes_a_row() -> None:
    rows = 10_000
    buffer = AlmBuffer(rows)
    feed(buffer, list(range(rows)), [-1.0] * rows)
    state = buffer.state_dict()
    per_row = sum(value.element_size() * value.numel() for value in state.values() if value.numel() >= rows)
    assert 0 < per_row <= 16 * rows
    rest = sum(value.element_size() * value.numel() for value in state.values() if value.numel() < rows)
    assert rest <= 4096


def test_statistics_of_a_restored_buffer_equal_those_recomputed_from_the_history() -> None:
    buffer, slow = AlmBuffer(32), SlowBuffer(32)
    for number, (ids, margins) in enumerate(random_calls(23, 32, 400, 8, -1.0)):
        feed(buffer, ids, margins)
        slow.update(ids, margins)
        if number % 50 == 0:
            restored = AlmBuffer(32)
            restored.load_state_dict(buffer.state_dict())
            buffer = restored
    assert_stats_match(buffer, slow)
    assert slow.negative_stats() == slow_negative_stats([value for value in slow.averages() if value < 0])
