"""What is recorded of each row, against dictionaries that keep every rule one row at a time."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lane_hf.row_statistics import Observation, RowStatistics

ROWS, LABELS = 5, 4
GIVEN = [0, 1, 2, 3, 0]  # the given label of each row

Entry = tuple[int, list[float]]  # row id and logits


@dataclass
class SlowRow:
    """Everything that one row has shown."""

    margins: list[float] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)
    given_probs: list[float] = field(default_factory=list)
    candidate: int = -1
    votes: np.float32 = field(default_factory=lambda: np.float32(0))
    hits: int = 0


class SlowStatistics:
    """A dictionary of rows; votes in float32, so that ties are the same ties."""

    def __init__(self) -> None:
        self.rows: dict[int, SlowRow] = {}
        self.skipped = 0

    def record(self, batch: list[Entry]) -> None:
        met: set[int] = set()
        for row_id, logits in batch:
            if row_id == -1 or row_id in met:
                continue
            met.add(row_id)
            label = GIVEN[row_id]
            others = [k for k in range(LABELS) if k != label]
            if any(map(math.isnan, logits)) or not math.isfinite(logits[label] - max(logits[k] for k in others)):
                self.skipped += 1
                continue
            runner_up = max(others, key=lambda k: (logits[k], -k))
            probs = torch.tensor(logits).softmax(dim=0).numpy()
            row = self.rows.setdefault(row_id, SlowRow())
            row.margins.append(logits[label] - logits[runner_up])
            row.given_probs.append(float(probs[label]))
            row.correct.append(int(np.argmax(logits)) == label)
            self._vote(row, runner_up, probs)

    def _vote(self, row: SlowRow, runner_up: int, probs: np.ndarray) -> None:
        votes, vote = row.votes, probs[runner_up]
        if row.candidate == runner_up:
            row.votes, row.hits = votes + vote, row.hits + 1
        elif row.candidate >= 0 and votes >= vote:
            row.votes = votes - vote
        else:
            row.candidate, row.votes, row.hits = runner_up, vote - votes, 1


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def feed(statistics: RowStatistics, batch: list[Entry]) -> None:
    ids, logits = torch.tensor([row_id for row_id, _ in batch]), torch.tensor([logits for _, logits in batch])
    labels = torch.tensor(GIVEN)[ids.clamp_min(0)]
    statistics.record(statistics.observe(ids, labels, logits))


def assert_matches(fast: RowStatistics, slow: SlowStatistics) -> None:
    rows = [slow.rows.get(row_id, SlowRow()) for row_id in range(len(fast))]
    candidates = fast.candidates()
    assert fast.visits.tolist() == [len(row.margins) for row in rows]
    assert fast.labels.tolist() == [GIVEN[i] if row.margins else -1 for i, row in enumerate(rows)]
    assert candidates.tolist() == [row.candidate for row in rows]
    shares = [row.hits / max(len(row.margins), 1) for row in rows]
    assert fast.candidate_share().tolist() == pytest.approx(shares, rel=1e-6)
    assert fast.average_margin().tolist() == pytest.approx([mean(row.margins) for row in rows], rel=1e-6, abs=1e-6)
    assert fast.given_confidence().tolist() == pytest.approx([mean(row.given_probs) for row in rows], rel=1e-5)
    spreads = [float(np.std(row.given_probs)) if row.given_probs else 0.0 for row in rows]
    assert fast.given_variability().tolist() == pytest.approx(spreads, rel=1e-3, abs=1e-4)
    assert fast.correctness().tolist() == pytest.approx([mean(row.correct) for row in rows], rel=1e-6)
    assert int(fast.skipped) == slow.skipped


# Few values, so that logits and votes tie; 200 makes probabilities of exactly 0.
logit = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, -3.0, 200.0] * 3 + [math.nan, math.inf, -math.inf])
entry = st.tuples(st.integers(-1, ROWS - 1), st.lists(logit, min_size=LABELS, max_size=LABELS))
batches = st.lists(st.lists(entry, min_size=1, max_size=8), min_size=1, max_size=12)


@settings(max_examples=200)
@given(batches)
def test_equals_the_dictionaries(given_batches: list[list[Entry]]) -> None:
    fast, slow = RowStatistics(ROWS, LABELS), SlowStatistics()
    for batch in given_batches:
        feed(fast, batch)
        slow.record(batch)
    assert_matches(fast, slow)


def test_equals_the_dictionaries_over_a_long_run() -> None:
    generator = torch.Generator().manual_seed(0)
    fast, slow = RowStatistics(ROWS, LABELS), SlowStatistics()
    for _ in range(300):
        ids = torch.randint(-1, ROWS, (6,), generator=generator).tolist()
        batch = list(zip(ids, torch.randn(6, LABELS, generator=generator).mul(3).tolist(), strict=True))
        feed(fast, batch)
        slow.record(batch)
    assert_matches(fast, slow)


def test_an_observation_holds_softmax_and_margin() -> None:
    statistics = RowStatistics(2, 3)
    statistics.record(statistics.observe(torch.tensor([1]), torch.tensor([0]), torch.tensor([[0.0, 1.0, 2.0]])))
    logits = [[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]]
    seen = statistics.observe(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor(logits))
    shares = [[math.exp(z) / sum(map(math.exp, row)) for z in row] for row in logits]
    assert seen.row_ids.tolist() == [0, 1]
    assert seen.labels.tolist() == [1, 0]
    assert seen.margins.tolist() == [-1.5, -1.5]
    assert seen.given_probs.tolist() == pytest.approx([shares[0][1], shares[1][0]], rel=1e-6)
    assert seen.runner_up.tolist() == [0, 1]
    assert seen.runner_up_probs.tolist() == pytest.approx([shares[0][0], shares[1][1]], rel=1e-6)
    assert all(column.shape == (2,) for column in seen)


def test_a_probability_that_is_not_finite_is_skipped_like_a_margin() -> None:
    statistics = RowStatistics(2, 3)
    seen = statistics.observe(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.zeros(2, 3))
    statistics.record(seen._replace(given_probs=torch.tensor([math.nan, 0.5])))
    assert statistics.visits.tolist() == [0, 1]
    assert int(statistics.skipped) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_logits_of_any_floating_type(dtype: torch.dtype) -> None:
    statistics = RowStatistics(1, 2)
    seen = statistics.observe(torch.tensor([0]), torch.tensor([0]), torch.tensor([[0.5, 1.5]], dtype=dtype))
    assert [column.dtype for column in seen] == [
        *(torch.int64, torch.int64, torch.float32, torch.float32),
        *(torch.int64, torch.float32),
    ]
    statistics.record(seen)
    assert statistics.average_margin().tolist() == [-1.0]
    assert statistics.given_confidence().tolist() == pytest.approx([1 / (1 + math.e)], rel=1e-5)


def vote(row_id: int, label: int, weight: float) -> Observation:
    """One entry that says nothing but: the best other label of this row is `label`."""
    return Observation(
        torch.tensor([row_id]),
        torch.tensor([0]),
        torch.tensor([0.0]),
        torch.tensor([0.0]),
        torch.tensor([label]),
        torch.tensor([weight]),
    )


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 64)), min_size=1, max_size=30))
def test_a_label_with_more_than_half_of_the_votes_is_the_candidate(votes: list[tuple[int, int]]) -> None:
    statistics = RowStatistics(1, 5)
    for label, weight in votes:
        statistics.record(vote(0, label, weight / 64))  # exact in float32
    total = {label: sum(weight for each, weight in votes if each == label) for label in range(1, 5)}
    winner = max(total, key=lambda label: total[label])
    if 2 * total[winner] > sum(total.values()):
        assert statistics.candidates().item() == winner
    # Always a label that was voted for.
    assert statistics.candidates().item() in {label for label, _ in votes}


def test_one_confident_step_outweighs_many_doubtful_ones() -> None:
    statistics = RowStatistics(1, 5)
    for label, weight in [(1, 0.125)] * 5 + [(2, 0.875)]:
        statistics.record(vote(0, label, weight))
    assert statistics.candidates().tolist() == [2]


def test_a_row_whose_other_labels_have_probability_zero_still_has_a_candidate() -> None:
    statistics = RowStatistics(1, 3)
    for _ in range(2):
        statistics.record(statistics.observe(torch.tensor([0]), torch.tensor([0]), torch.tensor([[500.0, 1.0, 2.0]])))
    assert statistics.candidates().tolist() == [2]
    assert statistics.candidate_share().tolist() == [1.0]


MOST = torch.iinfo(torch.int16).max


def nearly_full() -> RowStatistics:
    """Return statistics of two rows of label 0 that lack one visit; nearly all or 100 of them went one way."""
    statistics = RowStatistics(2, 3)
    state = statistics.state_dict()
    state["visits"][:] = MOST - 1
    state["correct"][:] = state["candidate_hits"][:] = torch.tensor([MOST - 1, 100])
    state["candidate"][:] = 2
    state["candidate_votes"][:] = 5.0
    statistics.load_state_dict(state)
    return statistics


def visit_both(statistics: RowStatistics) -> None:
    logits = torch.tensor([[3.0, 0.0, 1.0]] * 2)
    statistics.record(statistics.observe(torch.arange(2), torch.zeros(2, dtype=torch.int64), logits))


def test_correct_visits_are_counted_as_long_as_they_fit() -> None:
    statistics = nearly_full()
    for visits in (MOST, MOST + 1):
        visit_both(statistics)
        assert statistics.visits.tolist() == [visits] * 2
        assert statistics.correctness().tolist() == pytest.approx([1.0, 101 / MOST], abs=1e-7)


def test_visits_that_voted_for_the_candidate_are_counted_as_long_as_they_fit() -> None:
    statistics = nearly_full()
    for _ in range(2):
        visit_both(statistics)
        assert statistics.candidates().tolist() == [2, 2]
        assert statistics.candidate_share()[0].item() == 1.0


@pytest.mark.parametrize(("num_labels", "budget"), [(2, 32), (32_767, 32), (32_768, 36), (100_000, 36)])
def test_memory_a_row(num_labels: int, budget: int) -> None:
    num_rows = 1000
    state = RowStatistics(num_rows, num_labels).state_dict()
    per_row = [tensor for tensor in state.values() if tensor.dim() > 0]
    assert all(tensor.shape == (num_rows,) for tensor in per_row)
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in per_row)  # no view of something larger
    assert sum(tensor.nbytes for tensor in per_row) == budget * num_rows


@pytest.mark.parametrize("num_labels", [32_767, 32_768, 60_000])
def test_the_highest_labels_fit(num_labels: int) -> None:
    statistics = RowStatistics(1, num_labels)
    logits = torch.zeros(1, num_labels)
    logits[0, -2] = 1.0
    statistics.record(statistics.observe(torch.tensor([0]), torch.tensor([num_labels - 1]), logits))
    assert statistics.labels.tolist() == [num_labels - 1]
    assert statistics.candidates().tolist() == [num_labels - 2]


@given(batches, batches)
def test_a_restored_state_continues_exactly(before: list[list[Entry]], after: list[list[Entry]]) -> None:
    straight, stopped = RowStatistics(ROWS, LABELS), RowStatistics(ROWS, LABELS)
    for batch in before:
        feed(straight, batch)
        feed(stopped, batch)
    saved = stopped.state_dict()
    resumed = RowStatistics(ROWS, LABELS)
    resumed.load_state_dict(saved)
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
    for batch in after:
        feed(straight, batch)
        feed(resumed, batch)
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, straight.state_dict()[name]), name


def test_the_state_is_a_copy() -> None:
    statistics = RowStatistics(ROWS, LABELS)
    feed(statistics, [(1, [0.0, 1.0, 0.0, 3.0])])
    state = statistics.state_dict()
    other = RowStatistics(ROWS, LABELS)
    other.load_state_dict(state)
    for tensor in state.values():
        tensor.fill_(3)
    for each in (statistics, other):
        assert each.visits.tolist() == [0, 1, 0, 0, 0]
        assert each.average_margin().tolist() == [0.0, -2.0, 0.0, 0.0, 0.0]
        assert int(each.skipped) == 0


def test_the_state_of_something_else_is_refused() -> None:
    state = RowStatistics(2, LABELS).state_dict()
    with pytest.raises(ValueError, match="RowStatistics belongs to another data set"):
        RowStatistics(3, LABELS).load_state_dict(state)
    del state["visits"]
    with pytest.raises(ValueError, match=r"no state of RowStatistics: missing \['visits'\]"):
        RowStatistics(2, LABELS).load_state_dict(state)


@pytest.mark.parametrize("row_id", [-2, ROWS, 10**9])
def test_row_ids_out_of_range(row_id: int) -> None:
    statistics = RowStatistics(ROWS, LABELS)
    with pytest.raises(IndexError, match=f"row id {row_id} is out of range"):
        statistics.observe(torch.tensor([0, row_id]), torch.tensor([0, 0]), torch.zeros(2, LABELS))


def test_one_row() -> None:
    statistics = RowStatistics(1, 2)
    assert len(statistics) == 1
    assert statistics.candidates().tolist() == [-1]
    assert statistics.average_margin().tolist() == [0.0]
    for logits in ([0.0, 1.0], [0.0, 3.0]):
        statistics.record(
            statistics.observe(torch.tensor([0, -1]), torch.tensor([0, 1]), torch.tensor([logits, [9.0, 0.0]]))
        )
    assert statistics.average_margin().tolist() == [-2.0]
    assert statistics.visits.tolist() == [2]


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="num_rows must be at least 1, got 0"):
        RowStatistics(0, LABELS)
