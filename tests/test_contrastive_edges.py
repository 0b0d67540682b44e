"""Contrastive losses where little is defined: no pairs, extreme numbers, low precision."""

from __future__ import annotations

import pytest
import torch
from contrastive_losses import LOSSES, Batch, batches, each_loss, gradients, random_batch
from hypothesis import given, settings
from hypothesis import strategies as st


@each_loss
@pytest.mark.parametrize(
    ("rows", "labels", "row_ids"),
    [
        (1, [0], None),
        (3, [0, 1, 2], None),
        (3, [1, 1, 0], [4, 4, 5]),
        (4, [0, 0, 1, 1], [7, 7, 7, 7]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_batch_without_valid_anchor_gives_zero_loss_and_zero_gradients(
    name: str, rows: int, labels: list[int], row_ids: list[int] | None, dtype: torch.dtype
) -> None:
    batch = random_batch(rows=rows, width=4, classes=3, seed=31)._replace(
        labels=torch.tensor(labels), row_ids=None if row_ids is None else torch.tensor(row_ids)
    )
    batch = batch._replace(embeddings=batch.embeddings.to(dtype), probs=batch.probs.to(dtype))
    value, embedding_gradient, prob_gradient = gradients(LOSSES[name], batch)
    assert value.item() == 0.0
    assert embedding_gradient.eq(0).all()
    if LOSSES[name].uses_probs:
        assert prob_gradient is not None
        assert prob_gradient.eq(0).all()


def test_label_aware_loss_of_a_batch_without_negatives_is_zero_with_zero_gradients() -> None:
    batch = random_batch(rows=4, width=4, classes=2, seed=37)._replace(
        labels=torch.ones(4, dtype=torch.int64), row_ids=None
    )
    value, embedding_gradient, prob_gradient = gradients(LOSSES["label_aware"], batch)
    assert value.item() == 0.0
    assert embedding_gradient.eq(0).all()
    assert prob_gradient is not None
    assert prob_gradient.eq(0).all()


@each_loss
@pytest.mark.parametrize("wanted", ["embeddings", "probs"])
def test_each_input_can_be_the_only_one_with_a_gradient(name: str, wanted: str) -> None:
    loss = LOSSES[name]
    batch = random_batch(rows=6, width=4, classes=2, seed=41)._replace(row_ids=None)
    leaf = getattr(batch, wanted).clone().requires_grad_()
    if wanted == "probs" and not loss.uses_probs:
        assert not loss.fast(batch.embeddings, batch.labels, None).requires_grad
        return
    value = loss.fast(*batch._replace(**{wanted: leaf}))
    value.backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum().item() > 1e-3


@each_loss
@settings(deadline=None, max_examples=120)
@given(batch=batches(scales=(0.0, 1e-20, 1e-6, 1.0, 1e4), dtypes=st.just(torch.float32)))
def test_loss_and_gradients_are_always_finite_in_float32(name: str, batch: Batch) -> None:
    value, embedding_gradient, prob_gradient = gradients(LOSSES[name], batch)
    assert value.isfinite()
    assert embedding_gradient.isfinite().all()
    assert prob_gradient is None or prob_gradient.isfinite().all()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("identical", [False, True])
@pytest.mark.parametrize("temperature", [0.01, 0.3])
def test_loss_and_gradients_are_finite_at_every_precision(
    name: str, dtype: torch.dtype, scale: float, identical: bool, temperature: float
) -> None:
    batch = random_batch(rows=8, width=16, classes=2, seed=43, temperature=temperature)
    matrix = batch.embeddings.clamp(-3, 3)
    if identical:
        matrix = matrix[:1].expand(8, 16)
    matrix = (matrix * scale).to(dtype)
    assert matrix.isfinite().all()
    probs = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 4).to(dtype)
    value, embedding_gradient, prob_gradient = gradients(
        LOSSES[name], batch._replace(embeddings=matrix, probs=probs, row_ids=None)
    )
    assert value.isfinite()
    assert embedding_gradient.isfinite().all()
    assert prob_gradient is None or prob_gradient.isfinite().all()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_zero_embedding_among_others_leaves_every_gradient_finite(name: str, dtype: torch.dtype) -> None:
    batch = random_batch(rows=6, width=4, classes=2, seed=47)._replace(row_ids=None)
    embeddings = batch.embeddings.clone()
    embeddings[2] = 0.0
    batch = batch._replace(embeddings=embeddings.to(dtype), probs=batch.probs.to(dtype))
    value, embedding_gradient, prob_gradient = gradients(LOSSES[name], batch)
    assert value.item() == pytest.approx(LOSSES[name].slow(*batch.lists()), rel=1e-4)
    assert embedding_gradient.isfinite().all()
    assert prob_gradient is None or prob_gradient.isfinite().all()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_half_precision_embeddings_are_normalised_in_float32(name: str, dtype: torch.dtype) -> None:
    batch = random_batch(rows=8, width=32, classes=2, seed=53)
    batch = batch._replace(embeddings=(batch.embeddings * 1e4).to(dtype), probs=batch.probs.to(dtype))
    got = LOSSES[name].fast(*batch)
    assert got.item() == pytest.approx(LOSSES[name].slow(*batch.lists()), rel=2e-5)


@each_loss
def test_autocast_does_not_lower_the_precision_of_the_loss(name: str) -> None:
    batch = random_batch(rows=8, width=32, classes=2, seed=59, temperature=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = LOSSES[name].fast(*batch)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(LOSSES[name].slow(*batch.lists()), rel=2e-5)


@each_loss
def test_losses_leave_their_inputs_unchanged(name: str) -> None:
    batch = random_batch(rows=6, width=4, classes=2, seed=61)
    before = [part.clone() for part in batch if isinstance(part, torch.Tensor)]
    LOSSES[name].fast(*batch)
    after = [part for part in batch if isinstance(part, torch.Tensor)]
    assert len(after) == 4
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))
