"""How far labels are learned, against plain loops, and what that does to doubts."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.learned_labels import LearnedLabels, learned_shares, wait_for_labels
from lane_hf.row_statistics import Observation, RowStatistics


def observe(
    rows: int, num_labels: int, seed: int, row_ids: torch.Tensor | None = None
) -> tuple[Observation, list[int]]:
    """A step of random logits, some of them equal, and what argmax makes of each row."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 4, (rows, num_labels), generator=generator).float()
    labels = torch.randint(0, num_labels, (rows,), generator=generator)
    ids = torch.arange(rows) if row_ids is None else row_ids
    observation = RowStatistics(rows, num_labels).observe(ids.clamp_min(0), labels, logits)._replace(row_ids=ids)
    return observation, logits.argmax(dim=1).tolist()


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_what_is_counted_is_what_argmax_predicts(seed: int, num_labels: int) -> None:
    learned = LearnedLabels(num_labels)
    counted: Counter[int] = Counter()
    for step in range(3):
        observation, predicted = observe(7, num_labels, seed + step)
        learned.count(observation, epoch=step / 3)
        counted.update(predicted)
    assert learned.predicted().tolist() == [counted[label] for label in range(num_labels)]


def test_padding_and_rows_that_are_not_finite_do_not_count() -> None:
    observation, predicted = observe(6, 3, seed=1, row_ids=torch.tensor([0, 1, -1, 3, -1, 5]))
    margins = observation.margins.clone()
    margins[1] = math.nan
    learned = LearnedLabels(3)
    learned.count(observation._replace(margins=margins), epoch=0.0)
    counted = Counter(predicted[row] for row in (0, 3, 5))
    assert learned.predicted().tolist() == [counted[label] for label in range(3)]


def test_the_last_whole_epoch_is_what_counts() -> None:
    learned = LearnedLabels(3)
    first, whole, begun = (observe(rows, 3, seed)[0] for seed, rows in enumerate((8, 8, 3)))
    counts = []
    for observation, epoch in ((first, 0.0), (whole, 1.0), (begun, 2.0)):
        learned.count(observation, epoch)
        counts.append(learned.predicted())
    alone = []
    for observation in (first, whole):
        fresh = LearnedLabels(3)
        fresh.count(observation, 0.0)
        alone.append(fresh.predicted())
    assert not torch.equal(alone[0], alone[1])
    assert torch.equal(counts[0], alone[0])  # of the first epoch as far as it went
    assert torch.equal(counts[1], alone[1])  # as long as the first
    assert torch.equal(counts[2], alone[1])  # the third has only begun


def slow_shares(predicted: list[float], weights: list[float], labels: list[int]) -> list[float]:
    """Each label's share of the predictions, over its share of the believed rows."""
    shares = []
    for label, number in enumerate(predicted):
        own = [weight for weight, given in zip(weights, labels, strict=True) if given == label]
        believed = max(1.0, sum(own)) / len(labels) if own else 0.0
        share = number / sum(predicted) if sum(predicted) else 1.0
        shares.append(min(1.0, share / believed) if believed > 0 and sum(predicted) else 1.0)
    return shares


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 6), st.booleans())
def test_shares_and_weights_agree_with_loops(seed: int, rows: int, num_labels: int, anything: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_labels, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator).round(decimals=1)
    predicted = torch.randint(0, 9, (num_labels,), generator=generator).double() * anything
    shares = learned_shares(predicted, weights, labels)
    assert shares.tolist() == pytest.approx(
        slow_shares(predicted.tolist(), weights.tolist(), labels.tolist()), abs=1e-6
    )
    waiting = wait_for_labels(weights, labels, shares)
    expected = [1 - shares[y].item() * (1 - w) for w, y in zip(weights.tolist(), labels.tolist(), strict=True)]
    assert waiting.tolist() == pytest.approx(expected, abs=1e-6)
    assert (waiting >= weights - 1e-6).all()  # never more doubt than there was
    assert (waiting <= 1).all()


def test_a_label_that_is_never_predicted_keeps_its_rows() -> None:
    labels, weights = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1.0, 0.1, 1.0, 0.2, 0.0])
    shares = learned_shares(torch.tensor([5.0, 0.0]), weights, labels)
    assert wait_for_labels(weights, labels, shares).tolist() == pytest.approx([1.0, 0.1, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("doubt", [1.0, 1 - 1e-9])
def test_a_label_that_is_doubted_wholly_and_never_predicted_is_not_learned(doubt: float) -> None:
    labels, weights = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1, 1, 1, 1 - doubt, 1 - doubt]).double()
    shares = learned_shares(torch.tensor([5.0, 0.0]), weights, labels)
    assert shares.tolist() == [1.0, 0.0]
    assert wait_for_labels(weights, labels, shares).tolist() == [1.0] * 5


def test_rows_count_as_often_as_they_were_shown() -> None:
    """By a sampler that shows both labels alike: of the predictions a half is of each, though not of the rows."""
    labels = torch.tensor([0] * 9 + [1])
    visits = torch.tensor([2] * 9 + [18])
    weights = torch.tensor([1.0, 1, 1, 1, 1, 1, 1, 0.5, 0.5, 1])
    alike = learned_shares(torch.tensor([16.0, 18.0]), weights, labels, visits)
    assert alike.tolist() == [1.0, 1.0]
    assert learned_shares(torch.tensor([16.0, 18.0]), weights, labels).tolist() != alike.tolist()
    # By the definition, with each row as often as it was visited.
    repeated = learned_shares(
        torch.tensor([9.0, 27.0]), weights.repeat_interleave(visits), labels.repeat_interleave(visits)
    )
    assert torch.equal(learned_shares(torch.tensor([9.0, 27.0]), weights, labels, visits), repeated)


def test_the_first_batch_of_an_epoch_makes_no_difference() -> None:
    labels, weights, predicted = torch.tensor([0, 0, 1]), torch.tensor([0.9, 0.2, 0.8]), torch.tensor([1.0, 2.0])
    shares = learned_shares(predicted, weights, labels, torch.tensor([3, 2, 2]))
    assert torch.equal(shares, learned_shares(predicted, weights, labels))


def test_a_state_goes_on_as_it_was_and_belongs_to_its_number_of_labels() -> None:
    learned, resumed = LearnedLabels(3), LearnedLabels(3)
    learned.count(observe(8, 3, seed=1)[0], epoch=0.0)
    learned.count(observe(3, 3, seed=2)[0], epoch=1.0)
    resumed.load_state_dict(learned.state_dict())
    for each in (learned, resumed):
        each.count(observe(8, 3, seed=3)[0], epoch=1.5)
    assert torch.equal(resumed.predicted(), learned.predicted())
    with pytest.raises(ValueError, match="LearnedLabels belongs to another"):
        LearnedLabels(4).load_state_dict(learned.state_dict())
