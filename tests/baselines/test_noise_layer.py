"""Noise adaptation layer: formulas against plain float64 loops, its own learning rate, whole runs replayed by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_layer_references import KINDS, WIDTH, random_batch, random_layer, slow_given, slow_theta

from lane_hf.baselines.noise_layer import Confusion, NoiseLayer

# ---- The layer ----


@KINDS
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 5), labels=st.integers(2, 5), scale=st.sampled_from([1, 5, 30]))
def test_layer_agrees_with_loops(kind: str, seed: int, rows: int, labels: int, scale: float) -> None:
    layer = random_layer(labels, kind, seed)
    logits, embeddings, _ = random_batch(rows, labels, seed, scale)
    log_given, log_kept = layer(logits, embeddings)
    thetas = [slow_theta(layer, row) for row in embeddings.tolist()]
    want = [slow_given(row, theta) for row, theta in zip(logits.tolist(), thetas, strict=True)]
    torch.testing.assert_close(log_given.exp(), torch.tensor(want), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(log_given.exp().sum(dim=1), torch.ones(rows), rtol=1e-5, atol=1e-6)
    kept = [[theta[label][label] for label in range(labels)] for theta in thetas]
    torch.testing.assert_close(log_kept.exp(), torch.tensor(kept), rtol=1e-4, atol=1e-6)
    assert not log_kept.requires_grad


@KINDS
def test_gradients_are_those_of_the_formula(kind: str) -> None:
    layer = random_layer(3, kind, seed=1)
    logits, embeddings, labels = random_batch(4, 3, seed=1)
    logits.requires_grad_()
    embeddings.requires_grad_()
    layer(logits, embeddings)[0].gather(1, labels[:, None]).sum().backward()

    bias = layer.bias.detach().double().requires_grad_()
    slow_logits = logits.detach().double().requires_grad_()
    scores = bias.expand(4, 3, 3)
    if kind == "complex":
        weight = layer.weight.detach().double().requires_grad_()
        scores = scores + torch.stack([(weight * row).sum(dim=2) for row in embeddings.detach().double()])
    theta = scores.exp() / scores.exp().sum(dim=2, keepdim=True)
    probs = slow_logits.exp() / slow_logits.exp().sum(dim=1, keepdim=True)
    given_probs = torch.stack([p @ t for p, t in zip(probs, theta, strict=True)])
    given_probs[torch.arange(4), labels].log().sum().backward()
    torch.testing.assert_close(logits.grad.double(), slow_logits.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.bias.grad.double(), bias.grad, rtol=1e-4, atol=1e-5)
    if kind == "complex":
        torch.testing.assert_close(layer.weight.grad.double(), weight.grad, rtol=1e-4, atol=1e-5)
    assert embeddings.grad is None


def test_layer_without_noise_gives_the_classifier_itself() -> None:
    layer = NoiseLayer(4)
    layer.start_from(torch.where(torch.eye(4) > 0, 0.0, -60.0))
    logits, _, _ = random_batch(6, 4, seed=2)
    torch.testing.assert_close(layer(logits)[0], logits.log_softmax(dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("labels", [2, 5])
def test_layer_starts_from_the_initial_noise(labels: int) -> None:
    theta = NoiseLayer(labels, initial_noise=0.3, hidden_size=WIDTH).bias.softmax(dim=1)
    want = torch.full((labels, labels), 0.3 / (labels - 1)).fill_diagonal_(0.7)
    torch.testing.assert_close(theta, want)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_and_broken_logits_leave_every_gradient_finite(kind: str, dtype: torch.dtype) -> None:
    layer = random_layer(2, kind, seed=3)
    logits = torch.tensor(
        [[1e4, -1e4], [-1e4, 1e4], [math.nan, 0.0], [math.inf, 0.0]], dtype=dtype, requires_grad=True
    )
    embeddings = torch.full((4, WIDTH), 30.0, dtype=dtype)
    embeddings[2:] = math.nan
    log_given, _ = layer(logits, embeddings)
    log_given.sum().backward()
    assert log_given.dtype == torch.float32
    assert log_given.isfinite().all()
    assert logits.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@KINDS
def test_autocast_does_not_lower_the_precision(kind: str) -> None:
    layer = random_layer(3, kind, seed=4)
    logits, embeddings, _ = random_batch(5, 3, seed=4)
    want = layer(logits, embeddings)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(logits, embeddings)[0], want)


def test_layer_reads_one_of_so_many_entries() -> None:
    layer = random_layer(3, "complex", seed=5)
    logits, embeddings, _ = random_batch(6, 3, seed=5)
    outputs = {"logits": logits, "embeddings": embeddings}
    assert torch.equal(layer.read(outputs, stride=2), layer(logits[::2], embeddings[::2])[0])
    assert outputs["log_kept"].shape == (3, 3)


# ---- The counts of the warm-up ----


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_counts_agree_with_loops(seed: int, labels: int) -> None:
    confusion = Confusion(labels, initial_noise=0.3)
    counts = [[0] * labels for _ in range(labels)]
    for step in range(3):
        logits, _, given_labels = random_batch(4, labels, seed + step)
        predicted = logits.argmax(dim=1)
        predicted[step] = -1  # not finite
        confusion.add(predicted, given_labels)
        for row, (seen, label) in enumerate(zip(predicted.tolist(), given_labels.tolist(), strict=True)):
            if row != step:
                counts[seen][label] += 1
    start = [[0.7 if i == j else 0.3 / (labels - 1) for j in range(labels)] for i in range(labels)]
    want = [
        [math.log((counts[i][j] + labels * start[i][j]) / (sum(counts[i]) + labels)) for j in range(labels)]
        for i in range(labels)
    ]
    torch.testing.assert_close(confusion.log_theta(), torch.tensor(want, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(confusion.log_theta().exp().sum(dim=1), torch.ones(labels, dtype=torch.float64))
    again = Confusion(labels, initial_noise=0.3)
    confusion.is_used = True
    again.load_state_dict(confusion.state_dict())
    assert again.is_used is True
    assert torch.equal(again.log_theta(), confusion.log_theta())
    with pytest.raises(ValueError, match="counts has size"):
        Confusion(labels + 1).load_state_dict(confusion.state_dict())
