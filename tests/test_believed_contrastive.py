"""The contrastive loss of labels that are not certain, against pair-by-pair float64 loops."""

from __future__ import annotations

import pytest
import torch
from contrastive_losses import Batch, batches, random_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import autograd_believed_contrastive, slow_believed_contrastive
from torch.nn import functional as F

from lane_hf.contrastive import believed_contrastive_loss, supervised_contrastive_loss


def loss_of(batch: Batch, embeddings: torch.Tensor | None = None) -> torch.Tensor:
    embeddings = batch.embeddings if embeddings is None else embeddings
    return believed_contrastive_loss(embeddings, batch.probs, batch.temperature, batch.row_ids)


def gradient_of(batch: Batch) -> torch.Tensor:
    leaf = batch.embeddings.clone().requires_grad_()
    loss_of(batch, leaf).backward()
    assert leaf.grad is not None
    return leaf.grad


@settings(deadline=None, max_examples=150)
@given(batch=batches(scales=(1.0, 1.0, 0.0, 100.0)))
def test_it_equals_the_pairwise_reference(batch: Batch) -> None:
    got = loss_of(batch)
    assert got.dtype == torch.float32
    assert got.shape == ()
    # The beliefs of these batches need not add up to 1.
    scale = 1 + batch.probs.float().square().sum(dim=1).max().item()
    want = slow_believed_contrastive(*batch.lists())
    assert got.item() == pytest.approx(want, rel=5e-5, abs=5e-6 * scale * (3 + 1 / batch.temperature))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_its_gradients_equal_those_of_the_pairwise_reference(seed: int) -> None:
    batch = random_batch(rows=24, width=16, classes=5, seed=seed)
    leaf = batch.embeddings.double().requires_grad_()
    autograd_believed_contrastive(leaf, *batch.lists()[1:2], batch.probs.double(), *batch.lists()[3:]).backward()
    torch.testing.assert_close(gradient_of(batch), leaf.grad.float(), rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(batch=batches(dtypes=st.just(torch.float32)))
def test_of_certain_labels_it_is_the_supervised_loss(batch: Batch) -> None:
    certain = batch._replace(probs=F.one_hot(batch.labels, batch.probs.shape[1]).float())
    leaf = batch.embeddings.clone().requires_grad_()
    want = supervised_contrastive_loss(leaf, batch.labels, batch.temperature, batch.row_ids)
    want.backward()
    torch.testing.assert_close(loss_of(certain), want.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient_of(certain), leaf.grad, rtol=1e-4, atol=1e-5)


def test_rows_that_may_be_anything_pull_less_than_rows_whose_label_is_known() -> None:
    batch = random_batch(rows=8, width=4, classes=2, seed=3)._replace(row_ids=None)
    certain = F.one_hot(batch.labels, 2).float()
    half_sure = 0.5 * certain + 0.25
    strengths = [gradient_of(batch._replace(probs=beliefs)).norm() for beliefs in (half_sure, certain)]
    assert strengths[0] < 0.7 * strengths[1]


@settings(deadline=None, max_examples=40)
@given(batch=batches(dtypes=st.just(torch.float32)), seed=st.integers(0, 1000))
def test_neither_the_order_of_rows_nor_that_of_labels_matters(batch: Batch, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(batch.labels), generator=generator)
    labels = torch.randperm(batch.probs.shape[1], generator=generator)
    ids = None if batch.row_ids is None else batch.row_ids[rows]
    moved = batch._replace(embeddings=batch.embeddings[rows], probs=batch.probs[rows][:, labels], row_ids=ids)
    torch.testing.assert_close(loss_of(moved), loss_of(batch), rtol=5e-5, atol=1e-5 * (3 + 1 / batch.temperature))


@pytest.mark.parametrize("beliefs", [torch.eye(3), torch.zeros(3, 3), 1e-3 * torch.eye(3) + 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_that_have_nothing_in_common_give_zero_and_zero_gradients(
    beliefs: torch.Tensor, dtype: torch.dtype
) -> None:
    batch = random_batch(rows=3, width=4, classes=3, seed=5)._replace(row_ids=None)
    batch = batch._replace(embeddings=batch.embeddings.to(dtype), probs=beliefs.to(dtype))
    assert loss_of(batch).item() == 0
    assert gradient_of(batch).eq(0).all()


def test_two_places_with_one_row_make_no_pair() -> None:
    batch = random_batch(rows=4, width=4, classes=2, seed=7)._replace(row_ids=torch.tensor([4, 4, 4, 4]))
    assert loss_of(batch).item() == 0
    assert gradient_of(batch).eq(0).all()


def test_no_gradient_flows_into_beliefs() -> None:
    batch = random_batch(rows=6, width=4, classes=2, seed=9)
    beliefs = batch.probs.clone().requires_grad_()
    assert not loss_of(batch._replace(probs=beliefs)).requires_grad


def test_autocast_does_not_lower_its_precision() -> None:
    batch = random_batch(rows=8, width=32, classes=2, seed=59, temperature=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss_of(batch)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(slow_believed_contrastive(*batch.lists()), rel=2e-5)
