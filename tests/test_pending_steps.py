"""Steps that wait: what is taken in together is what would have been taken in one by one, to the last bit."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lane_hf import pending_steps as module
from lane_hf.buffer import AlmBuffer
from lane_hf.learned_labels import LearnedLabels
from lane_hf.pending_steps import PendingSteps
from lane_hf.row_statistics import RowStatistics

ROWS, LABELS = 12, 3

# Few rows, so that some steps have rows in common and others have none; a row may come twice in a step.
entry = st.tuples(
    st.integers(-1, ROWS - 1),
    st.lists(st.sampled_from([0.0, 1.0, -2.5, 0.3, math.nan, math.inf]), min_size=LABELS, max_size=LABELS),
)
steps = st.lists(st.tuples(st.lists(entry, min_size=1, max_size=4), st.booleans()), min_size=1, max_size=12)


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def batch_of(entries: list[tuple[int, list[float]]]) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.tensor([row for row, _ in entries])
    return ids, ids.clamp_min(0) % LABELS, torch.tensor([logits for _, logits in entries])


@settings(max_examples=150)
@given(steps)
def test_statistics_do_not_depend_on_when_they_are_asked_for(events: list[tuple[Any, bool]]) -> None:
    eager, lazy = RowStatistics(ROWS, LABELS), RowStatistics(ROWS, LABELS)
    for entries, asked in events:
        for statistics in (eager, lazy):
            statistics.record(statistics.observe(*batch_of(entries)))
        eager.state_dict()
        if asked:
            lazy.candidates(torch.tensor([0]))  # settles the votes, and nothing else
    assert_same_state(eager.state_dict(), lazy.state_dict())


@settings(max_examples=150)
@given(steps)
def test_averages_do_not_depend_on_when_they_are_asked_for(events: list[tuple[Any, bool]]) -> None:
    eager, lazy = AlmBuffer(ROWS), AlmBuffer(ROWS)
    for entries, asked in events:
        ids, _, logits = batch_of(entries)
        for buffer in (eager, lazy):
            buffer.update(ids, logits[:, 0])
        eager.state_dict()
        if asked:
            lazy.negative_stats()
    assert_same_state(eager.state_dict(), lazy.state_dict())


@settings(max_examples=50)
@given(steps)
def test_counts_of_predictions_do_not_depend_on_when_they_are_asked_for(events: list[tuple[Any, bool]]) -> None:
    eager, lazy, statistics = LearnedLabels(LABELS), LearnedLabels(LABELS), RowStatistics(ROWS, LABELS)
    for number, (entries, asked) in enumerate(events):
        seen = statistics.observe(*batch_of(entries))
        for learned in (eager, lazy):
            learned.count(seen, epoch=number / 5)
        eager.state_dict()
        if asked:
            lazy.predicted()
    assert_same_state(eager.state_dict(), lazy.state_dict())


def handed_over(*batches: list[int]) -> list[list[int]]:
    pending, calls = PendingSteps(), []
    for batch in batches:
        pending.add(torch.tensor(batch))
    pending.settle(lambda ids: calls.append(ids.tolist()))
    return calls


def test_steps_without_a_row_in_common_are_handed_over_together() -> None:
    assert handed_over([3, 1], [2], [0, -1], [-1]) == [[3, 1, 2, 0, -1, -1]]


@pytest.mark.parametrize("batches", [([3, 1], [2], [1, 0]), ([0, 0], [1]), ([1], [1])])
def test_steps_with_a_row_in_common_are_handed_over_one_by_one(batches: tuple[list[int], ...]) -> None:
    assert handed_over(*batches) == list(batches)


def test_nothing_is_handed_over_twice() -> None:
    pending, calls = PendingSteps(), []
    pending.add(torch.tensor([1]))
    pending.settle(calls.append)
    pending.settle(calls.append)
    assert len(calls) == 1
    pending.add(torch.tensor([1]))
    pending.clear()
    pending.settle(calls.append)
    assert len(calls) == 1


def test_it_says_when_it_holds_enough() -> None:
    pending = PendingSteps()
    assert [pending.add(torch.tensor([1])) for _ in range(module._MOST_STEPS)].index(True) == module._MOST_STEPS - 1
    pending.clear()
    assert pending.add(torch.arange(module._MOST_ENTRIES - 1)) is False
    assert pending.add(torch.tensor([1])) is True


def test_an_update_does_not_see_what_becomes_of_its_tensors() -> None:
    buffer, ids, margins = AlmBuffer(4), torch.tensor([1, 2]), torch.tensor([-1.0, 2.0], dtype=torch.float64)
    buffer.update(ids, margins)
    ids.fill_(0)
    margins.fill_(9.0)
    assert buffer.average().tolist() == [0.0, -1.0, 2.0, 0.0]


def test_loading_a_state_forgets_what_waits() -> None:
    statistics, buffer, learned = RowStatistics(ROWS, LABELS), AlmBuffer(ROWS), LearnedLabels(LABELS)
    states = [part.state_dict() for part in (statistics, buffer, learned)]
    seen = statistics.observe(*batch_of([(1, [0.0, 1.0, 2.0])]))
    statistics.record(seen)
    buffer.update(seen.row_ids, seen.margins)
    learned.count(seen, epoch=0.5)
    for part, state in zip((statistics, buffer, learned), states, strict=True):
        part.load_state_dict(state)
        assert_same_state(part.state_dict(), state)
