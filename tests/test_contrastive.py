"""The three contrastive losses and their gradients against pair-by-pair float64 loops."""

from __future__ import annotations

import math

import pytest
import torch
from contrastive_losses import (
    LOSSES,
    Batch,
    assert_gradients_match_the_loop,
    batches,
    each_loss,
    each_weighted_loss,
    gradients,
    random_batch,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from references import (
    central_difference,
)

from lane_hf.contrastive import (
    label_aware_contrastive_loss,
    label_contrastive_loss,
    supervised_contrastive_loss,
)


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
