"""The probability that a label is wrong: against Bayes' rule by enumeration, and what must hold at the ends."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lane_hf.margins import margin
from lane_hf.mixture import fit_mixture, label_probability
from lane_hf.noise_probability import above_the_floor, estimate_noise, noise_probability


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


def learned(seed: int, shift: float, uniform: float, size: int = 6, rows: int = 4000) -> tuple[torch.Tensor, ...]:
    """Rows as a classifier sees them that has learned what the labels say: it gives T[true, :], with some noise.

    A share `shift` of the labels is replaced by the next one, a share `uniform` by any.
    """
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(0, size, (rows,), generator=generator)
    transition = (1 - shift - uniform) * torch.eye(size) + uniform / size
    transition = transition + shift * torch.eye(size).roll(1, dims=1)
    labels = torch.multinomial(transition[true], 1, generator=generator).squeeze(1)
    logits = transition[true].clamp_min(0.02).log() + 0.3 * torch.randn(rows, size, generator=generator)
    margins, others = margin(logits, labels)
    confidence = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    return margins, confidence, labels, others, labels != true


@pytest.mark.parametrize("seed", range(3))
def test_noise_that_is_learned_from_the_start_is_found_by_its_direction(seed: int) -> None:
    """Of ten rows of k four are called k + 1: margins say little, but which way they lean says all."""
    *known, wrong = learned(seed, shift=0.4, uniform=0.05)
    margins, confidence, labels, others = known
    estimate = estimate_noise(margins, confidence, labels, 6, others)
    assert roc_auc_score(wrong, -margins) < 0.88
    assert roc_auc_score(wrong, -estimate.scores) > 0.95
    assert roc_auc_score(wrong, estimate.probability) > 0.95
    assert estimate.probability.mean().item() == pytest.approx(wrong.float().mean().item(), abs=0.08)
    blind = noise_probability(margins, confidence, labels, 6)
    brier = [((found - wrong.float()) ** 2).mean().item() for found in (estimate.probability, blind)]
    assert brier[0] < 0.5 * brier[1]


@pytest.mark.parametrize("seed", range(3))
def test_without_a_direction_the_best_other_label_does_not_matter(seed: int) -> None:
    margins, confidence, labels, others, _ = learned(seed, shift=0.0, uniform=0.4)
    estimate = estimate_noise(margins, confidence, labels, 6, others)
    blind = estimate_noise(margins, confidence, labels, 6)
    torch.testing.assert_close(estimate.probability, blind.probability)
    torch.testing.assert_close(estimate.scores, blind.scores)


def test_scores_are_logarithms_of_how_often_the_noise_alone_would_give_the_label() -> None:
    margins, confidence, labels = case()
    doubts = 1 - label_probability(margins, fit_mixture(margins, labels, 3), labels).numpy()
    floor = float(np.mean(doubts, dtype=np.float64)) / 2
    expected = [np.log(q / floor) for q in confidence.tolist()]
    np.testing.assert_allclose(estimate_noise(margins, confidence, labels, 3).scores, expected, atol=1e-5)
    assert torch.equal(estimate_noise(margins, None, labels, 3).scores, margins)


@pytest.mark.parametrize("seed", range(3))
def test_of_a_calibrated_classifier_no_ranking_is_better(seed: int) -> None:
    """Texts of which some say much and some nothing: what counts is q, not how the other labels share 1 - q."""
    generator = torch.Generator().manual_seed(seed)
    clarity = torch.tensor([0.3, 3.0, 20.0])[torch.randint(0, 3, (20_000, 1), generator=generator)]
    clean = (clarity * torch.randn(20_000, 8, generator=generator)).softmax(dim=1)
    true = torch.multinomial(clean, 1, generator=generator).squeeze(1)
    learned = 0.7 * clean + 0.3 / 8
    drawn = torch.randint(0, 8, (20_000,), generator=generator)
    labels = torch.where(torch.rand(20_000, generator=generator) < 0.3, drawn, true)
    margins, others = margin(learned.log(), labels)
    confidence = learned.gather(1, labels[:, None]).squeeze(1)
    estimate = estimate_noise(margins, confidence, labels, 8, others)
    by_score, by_margin = (roc_auc_score(labels != true, -ranking) for ranking in (estimate.scores, margins))
    assert by_score > by_margin + 0.002


def test_of_equal_probabilities_the_one_is_doubted_whose_other_label_is_often_taken_for_it() -> None:
    margins, confidence, labels, others, _ = learned(0, shift=0.4, uniform=0.05)
    equal = torch.full_like(confidence, 0.3)
    scores = estimate_noise(margins, equal, labels, 6, others).scores
    expected_source = (others + 1) % 6 == labels
    assert scores[expected_source].max() < scores[~expected_source].min()


def test_scores_are_finite_at_the_ends() -> None:
    margins, _, labels = case()
    for found in (margins, margins.abs()):  # with and without noise
        for confidence in (torch.zeros(200), torch.ones(200)):
            assert estimate_noise(found, confidence, labels, 3).scores.isfinite().all()
