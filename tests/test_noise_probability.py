"""The probability that a label is wrong: against Bayes' rule by enumeration, and what must hold at the ends."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.mixture import fit_mixture, label_probability
from lane_hf.noise_probability import above_the_floor, noise_probability, noise_rates


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.95), st.integers(2, 30))
def test_the_floor_is_bayes_rule(true: float, share: float, num_labels: int) -> None:
    """Of a row whose true label is the given one with probability `true`, by enumeration of what may have happened."""
    rate = share * (1 - 1 / num_labels)
    kept = true * (1 - rate)
    flipped_to_it = (1 - true) * rate / (num_labels - 1)
    seen = kept + flipped_to_it  # what a classifier of the noisy labels learns
    rates = (torch.tensor([value], dtype=torch.float64) for value in (seen, 1 - rate, rate / (num_labels - 1)))
    found = above_the_floor(*rates).item()
    if seen > 1e-6:
        assert found == pytest.approx(kept / seen, abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1), st.integers(2, 9))
def test_it_is_a_probability_that_rises_with_the_confidence(values: list[float], rate: float, num_labels: int) -> None:
    kept, floor = (torch.full((len(values),), value) for value in (1 - rate, rate / (num_labels - 1)))
    found = above_the_floor(torch.tensor(sorted(values)), kept, floor)
    assert found.isfinite().all()
    assert ((found >= 0) & (found <= 1)).all()
    assert (found.diff() >= -1e-6).all()


def test_without_noise_every_label_is_right_and_with_nothing_but_noise_none() -> None:
    confidence = torch.tensor([0.01, 0.5, 1.0])
    assert above_the_floor(confidence, torch.ones(3), torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert above_the_floor(confidence, torch.full((3,), 0.25), torch.full((3,), 0.25)).tolist() == [0.0, 0.0, 0.0]


def case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (200,), generator=generator)
    margins = torch.where(torch.rand(200, generator=generator) < 0.3, -2.0, 2.0)
    margins = margins + torch.randn(200, generator=generator)
    return margins, torch.sigmoid(margins), labels


def test_it_is_the_mean_of_both_opinions() -> None:
    margins, confidence, labels = case()
    mixture = 1 - label_probability(margins, fit_mixture(margins, labels, 3), labels).numpy()
    rate = float(np.mean(mixture, dtype=np.float64))
    floor = rate / 2
    expected = []
    for doubt, q in zip(mixture, confidence.tolist(), strict=True):
        right = min(1.0, max(0.0, (1 - rate) / (1 - rate - floor) * (1 - floor / q)))
        expected.append((doubt + 1 - right) / 2)
    np.testing.assert_allclose(noise_probability(margins, confidence, labels, 3), expected, atol=1e-5)
    np.testing.assert_array_equal(noise_probability(margins, None, labels, 3), mixture)


def test_a_label_that_was_preferred_on_average_is_never_likely_wrong() -> None:
    margins, confidence, labels = case(1)
    found = noise_probability(margins, 0.001 * confidence, labels, 3)  # the floor finds everything wrong
    assert (found[margins >= 0] <= 0.5).all()
    assert (found[margins < -3] > 0.5).all()


def test_one_label_alone() -> None:
    margins, confidence, labels = case()
    assert noise_probability(margins, confidence, torch.zeros_like(labels), 1).isfinite().all()


def test_rates_are_counted_as_written() -> None:
    """T by loops: from what is doubted, with ten rows of uniform noise more for each label."""
    generator = torch.Generator().manual_seed(3)
    labels, doubts = torch.randint(0, 4, (80,), generator=generator), torch.rand(80, generator=generator)
    others = (labels + torch.randint(1, 4, (80,), generator=generator)) % 4
    rate = doubts.double().mean().item()
    counted = [[10 * ((1 - rate) if k == y else rate / 3) for y in range(4)] for k in range(4)]
    for y, s, doubt in zip(labels.tolist(), others.tolist(), doubts.double().tolist(), strict=True):
        counted[y][y] += 1 - doubt
        counted[s][y] += doubt
    kept, floor = noise_rates(doubts, labels, 4, others)
    for row, (y, s) in enumerate(zip(labels.tolist(), others.tolist(), strict=True)):
        assert kept[row].item() == pytest.approx(counted[y][y] / sum(counted[y]))
        assert floor[row].item() == pytest.approx(counted[s][y] / sum(counted[s]))


def test_noise_in_one_direction_is_seen() -> None:
    """Label 0 was often given to rows of label 1, hence 0 is less credible than 2 where 1 is the best other label."""
    labels = torch.tensor([0] * 300 + [1] * 300 + [2] * 300)
    wrong = torch.zeros(900, dtype=torch.bool)
    wrong[:120] = True
    generator = torch.Generator().manual_seed(0)
    margins = torch.where(wrong, -3.0, 3.0) + 0.5 * torch.randn(900, generator=generator)
    others = torch.where(labels == 1, 2, 1)
    confidence = torch.where(wrong, 0.25, 0.9)
    uniform = noise_probability(margins, confidence, labels, 3)
    directed = noise_probability(margins, confidence, labels, 3, others)
    assert (directed[:120] > uniform[:120] + 0.05).all()
    assert (directed[wrong] > 0.9).all()
    assert (directed[~wrong] < 0.1).all()
