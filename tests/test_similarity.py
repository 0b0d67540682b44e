"""The running average of auxiliary probabilities per label, against a loop over rows."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.similarity import ClassSimilarity

LABELS = 3
MOMENTUM = 0.9

Row = tuple[int, list[float], bool]


class SlowSimilarity:
    """One dictionary a label; a label forgets only in batches in which it occurs."""

    def __init__(self) -> None:
        self.average: dict[int, list[float]] = {}
        self.mass: dict[int, float] = {}

    def update(self, batch: list[Row]) -> None:
        for label in range(LABELS):
            rows = [p for given, p, counted in batch if given == label and counted and all(map(math.isfinite, p))]
            if not rows:
                continue
            mean = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
            before = self.average.get(label, [0.0] * LABELS)
            self.average[label] = [MOMENTUM * a + (1 - MOMENTUM) * b for a, b in zip(before, mean, strict=True)]
            self.mass[label] = MOMENTUM * self.mass.get(label, 0.0) + (1 - MOMENTUM)

    def of(self, label: int) -> list[float]:
        if label not in self.mass:
            return [1 / LABELS] * LABELS
        return [value / self.mass[label] for value in self.average[label]]


@st.composite
def rows(draw: st.DrawFn) -> Row:
    raw = draw(st.lists(st.floats(0.01, 1.0), min_size=LABELS, max_size=LABELS))
    probs = [value / sum(raw) for value in raw]
    if draw(st.integers(0, 9)) == 0:
        probs[draw(st.integers(0, LABELS - 1))] = draw(st.sampled_from([math.nan, math.inf]))
    return draw(st.integers(0, LABELS - 1)), probs, draw(st.booleans())


batches = st.lists(st.lists(rows(), min_size=1, max_size=6), min_size=1, max_size=8)


def feed(similarity: ClassSimilarity, batch: list[Row]) -> None:
    labels, probs, counted = zip(*batch, strict=True)
    similarity.update(torch.tensor(labels), torch.tensor(probs), torch.tensor(counted))


def all_of(similarity: ClassSimilarity) -> torch.Tensor:
    return similarity.of(torch.arange(LABELS))


@given(batches)
def test_equals_the_loop_over_rows_and_sums_to_one(given_batches: list[list[Row]]) -> None:
    fast, slow = ClassSimilarity(LABELS), SlowSimilarity()
    for batch in given_batches:
        feed(fast, batch)
        slow.update(batch)
        torch.testing.assert_close(
            all_of(fast), torch.tensor([slow.of(label) for label in range(LABELS)]), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(all_of(fast).sum(dim=1), torch.ones(LABELS), rtol=0.0, atol=1e-5)


def test_a_label_never_seen_is_uniform_and_stays_so_if_its_rows_do_not_count() -> None:
    similarity = ClassSimilarity(LABELS)
    assert all_of(similarity).flatten().tolist() == pytest.approx([1 / LABELS] * LABELS**2)
    similarity.update(torch.tensor([0]), torch.tensor([[0.5, 0.3, 0.2]]))
    similarity.update(torch.tensor([1]), torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([False]))
    similarity.update(torch.tensor([2]), torch.tensor([[math.nan, 0.3, 0.2]]))
    assert all_of(similarity)[0].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert all_of(similarity)[1:].flatten().tolist() == pytest.approx([1 / LABELS] * 6)


def test_of_gathers_in_the_order_of_the_labels() -> None:
    similarity = ClassSimilarity(LABELS)
    similarity.update(torch.tensor([2]), torch.tensor([[0.1, 0.2, 0.7]]))
    of = similarity.of(torch.tensor([2, 0, 2, 1]))
    assert of.shape == (4, LABELS)
    assert torch.equal(of[0], of[2])
    assert of[0].tolist() == pytest.approx([0.1, 0.2, 0.7])


def test_half_precision_is_averaged_in_float32() -> None:
    similarity = ClassSimilarity(2)
    for _ in range(200):
        similarity.update(torch.tensor([0]), torch.tensor([[0.75, 0.25]], dtype=torch.bfloat16))
    assert similarity.of(torch.tensor([0])).tolist()[0] == pytest.approx([0.75, 0.25], rel=1e-5)


@given(batches, batches)
def test_a_restored_state_continues_exactly(before: list[list[Row]], after: list[list[Row]]) -> None:
    straight, stopped = ClassSimilarity(LABELS), ClassSimilarity(LABELS)
    for batch in before:
        feed(straight, batch)
        feed(stopped, batch)
    resumed = ClassSimilarity(LABELS)
    resumed.load_state_dict(stopped.state_dict())
    for batch in after:
        feed(straight, batch)
        feed(resumed, batch)
    assert torch.equal(all_of(straight), all_of(resumed))


def test_the_state_is_a_copy() -> None:
    similarity = ClassSimilarity(2)
    similarity.update(torch.tensor([0]), torch.tensor([[0.8, 0.2]]))
    state = similarity.state_dict()
    other = ClassSimilarity(2)
    other.load_state_dict(state)
    for tensor in state.values():
        tensor.zero_()
    for each in (similarity, other):
        assert each.of(torch.tensor([0])).tolist()[0] == pytest.approx([0.8, 0.2])


def test_the_state_of_something_else_is_refused() -> None:
    state = ClassSimilarity(2).state_dict()
    with pytest.raises(ValueError, match="ClassSimilarity belongs to another"):
        ClassSimilarity(3).load_state_dict(state)
    with pytest.raises(ValueError, match=r"no state of ClassSimilarity: missing \['mass'\]"):
        ClassSimilarity(2).load_state_dict({"probs": state["probs"]})
