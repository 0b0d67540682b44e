"""Early-learning regularization: the formula against plain float64 loops, and a whole run replayed by hand."""

import math
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
from lane_hf.baselines.elr import (
    ElrConfig,
    ElrTrainer,
    TemporalTargets,
    clamped_probabilities,
    early_learning_term,
)
from lane_hf.step_rows import StepRows

Targets = dict[int, list[float]]


def slow_probs(row: list[float]) -> list[float]:
    highest = max(row)
    powers = [math.exp(value - highest) for value in row]
    return [min(max(power / sum(powers), 1e-4), 1 - 1e-4) for power in powers]


def slow_update(targets: Targets, row_id: int, probs: list[float], beta: float) -> None:
    old = targets.get(row_id, [0.0] * len(probs))
    targets[row_id] = [beta * before + (1 - beta) * p / sum(probs) for before, p in zip(old, probs, strict=True)]


def slow_term(probs: list[float], target: list[float]) -> float:
    return math.log(max(1 - sum(p * t for p, t in zip(probs, target, strict=True)), 1e-4))


def slow_cross_entropy(row: list[float], label: int) -> float:
    return max(row) + math.log(sum(math.exp(value - max(row)) for value in row)) - row[label]


def random_logits(rows: int, labels: int, seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, labels, generator=generator)
    return logits, torch.randint(0, labels, (rows,), generator=generator)


def hand_made(
    logits: torch.Tensor, labels: torch.Tensor, finite: torch.Tensor | None = None, ids: torch.Tensor | None = None
) -> Batch:
    rows = len(labels)
    finite = torch.ones(rows) if finite is None else finite
    ids = torch.arange(rows) if ids is None else ids
    return Batch(logits, labels, finite, StepRows(ids, rows, rows, rows, 1), {}, labels)


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=ElrTrainer, args_kind=ElrConfig, **changes)


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
def test_term_agrees_with_loops(seed: int, rows: int, labels: int, scale: float) -> None:
    logits, _ = random_logits(rows, labels, seed, scale)
    targets = random_logits(rows, labels, seed + 1, scale)[0].softmax(dim=1) * 0.9
    probs = clamped_probabilities(logits)
    want = [slow_probs(row) for row in logits.tolist()]
    torch.testing.assert_close(probs, torch.tensor(want), rtol=1e-5, atol=1e-7)
    got = early_learning_term(probs, targets)
    terms = [slow_term(p, t) for p, t in zip(want, targets.tolist(), strict=True)]
    torch.testing.assert_close(got, torch.tensor(terms), rtol=1e-4, atol=1e-5)


def test_gradient_is_that_of_the_formula() -> None:
    logits, _ = random_logits(5, 4, seed=1, scale=1)
    targets = random_logits(5, 4, seed=2)[0].softmax(dim=1).double() * 0.7
    leaf = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: early_learning_term(clamped_probabilities(z), targets), (leaf,))


def test_no_gradient_flows_into_the_targets() -> None:
    logits, _ = random_logits(3, 3, seed=3)
    targets = torch.full((3, 3), 0.2, requires_grad=True)
    early_learning_term(clamped_probabilities(logits.requires_grad_()), targets).sum().backward()
    assert targets.grad is None
    assert logits.grad.abs().sum() > 0


def test_term_falls_as_probabilities_agree_with_the_target() -> None:
    targets = torch.tensor([[0.8, 0.1, 0.0]]).expand(3, 3)
    logits = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    terms = early_learning_term(clamped_probabilities(logits), targets)
    assert terms[0] > terms[1] > terms[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("labels", [2, 3, 40])
def test_extreme_logits_give_finite_terms_and_gradients(dtype: torch.dtype, labels: int) -> None:
    logits = torch.zeros(3, labels, dtype=dtype)
    logits[0, 0], logits[0, 1], logits[1, 1] = 1e4, -1e4, 1e4
    logits.requires_grad_()
    targets = torch.zeros(3, labels)
    targets[:, 0] = 1.0
    probs = clamped_probabilities(logits)
    terms = early_learning_term(probs, targets)
    terms.sum().backward()
    assert probs.dtype == torch.float32
    assert terms.isfinite().all()
    assert terms[0].item() == pytest.approx(math.log(1e-4), rel=1e-3)
    assert logits.grad.isfinite().all()


def test_term_has_a_floor_even_where_the_target_is_no_distribution() -> None:
    probs = torch.tensor([[0.9, 0.1]], requires_grad=True)
    term = early_learning_term(probs, torch.tensor([[2.0, 2.0]]))
    term.sum().backward()
    assert term.item() == pytest.approx(math.log(1e-4))
    assert probs.grad.isfinite().all()


# ---- The targets ----


@given(st.integers(0, 10**6), st.floats(0, 0.99), st.integers(2, 4))
def test_targets_agree_with_loops(seed: int, beta: float, labels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets, slow = TemporalTargets(5, labels, beta), {}
    for step in range(4):
        ids = torch.randint(-1, 5, (6,), generator=generator)
        probs = clamped_probabilities(random_logits(6, labels, seed + step)[0])
        targets.update(ids, probs)
        seen = set()
        for row_id, row in zip(ids.tolist(), probs.tolist(), strict=True):
            if row_id >= 0 and row_id not in seen:
                slow_update(slow, row_id, row, beta)
            seen.add(row_id)
    want = torch.tensor([slow.get(row_id, [0.0] * labels) for row_id in range(5)])
    torch.testing.assert_close(targets.of(torch.arange(5)), want, rtol=1e-5, atol=1e-6)
    assert targets.of(torch.tensor([-1])).tolist() == [[0.0] * labels]
    given_labels = torch.tensor([0, 1, 0, 1, 0])
    shares = targets.agreement(given_labels)
    for row_id in range(5):
        if row_id in slow:
            share = slow[row_id][int(given_labels[row_id])] / sum(slow[row_id])
            assert shares[row_id].item() == pytest.approx(share, rel=1e-4)
        else:
            assert math.isnan(shares[row_id])


def test_a_target_after_n_visits_sums_to_one_minus_beta_to_the_n() -> None:
    targets = TemporalTargets(1, 3, beta=0.7)
    for visits in range(1, 5):
        targets.update(torch.tensor([0]), torch.tensor([[0.2, 0.2, 0.2]]))
        assert targets.of(torch.tensor([0])).sum().item() == pytest.approx(1 - 0.7**visits, rel=1e-5)
        assert targets.agreement(torch.tensor([2])).item() == pytest.approx(1 / 3, rel=1e-5)


def test_state_comes_back_and_another_size_is_refused() -> None:
    targets = TemporalTargets(3, 2, beta=0.5)
    targets.update(torch.tensor([2, 0]), torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    again = TemporalTargets(3, 2, beta=0.5)
    state = targets.state_dict()
    again.load_state_dict(state)
    targets.update(torch.tensor([1]), torch.tensor([[0.5, 0.5]]))
    assert state["rows"][1].tolist() == [0.0, 0.0]  # a copy
    assert torch.equal(again.of(torch.tensor([0, 2])), targets.of(torch.tensor([0, 2])))
    with pytest.raises(ValueError, match="rows has size"):
        TemporalTargets(4, 2, beta=0.5).load_state_dict(state)
    with pytest.raises(IndexError):
        targets.update(torch.tensor([3]), torch.tensor([[0.5, 0.5]]))


# ---- The trainer ----


@pytest.mark.parametrize("finite", [[0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
def test_rows_that_are_not_finite_change_neither_loss_nor_targets(tmp_path: Path, finite: list[float]) -> None:
    trainer = make(tmp_path)
    trainer.reset_rows()
    logits, labels = random_logits(len(finite), 4, seed=6)
    leaf = logits.clone().requires_grad_()
    loss = trainer.loss_of(hand_made(leaf, labels, torch.tensor(finite)))
    loss.backward()
    kept = torch.tensor(finite)
    assert loss.isfinite()
    assert torch.equal(leaf.grad.abs().sum(dim=1) > 0, kept > 0)
    assert torch.equal(trainer.targets.of(torch.arange(len(finite))).sum(dim=1) > 0, kept > 0)
    if not any(finite):
        assert loss.item() == 0


def test_a_process_with_fillers_only_changes_no_target(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.reset_rows()
    logits, labels = random_logits(1, 4, seed=7)
    loss = trainer.loss_of(hand_made(logits.requires_grad_(), labels, ids=torch.tensor([-1])))
    assert loss.isfinite()
    assert trainer.targets.of(torch.arange(64)).sum() == 0


def test_without_regularization_it_is_cross_entropy(tmp_path: Path) -> None:
    trainer = make(tmp_path, elr_lambda=0.0)
    trainer.reset_rows()
    logits, labels = random_logits(8, 4, seed=8)
    loss = trainer.loss_of(hand_made(logits, labels))
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1], [1]])
def test_small_and_one_sided_batches_with_extreme_logits(tmp_path: Path, labels: list[int]) -> None:
    trainer = make(tmp_path, model=make_model("bert", num_labels=2), train_dataset=dataset_for("bert", num_labels=2))
    trainer.reset_rows()
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0], [3.0, 1.0]])[: len(labels)].requires_grad_()
    for _ in range(3):
        loss = trainer.loss_of(hand_made(logits, torch.tensor(labels)))
        loss.backward()
        assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_first_loss_is_the_formula_on_the_logits_of_the_model(tmp_path: Path) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, elr_beta=0.6, elr_lambda=2.0)
    batches = watched(trainer)
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    rows = [trainer.train_dataset[index] for index in batches[0].rows.ids.tolist()]
    labels = [row.pop("label") for row in rows]
    with torch.no_grad():
        logits = model(**make_tokenizer().pad(rows, return_tensors="pt")).logits
    want = []
    for row, label in zip(logits.tolist(), labels, strict=True):
        probs = slow_probs(row)
        target = [0.4 * p / sum(probs) for p in probs]
        want.append(slow_cross_entropy(row, label) + 2.0 * slow_term(probs, target))
    assert logged(trainer, "loss")[0] == pytest.approx(sum(want) / len(want), abs=2e-5)


@pytest.mark.parametrize("views", [0, 2])
def test_every_loss_and_score_of_a_run_can_be_replayed(tmp_path: Path, views: int) -> None:
    collator: Any = DataCollatorWithPadding(make_tokenizer())
    if views:
        view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
        collator = ViewsCollator(collator, view, views, seed=0)
    trainer = make(tmp_path, data_collator=collator, num_train_epochs=3)
    batches = watched(trainer)
    trainer.train()
    targets: Targets = {}
    losses = []
    for batch in batches:
        entries = list(zip(batch.rows.ids.tolist(), batch.logits.tolist(), batch.labels.tolist(), strict=True))
        for row_id, logits, _ in entries[:: views + 1]:
            slow_update(targets, row_id, slow_probs(logits), 0.7)
        terms = [slow_cross_entropy(z, y) + 3 * slow_term(slow_probs(z), targets[row]) for row, z, y in entries]
        losses.append(sum(terms) / len(terms))
    assert len(batches[0].labels) == 8 * (views + 1)
    assert logged(trainer, "loss_method") == pytest.approx(losses, abs=2e-5)
    given_labels = trainer.train_dataset["label"]
    want = torch.tensor([targets[row][given_labels[row]] / sum(targets[row]) for row in range(64)])
    torch.testing.assert_close(trainer.row_scores().scores, want, rtol=1e-4, atol=1e-6)
    table = trainer.label_issues()
    assert table["score"].to_numpy() == pytest.approx(want[table["row_id"].tolist()].numpy(), abs=1e-5)


def test_rows_never_seen_have_no_score(tmp_path: Path) -> None:
    trainer = make(tmp_path, max_steps=3)
    trainer.train()
    scores = trainer.row_scores().scores
    assert torch.equal(scores.isnan(), trainer.row_statistics.visits == 0)
    assert scores.isnan().sum() == 64 - 24
    assert trainer.label_issues()["score"].isna().sum() == 40


@pytest.mark.parametrize(
    "options",
    [
        {"elr_beta": 1.0},
        {"elr_beta": -0.1},
        {"elr_beta": math.nan},
        {"elr_lambda": -1.0},
        {"elr_lambda": math.inf},
        {"elr_lambda": math.nan},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        ElrConfig(output_dir=str(tmp_path), **options)
