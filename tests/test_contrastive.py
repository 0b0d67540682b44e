"""The three contrastive losses and their gradients against pair-by-pair float64 loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from references import (
    autograd_label_aware_contrastive,
    autograd_label_contrastive,
    autograd_supervised_contrastive,
    central_difference,
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


@each_loss
@settings(deadline=None, max_examples=150)
@given(batch=batches(scales=(1.0, 1.0, 0.0, 100.0)))
def test_loss_equals_the_pairwise_reference(name: str, batch: Batch) -> None:
    loss = LOSSES[name]
    got = loss.fast(batch.embeddings, batch.labels, batch.probs, batch.temperature, batch.row_ids)
    assert got.dtype == torch.float32
    assert got.shape == ()
    assert got.item() == pytest.approx(loss.slow(*batch.lists()), rel=2e-5, abs=5e-6 * (3 + 1 / batch.temperature))


@each_loss
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradients_of_a_larger_batch_equal_the_pairwise_reference(name: str, seed: int) -> None:
    batch = random_batch(rows=24, width=16, classes=5, seed=seed)
    loss = LOSSES[name]
    assert gradients(loss, batch)[0].item() == pytest.approx(loss.slow(*batch.lists()), rel=1e-5)
    assert_gradients_match_the_loop(loss, batch)


@each_loss
@settings(deadline=None, max_examples=60)
@given(batch=batches(scales=(1.0, 30.0), dtypes=st.just(torch.float32)))
def test_gradients_equal_those_of_the_pairwise_reference(name: str, batch: Batch) -> None:
    too_short = batch.embeddings.norm(dim=1) < 0.05
    embeddings = torch.where(too_short[:, None], torch.ones(()), batch.embeddings)
    assert_gradients_match_the_loop(LOSSES[name], batch._replace(embeddings=embeddings))


@each_loss
def test_gradients_equal_central_differences(name: str) -> None:
    batch = random_batch(rows=6, width=3, classes=2, seed=3, temperature=0.5)._replace(row_ids=None)
    loss = LOSSES[name]
    embeddings, labels, probs, temperature, ids = batch.lists()
    _, got_embeddings, got_probs = gradients(loss, batch)
    want = central_difference(lambda moved: loss.slow(moved, labels, probs, temperature, ids), embeddings)
    torch.testing.assert_close(got_embeddings, torch.tensor(want), rtol=1e-4, atol=1e-5)
    if loss.uses_probs:
        assert got_probs is not None
        want = central_difference(lambda moved: loss.slow(embeddings, labels, moved, temperature, ids), probs)
        torch.testing.assert_close(got_probs, torch.tensor(want), rtol=1e-4, atol=1e-5)


def test_label_aware_loss_of_a_worked_example_has_only_negatives_in_the_denominator() -> None:
    embeddings = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    probs = torch.tensor([[0.5, 0.25], [0.8, 0.1], [0.3, 0.7]])
    got = label_aware_contrastive_loss(embeddings, torch.tensor([0, 0, 1]), probs, temperature=2.0)
    first = -(math.log(0.5) + 0.5 - (math.log(0.25) + 0.0))
    second = -(math.log(0.8) + 0.5 - (math.log(0.1) + 0.0))
    assert got.item() == pytest.approx((first + second + 0.0) / 3, rel=1e-5)


def test_supervised_loss_of_a_worked_example() -> None:
    embeddings = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    got = supervised_contrastive_loss(embeddings, torch.tensor([0, 0, 1]), temperature=2.0)
    assert got.item() == pytest.approx(-2 * (0.5 - math.log(math.exp(0.5) + 1.0)) / 3, rel=1e-5)


def test_label_contrastive_loss_of_a_worked_example() -> None:
    embeddings = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    probs = torch.tensor([[0.5, 0.25], [0.8, 0.1], [0.3, 0.7]])
    got = label_contrastive_loss(embeddings, torch.tensor([0, 0, 1]), probs, temperature=2.0)
    first = -0.5 * (0.5 - math.log(0.5 * math.exp(0.5) + 0.25))
    second = -0.8 * (0.5 - math.log(0.8 * math.exp(0.5) + 0.1))
    assert got.item() == pytest.approx((first + second) / 3, rel=1e-5)


@each_loss
def test_the_default_temperature_is_three_tenths(name: str) -> None:
    batch = random_batch(rows=8, width=4, classes=2, seed=5)
    loss = LOSSES[name]
    got = loss.fast(batch.embeddings, batch.labels, batch.probs)
    embeddings, labels, probs, _, _ = batch.lists()
    assert got.item() == pytest.approx(loss.slow(embeddings, labels, probs, 0.3), rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.lists(st.integers(2, 5), min_size=2, max_size=4), st.sampled_from([0.1, 0.3, 1.0]))
def test_supervised_loss_agrees_with_pytorch_metric_learning(seed: int, sizes: list[int], temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    embeddings = torch.randn(len(labels), 6, generator=generator)
    ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    got = supervised_contrastive_loss(ours, labels, temperature=temperature)
    want = SupConLoss(temperature=temperature)(theirs, labels)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    got.backward()
    want.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)


@each_loss
def test_an_anchor_without_positives_counts_in_the_mean_and_adds_nothing(name: str) -> None:
    batch = random_batch(rows=4, width=3, classes=3, seed=7)._replace(
        labels=torch.tensor([0, 0, 1, 2]), row_ids=torch.arange(4)
    )
    loss = LOSSES[name]
    _, labels, _, _, _ = batch.lists()
    with_lonely = loss.fast(batch.embeddings, batch.labels, batch.probs, batch.temperature)
    assert labels == [0, 0, 1, 2]
    changed = batch.probs.clone()
    changed[2:] = torch.tensor([0.9, 0.05, 0.05])
    assert loss.fast(batch.embeddings, batch.labels, changed, batch.temperature).item() == with_lonely.item()
    assert with_lonely.item() == pytest.approx(loss.slow(*batch.lists()), rel=1e-5)


@each_loss
@settings(deadline=None, max_examples=40)
@given(batch=batches(dtypes=st.just(torch.float32)), order_seed=st.integers(0, 1000))
def test_loss_does_not_depend_on_the_order_of_the_rows(name: str, batch: Batch, order_seed: int) -> None:
    order = torch.randperm(len(batch.labels), generator=torch.Generator().manual_seed(order_seed))
    fast = LOSSES[name].fast
    ids = None if batch.row_ids is None else batch.row_ids[order]
    first = fast(batch.embeddings, batch.labels, batch.probs, batch.temperature, batch.row_ids)
    second = fast(batch.embeddings[order], batch.labels[order], batch.probs[order], batch.temperature, ids)
    torch.testing.assert_close(first, second, rtol=2e-5, atol=5e-6 * (3 + 1 / batch.temperature))


@each_loss
def test_loss_depends_on_the_direction_of_the_embeddings_only(name: str) -> None:
    batch = random_batch(rows=9, width=4, classes=3, seed=11)
    stretched = batch.embeddings * torch.tensor([1e-3, 0.1, 1.0, 7.0, 50.0, 1e3, 1e4, 2.0, 0.5])[:, None]
    fast = LOSSES[name].fast
    first = fast(batch.embeddings, batch.labels, batch.probs)
    torch.testing.assert_close(fast(stretched, batch.labels, batch.probs), first, rtol=1e-5, atol=1e-6)


def test_label_aware_loss_does_not_change_when_a_row_of_probabilities_is_rescaled() -> None:
    batch = random_batch(rows=9, width=4, classes=3, seed=13)
    factors = torch.linspace(0.05, 3.0, 9)[:, None]
    first = label_aware_contrastive_loss(batch.embeddings, batch.labels, batch.probs)
    second = label_aware_contrastive_loss(batch.embeddings, batch.labels, batch.probs * factors)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_label_contrastive_loss_with_probabilities_of_one_is_the_supervised_loss() -> None:
    batch = random_batch(rows=9, width=4, classes=3, seed=17)
    first = label_contrastive_loss(batch.embeddings, batch.labels, torch.ones(9, 3), 0.2, batch.row_ids)
    second = supervised_contrastive_loss(batch.embeddings, batch.labels, 0.2, batch.row_ids)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@each_weighted_loss
@pytest.mark.parametrize("tiny", [0.0, 1e-12, 1e-6])
def test_probabilities_are_floored_at_one_millionth(name: str, tiny: float) -> None:
    batch = random_batch(rows=6, width=4, classes=3, seed=19)
    probs = batch.probs.clone()
    probs[0, :] = torch.tensor([tiny, 0.5, 0.5])
    probs[1, :] = torch.tensor([tiny, 1.0, tiny])
    got = LOSSES[name].fast(batch.embeddings, batch.labels, probs)
    embeddings, labels, _, _, _ = batch.lists()
    assert got.item() == pytest.approx(LOSSES[name].slow(embeddings, labels, probs.tolist(), 0.3), rel=1e-5)
    at_floor = LOSSES[name].fast(batch.embeddings, batch.labels, probs.clamp(min=1e-6))
    assert got.item() == pytest.approx(at_floor.item(), rel=1e-6)


@each_loss
def test_distinct_row_ids_change_nothing(name: str) -> None:
    batch = random_batch(rows=8, width=4, classes=3, seed=23)
    fast = LOSSES[name].fast
    first = fast(batch.embeddings, batch.labels, batch.probs, 0.3)
    second = fast(batch.embeddings, batch.labels, batch.probs, 0.3, torch.arange(8) + 10**9)
    torch.testing.assert_close(first, second, rtol=1e-6, atol=0)


@each_loss
def test_two_copies_of_a_row_are_no_pair_when_their_row_ids_are_equal(name: str) -> None:
    batch = random_batch(rows=5, width=4, classes=2, seed=29)._replace(labels=torch.tensor([0, 0, 1, 1, 1]))
    twice = torch.tensor([0, 0, 2, 3])
    copies = Batch(batch.embeddings[twice], batch.labels[twice], batch.probs[twice], 0.3, twice)
    loss = LOSSES[name]
    got = loss.fast(*copies)
    assert got.item() == pytest.approx(loss.slow(*copies.lists()), rel=1e-5)
    assert abs(got.item() - loss.fast(*copies[:4], None).item()) > 1e-3


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
