"""Peer loss: both forms against plain float64 loops, the label shares, and the trainer replayed by hand."""

import itertools
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_model, make_tokenizer
from torch.nn import functional as F
from training import dataset_for, logged, make_trainer
from transformers import DataCollatorWithPadding, Trainer

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines.base import Batch
from lane_hf.baselines.label_prior import LabelPrior
from lane_hf.baselines.peer_loss import (
    PeerLossConfig,
    PeerLossTrainer,
    bounded_cross_entropy,
    expected_peer_term,
    peer_weight,
)
from lane_hf.step_rows import StepRows

AT_ONCE = {"peer_warmup": 0.0, "peer_ramp": 0.0}
MODES = pytest.mark.parametrize("mode", ["closed_form", "pairs"])


def slow_loss(row: list[float], label: int) -> float:
    powers = [math.exp(value - max(row)) for value in row]
    return -math.log(powers[label] / sum(powers) + 1e-5)


def slow_expected(row: list[float], counts: list[float]) -> float:
    return sum(count / sum(counts) * slow_loss(row, label) for label, count in enumerate(counts))


def random_logits(rows: int, labels: int, seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, labels, generator=generator)
    return logits, torch.randint(0, labels, (rows,), generator=generator)


def hand_made(logits: torch.Tensor, labels: torch.Tensor, finite: torch.Tensor | None = None) -> Batch:
    rows = len(labels)
    finite = torch.ones(rows) if finite is None else finite
    return Batch(logits, labels, finite, StepRows(torch.arange(rows), rows, rows, rows, 1), {}, labels)


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=PeerLossTrainer, args_kind=PeerLossConfig, **changes)


def watched(trainer: Trainer) -> list[Batch]:
    """Return a list that fills with the batches that the loss is computed from."""
    batches: list[Batch] = []
    loss_of = trainer.loss_of

    def watching(batch: Batch) -> torch.Tensor:
        batches.append(batch._replace(logits=batch.logits.detach().clone()))
        return loss_of(batch)

    trainer.loss_of = watching
    return batches


# ---- The formula ----


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 5), st.sampled_from([1, 5, 30]))
def test_losses_agree_with_loops(seed: int, rows: int, labels: int, scale: float) -> None:
    logits, given_labels = random_logits(rows, labels, seed, scale)
    got = bounded_cross_entropy(logits, given_labels)
    want = [slow_loss(row, label) for row, label in zip(logits.tolist(), given_labels.tolist(), strict=True)]
    torch.testing.assert_close(got, torch.tensor(want), rtol=1e-4, atol=1e-5)
    counts = torch.rand(labels, generator=torch.Generator().manual_seed(seed)) + 0.01
    expected = expected_peer_term(logits, counts / counts.sum())
    want = [slow_expected(row, counts.tolist()) for row in logits.tolist()]
    torch.testing.assert_close(expected, torch.tensor(want), rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_formula() -> None:
    logits, labels = random_logits(5, 4, seed=1)
    leaf, prior = logits.double().requires_grad_(), torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert torch.autograd.gradcheck(lambda values: bounded_cross_entropy(values, labels), (leaf,))
    assert torch.autograd.gradcheck(lambda values: expected_peer_term(values, prior.double()), (leaf,))


def test_closed_form_is_the_mean_over_all_pairs() -> None:
    logits, labels = random_logits(6, 3, seed=2)
    prior = torch.bincount(labels, minlength=3) / 6
    pairs = [slow_loss(logits[i].tolist(), int(labels[j])) for i, j in itertools.product(range(6), repeat=2)]
    assert expected_peer_term(logits, prior).mean().item() == pytest.approx(sum(pairs) / 36, rel=1e-5)


def test_a_prior_of_one_label_is_the_loss_of_that_label() -> None:
    logits, _ = random_logits(6, 3, seed=3)
    expected = expected_peer_term(logits, torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(expected, bounded_cross_entropy(logits, torch.ones(6, dtype=torch.int64)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_stay_below_the_bound_with_finite_gradients(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    losses = bounded_cross_entropy(logits, torch.tensor([0, 0, 1]))
    expected = expected_peer_term(logits, torch.tensor([0.5, 0.5]))
    (losses - expected).sum().backward()
    assert losses.dtype == expected.dtype == torch.float32
    assert losses.tolist() == pytest.approx([0, -math.log(1e-5), math.log(2)], abs=1e-4)
    assert logits.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision() -> None:
    logits, labels = random_logits(6, 3, seed=4)
    prior = torch.tensor([0.2, 0.3, 0.5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(expected_peer_term(logits, prior), expected_peer_term(logits.clone(), prior))
        got = expected_peer_term(logits, prior), bounded_cross_entropy(logits, labels)
    assert got[0].dtype == torch.float32
    torch.testing.assert_close(got, (expected_peer_term(logits, prior), bounded_cross_entropy(logits, labels)))


@pytest.mark.parametrize(
    ("progress", "warmup", "ramp", "want"),
    [
        (0.0, 0.1, 0.3, 0.0),
        (0.0999, 0.1, 0.3, 0.0),
        (0.25, 0.1, 0.3, 1.0),
        (0.4001, 0.1, 0.3, 2.0),
        (1.0, 0.1, 0.3, 2.0),
        (0.0, 0.0, 0.0, 2.0),
        (0.5, 0.5, 0.0, 2.0),
        (0.49, 0.5, 0.0, 0.0),
        (1.0, 0.5, 1.0, 1.0),
    ],
)
def test_weight_of_the_peer_term(progress: float, warmup: float, ramp: float, want: float) -> None:
    assert peer_weight(progress, 2.0, warmup, ramp) == pytest.approx(want, abs=1e-9)


# ---- The label shares ----


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=5))
def test_shares_are_those_of_all_labels_so_far(steps: list[list[int]]) -> None:
    prior = LabelPrior(4)
    for labels in steps:
        prior.update(torch.tensor(labels, dtype=torch.int64))
    seen = [label for labels in steps for label in labels]
    want = [seen.count(label) / max(len(seen), 1) for label in range(4)]
    assert prior.shares().tolist() == pytest.approx(want)
    again = LabelPrior(4)
    state = prior.state_dict()
    again.load_state_dict(state)
    assert torch.equal(again.shares(), prior.shares())
    prior.update(torch.tensor([0]))
    assert state["counts"].sum() == len(seen)  # a copy
    with pytest.raises(ValueError, match="counts has size"):
        LabelPrior(3).load_state_dict(state)


# ---- The trainer ----


@MODES
@pytest.mark.parametrize("finite", [[0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
def test_rows_that_are_not_finite_count_in_neither_loss_nor_score(
    tmp_path: Path, finite: list[float], mode: str
) -> None:
    trainer = make(tmp_path, peer_mode=mode, peer_alpha=0.5, **AT_ONCE)
    trainer.reset_rows()
    leaf = random_logits(len(finite), 4, seed=6)[0].requires_grad_()
    loss = trainer.loss_of(hand_made(leaf, torch.arange(len(finite)), torch.tensor(finite)))
    loss.backward()
    kept = torch.tensor(finite)
    assert loss.isfinite()
    assert torch.equal(leaf.grad.abs().sum(dim=1) > 0, kept > 0)
    assert trainer.scores.count[: len(finite)].tolist() == kept.int().tolist()
    if not any(finite):
        assert loss.item() == 0


def test_random_pairs_are_the_closed_form_on_average(tmp_path: Path) -> None:
    trainer = make(tmp_path, peer_mode="pairs", **AT_ONCE)
    trainer.reset_rows()
    logits, labels = random_logits(12, 4, seed=7, scale=1)
    torch.manual_seed(0)
    drawn = torch.stack([trainer.loss_of(hand_made(logits, labels)) for _ in range(2000)])
    expected = expected_peer_term(logits, torch.bincount(labels, minlength=4) / 12)
    closed = (bounded_cross_entropy(logits, labels) - expected).mean()
    error = drawn.std() / len(drawn) ** 0.5
    assert drawn.std() > 0.01
    assert abs(drawn.mean() - closed) < 5 * error


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1], [1]])
@MODES
def test_small_and_one_sided_batches_with_extreme_logits(tmp_path: Path, labels: list[int], mode: str) -> None:
    data = dataset_for("bert", num_labels=2)
    trainer = make(tmp_path, model=make_model("bert", num_labels=2), train_dataset=data, peer_mode=mode, **AT_ONCE)
    trainer.reset_rows()
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0], [3.0, 1.0]])[: len(labels)].requires_grad_()
    loss = trainer.loss_of(hand_made(logits, torch.tensor(labels)))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    if len(set(labels)) == 1:  # a random label is the given one
        assert loss.item() == pytest.approx(0, abs=1e-6)


def test_first_loss_is_the_formula_on_the_logits_of_the_model(tmp_path: Path) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, peer_alpha=0.8, **AT_ONCE)
    batches = watched(trainer)
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    rows = [trainer.train_dataset[index] for index in batches[0].rows.ids.tolist()]
    labels = [row.pop("label") for row in rows]
    with torch.no_grad():
        logits = model(**make_tokenizer().pad(rows, return_tensors="pt")).logits.tolist()
    counts = [labels.count(label) for label in range(4)]
    want = [slow_loss(z, y) - 0.8 * slow_expected(z, counts) for z, y in zip(logits, labels, strict=True)]
    assert logged(trainer, "loss")[0] == pytest.approx(sum(want) / len(want), abs=2e-5)


@pytest.mark.parametrize("views", [0, 2])
def test_every_loss_and_score_of_a_run_can_be_replayed(tmp_path: Path, views: int) -> None:
    collator: Any = DataCollatorWithPadding(make_tokenizer())
    if views:
        view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
        collator = ViewsCollator(collator, view, views, seed=0)
    trainer = make(tmp_path, data_collator=collator, peer_alpha=0.9, peer_warmup=0.25, peer_ramp=0.5)
    batches = watched(trainer)
    trainer.train()
    counts, losses, record = [0.0] * 4, [], defaultdict(list)
    for step, batch in enumerate(batches):
        entries = list(zip(batch.rows.ids.tolist(), batch.logits.tolist(), batch.labels.tolist(), strict=True))
        for row_id, _, label in entries[:: views + 1]:
            assert label == trainer.train_dataset["label"][row_id]
            counts[label] += 1
        for row_id, logits, label in entries[:: views + 1]:
            record[row_id].append(0.9 * slow_expected(logits, counts) - slow_loss(logits, label))
        alpha = 0.9 * min(max((step / 16 - 0.25) / 0.5, 0), 1)
        terms = [slow_loss(z, y) - alpha * slow_expected(z, counts) for _, z, y in entries]
        losses.append(sum(terms) / len(terms))
    assert len(batches[0].labels) == 8 * (views + 1)
    assert logged(trainer, "loss_method") == pytest.approx(losses, abs=2e-5)
    assert trainer.prior.state_dict()["counts"].tolist() == counts
    want = torch.tensor([sum(record[row]) / len(record[row]) for row in range(64)])
    torch.testing.assert_close(trainer.row_scores().scores, want, rtol=1e-4, atol=1e-5)


def test_pairs_are_judged_in_closed_form_too(tmp_path: Path) -> None:
    trainer = make(tmp_path, peer_mode="pairs", peer_alpha=0.5)
    trainer.reset_rows()
    logits, labels = random_logits(6, 4, seed=9)
    trainer.loss_of(hand_made(logits, labels))
    counts = torch.bincount(labels, minlength=4).tolist()
    want = [
        0.5 * slow_expected(z, counts) - slow_loss(z, int(y)) for z, y in zip(logits.tolist(), labels, strict=True)
    ]
    assert trainer.row_scores().scores[:6].tolist() == pytest.approx(want, abs=1e-5)


@MODES
def test_without_weight_it_is_bounded_cross_entropy(tmp_path: Path, mode: str) -> None:
    trainer = make(tmp_path, peer_mode=mode, peer_alpha=0.0, **AT_ONCE)
    trainer.reset_rows()
    logits, labels = random_logits(8, 4, seed=8, scale=1)
    loss = trainer.loss_of(hand_made(logits, labels))
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=2e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"peer_mode": "both"},
        {"peer_alpha": -1.0},
        {"peer_alpha": math.inf},
        {"peer_alpha": math.nan},
        {"peer_warmup": 1.5},
        {"peer_warmup": -0.1},
        {"peer_ramp": math.nan},
        {"peer_ramp": 2.0},
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        PeerLossConfig(output_dir=str(tmp_path), **options)
