"""The contrastive losses beside their slow references, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from references import (
    autograd_label_aware_contrastive,
    autograd_label_contrastive,
    autograd_supervised_contrastive,
    slow_label_aware_contrastive,
    slow_label_contrastive,
    slow_supervised_contrastive,
)

from lane_hf.contrastive import (
    label_aware_contrastive_loss,
    label_contrastive_loss,
    supervised_contrastive_loss,
)


def call_supervised(
    embeddings: torch.Tensor, labels: torch.Tensor, _probs: torch.Tensor | None, *args: Any, **kwargs: Any
) -> torch.Tensor:
    """The one loss without class probabilities, called like the other two."""
    return supervised_contrastive_loss(embeddings, labels, *args, **kwargs)


class Loss(NamedTuple):
    fast: Callable[..., torch.Tensor]
    slow: Callable[..., float]
    autograd: Callable[..., torch.Tensor]
    uses_probs: bool
    needs_negatives: bool


LOSSES = {
    "label_aware": Loss(
        label_aware_contrastive_loss, slow_label_aware_contrastive, autograd_label_aware_contrastive, True, True
    ),
    "supervised": Loss(call_supervised, slow_supervised_contrastive, autograd_supervised_contrastive, False, False),
    "label": Loss(label_contrastive_loss, slow_label_contrastive, autograd_label_contrastive, True, False),
}
each_loss = pytest.mark.parametrize("name", LOSSES)
each_weighted_loss = pytest.mark.parametrize("name", ["label_aware", "label"])


class Batch(NamedTuple):
    embeddings: torch.Tensor
    labels: torch.Tensor
    probs: torch.Tensor
    temperature: float
    row_ids: torch.Tensor | None

    def lists(self) -> tuple[Any, Any, Any, float, Any]:
        ids = None if self.row_ids is None else self.row_ids.tolist()
        return self.embeddings.tolist(), self.labels.tolist(), self.probs.tolist(), self.temperature, ids


DTYPES = st.sampled_from([torch.float32, torch.float32, torch.float16, torch.bfloat16])


@st.composite
def batches(
    draw: st.DrawFn, scales: Sequence[float] = (1.0,), dtypes: st.SearchStrategy[torch.dtype] = DTYPES
) -> Batch:
    """Small batches in which anchors without positives or without negatives are frequent."""
    rows, width, classes = draw(st.integers(1, 7)), draw(st.integers(1, 4)), draw(st.integers(2, 4))
    # No entries between zero and 2**-10: how far a vector must shrink to count as zero is not the point here.
    positive = st.floats(2.0**-10, 3, width=32)
    value = st.one_of(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0]), positive, positive.map(lambda v: -v))
    matrix = draw(st.lists(st.lists(value, min_size=width, max_size=width), min_size=rows, max_size=rows))
    factors = draw(st.lists(st.sampled_from(list(scales)), min_size=rows, max_size=rows))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    prob = st.one_of(st.sampled_from([0.0, 1e-9, 1e-5, 1e-3, 0.25, 1.0]), st.floats(2.0**-12, 1, width=32))
    probs = draw(st.lists(st.lists(prob, min_size=classes, max_size=classes), min_size=rows, max_size=rows))
    ids = draw(st.none() | st.lists(st.integers(0, 5), min_size=rows, max_size=rows))
    dtype = draw(dtypes)
    scaled = torch.tensor(matrix, dtype=torch.float64) * torch.tensor(factors, dtype=torch.float64)[:, None]
    return Batch(
        scaled.to(dtype),
        torch.tensor(labels),
        torch.tensor(probs, dtype=torch.float64).to(dtype),
        draw(st.sampled_from([0.05, 0.1, 0.3, 1.0, 5.0])),
        None if ids is None else torch.tensor(ids),
    )


def random_batch(rows: int, width: int, classes: int, seed: int, temperature: float = 0.3) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(rows, width, generator=generator),
        torch.arange(rows) % classes,
        torch.softmax(torch.randn(rows, classes, generator=generator), dim=1),
        temperature,
        torch.randint(0, rows, (rows,), generator=generator),
    )


def gradients(loss: Loss, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Loss and its gradients with respect to fresh leaves with the values of the batch."""
    embeddings = batch.embeddings.clone().requires_grad_()
    probs = batch.probs.clone().requires_grad_()
    value = loss.fast(embeddings, batch.labels, probs, batch.temperature, batch.row_ids)
    value.backward()
    assert embeddings.grad is not None
    return value.detach(), embeddings.grad, probs.grad


def assert_gradients_match_the_loop(loss: Loss, batch: Batch) -> None:
    _, got_embeddings, got_probs = gradients(loss, batch)
    leaf = batch.embeddings.double().requires_grad_()
    prob_leaf = batch.probs.double().requires_grad_()
    ids = None if batch.row_ids is None else batch.row_ids.tolist()
    loss.autograd(leaf, batch.labels.tolist(), prob_leaf, batch.temperature, ids).backward()
    assert leaf.grad is not None
    assert prob_leaf.grad is not None
    for got, want, row in zip(got_embeddings.double(), leaf.grad, batch.embeddings.double(), strict=True):
        torch.testing.assert_close(got, want, rtol=2e-4, atol=5e-5 / (batch.temperature * row.norm().item()))
    if loss.uses_probs:
        assert got_probs is not None
        atol = 2e-5 * (15 + 2 / batch.temperature)
        torch.testing.assert_close(got_probs.double(), prob_leaf.grad, rtol=3e-4, atol=atol)
