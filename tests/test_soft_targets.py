"""Targets of given labels and sharpened predictions, against plain loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import slow_candidate_target, slow_target
from torch.nn import functional as F

from lane_hf.soft_targets import believed_labels, candidate_targets, interpolated_targets


def random_logits(rows: int, num_labels: int, seed: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, num_labels, generator=generator)
    return logits, torch.randint(0, num_labels, (rows,), generator=generator)


@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.1, 0.5, 1.0]), st.sampled_from([0.3, 3.0]))
def test_targets_agree_with_loops(seed: int, num_labels: int, temperature: float, scale: float) -> None:
    logits, labels = random_logits(5, num_labels, seed, scale)
    shares = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    got = interpolated_targets(logits, labels, shares, temperature)
    rows = zip(logits.tolist(), labels.tolist(), shares.tolist(), strict=True)
    want = torch.tensor([slow_target(row, label, share, temperature) for row, label, share in rows])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(got.sum(dim=1), torch.ones(5))


def test_share_zero_is_the_given_label_and_share_one_the_sharpened_prediction() -> None:
    logits, labels = random_logits(6, 4, seed=1)
    given = interpolated_targets(logits, labels, torch.zeros(6), 0.5)
    assert torch.equal(given, F.one_hot(labels, 4).float())
    torch.testing.assert_close(interpolated_targets(logits, labels, torch.ones(6), 1.0), logits.softmax(dim=1))
    squared = logits.softmax(dim=1) ** 2
    want = squared / squared.sum(dim=1, keepdim=True)
    torch.testing.assert_close(interpolated_targets(logits, labels, torch.ones(6), 0.5), want)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_targets_that_are_distributions(temperature: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0], [3e38, -3e38]], dtype=dtype)
    got = interpolated_targets(logits, torch.tensor([0, 0, 1, 1]), torch.full((4,), 0.25), temperature)
    assert got.tolist() == [[1, 0], [0.75, 0.25], [0.125, 0.875], [0.25, 0.75]]


def test_no_gradient_flows_through_targets() -> None:
    logits, labels = random_logits(3, 3, seed=2)
    shares = torch.full((3,), 0.5, requires_grad=True)
    assert not interpolated_targets(logits.requires_grad_(), labels, shares, 0.5).requires_grad


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_candidate_is_believed_where_the_given_label_is_not(seed: int, num_labels: int) -> None:
    _, labels = random_logits(5, num_labels, seed)
    _, candidates = random_logits(5, num_labels, seed + 1)
    shares = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    want = torch.zeros(5, num_labels)
    for row, (label, candidate, share) in enumerate(zip(labels, candidates, shares, strict=True)):
        want[row, label] += 1 - share
        want[row, candidate] += share
    torch.testing.assert_close(believed_labels(labels, candidates, shares, num_labels), want)
    grown = shares.requires_grad_()
    assert not believed_labels(labels, candidates, grown, num_labels).requires_grad


@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.3, 3.0]))
def test_beyond_a_half_what_is_lost_goes_to_all_other_labels(seed: int, num_labels: int, scale: float) -> None:
    logits, labels = random_logits(5, num_labels, seed, scale)
    candidates = (labels + random_logits(5, num_labels - 1, seed + 1)[1] + 1) % num_labels
    shares = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    got = candidate_targets(logits, labels, candidates, shares)
    rows = zip(logits.tolist(), labels.tolist(), candidates.tolist(), shares.tolist(), strict=True)
    torch.testing.assert_close(got, torch.tensor([slow_candidate_target(*row) for row in rows]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(got.sum(dim=1), torch.ones(5))
    # The given label keeps what it has, and the candidate is never below it where the label is probably wrong.
    torch.testing.assert_close(got.gather(1, labels[:, None])[:, 0], 1 - shares)
    assert (got.gather(1, candidates[:, None])[:, 0] >= torch.minimum(shares, torch.tensor(0.5)) - 1e-6).all()


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_up_to_a_half_the_target_is_the_belief(seed: int, num_labels: int) -> None:
    logits, labels = random_logits(5, num_labels, seed)
    candidates = (labels + 1) % num_labels
    shares = torch.rand(5, generator=torch.Generator().manual_seed(seed)) / 2
    want = believed_labels(labels, candidates, shares, num_labels)
    assert torch.equal(candidate_targets(logits, labels, candidates, shares), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_candidate_targets_of_extreme_logits_are_distributions(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-3e38, 3e38, -3e38], [3e38, 3e38, 3e38]], dtype=dtype)
    labels, candidates = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 0])
    got = candidate_targets(logits, labels, candidates, torch.ones(3))
    assert got.tolist() == [[0, 0.5, 0.5], [0.75, 0, 0.25], [0.75, 0.25, 0]]
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not candidate_targets(logits.requires_grad_(), labels, candidates, torch.ones(3)).requires_grad


def test_a_single_label_has_no_other_one_and_stays_a_number() -> None:
    none = torch.zeros(2, dtype=torch.int64)
    assert candidate_targets(torch.zeros(2, 1), none, none, torch.tensor([0.0, 1.0])).tolist() == [[1], [1]]
