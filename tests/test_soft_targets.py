"""Targets of given labels and sharpened predictions, against plain loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import slow_target
from torch.nn import functional as F

from lane_hf.soft_targets import candidate_targets, interpolated_targets


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
def test_the_candidate_gets_what_the_given_label_loses(seed: int, num_labels: int) -> None:
    _, labels = random_logits(5, num_labels, seed)
    _, candidates = random_logits(5, num_labels, seed + 1)
    shares = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    want = torch.zeros(5, num_labels)
    for row, (label, candidate, share) in enumerate(zip(labels, candidates, shares, strict=True)):
        want[row, label] += 1 - share
        want[row, candidate] += share
    torch.testing.assert_close(candidate_targets(labels, candidates, shares, num_labels), want)
    grown = shares.requires_grad_()
    assert not candidate_targets(labels, candidates, grown, num_labels).requires_grad
