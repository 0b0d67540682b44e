"""LabelInterpolationTrainer: the loss of hand-made batches, whole runs replayed by hand, and options."""

import math
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from interpolation_references import SlowRecord, random_logits, slow_ce, slow_divergence, slow_soft_ce
from references import slow_softmax, slow_target
from tiny import make_model, make_tokenizer
from torch.nn import functional as F
from training import dataset_for, logged, make_trainer
from transformers import DataCollatorWithPadding, Trainer

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines.base import Batch
from lane_hf.baselines.label_interpolation import (
    LabelInterpolationConfig,
    LabelInterpolationTrainer,
)
from lane_hf.step_rows import StepRows


def hand_made(
    logits: torch.Tensor, labels: torch.Tensor, finite: list[float] | None = None, ids: list[int] | None = None
) -> Batch:
    rows = len(labels)
    each = torch.ones(rows) if finite is None else torch.tensor(finite)
    step = StepRows(torch.arange(rows) if ids is None else torch.tensor(ids), rows, rows, rows, 1)
    return Batch(logits, labels, each, step, {}, labels)


def with_views(views: int) -> ViewsCollator:
    view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
    return ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, views, seed=0)


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=LabelInterpolationTrainer, args_kind=LabelInterpolationConfig, **changes)


def begun(trainer: Trainer, epoch: float, progress: float) -> Trainer:
    """Return the trainer as it is at some point of a run."""
    if trainer.divergences is None:
        trainer.reset_rows()
    trainer.state.epoch, trainer.state.max_steps = epoch, 100
    trainer.state.global_step = round(100 * progress)
    return trainer


def observe(trainer: Trainer, batch: Batch) -> None:
    """Record what `training_loss` records before the loss is computed."""
    statistics = trainer.row_statistics
    statistics.record(statistics.observe(batch.rows.ids, batch.labels, batch.logits))


def watched(trainer: Trainer) -> list[tuple[Batch, float, float]]:
    """Return a list that fills with the batches, the epochs they came in, and their losses."""
    seen: list[tuple[Batch, float, float]] = []
    loss_of = trainer.loss_of

    def watching(batch: Batch) -> torch.Tensor:
        loss = loss_of(batch)
        copied = batch._replace(logits=batch.logits.detach().clone())
        seen.append((copied, trainer.state.epoch or 0.0, loss.item()))
        return loss

    trainer.loss_of = watching
    return seen


# ---- The loss of a hand-made batch ----


@pytest.mark.parametrize("progress", [0.3, 0.8])
def test_loss_uses_what_was_known_before_the_visit(tmp_path: Path, progress: float) -> None:
    trainer = make(tmp_path, interpolation_warmup=1.0)
    ids = [3, 60, 7, 20, 5]
    first, labels = random_logits(5, 4, seed=3)
    labels[:] = torch.tensor([0, 0, 0, 2, 1])
    warm = hand_made(first.clone().requires_grad_(), labels, ids=ids)
    observe(begun(trainer, 0.0, 0.0), warm)
    assert trainer.loss_of(warm).item() == pytest.approx(F.cross_entropy(first, labels).item())
    record = SlowRecord()
    rows = list(zip(ids, first.tolist(), labels.tolist(), strict=True))
    record.last = {row: (label, slow_divergence(slow_softmax(scores), label)) for row, scores, label in rows}
    record.begin_epoch()

    second = random_logits(5, 4, seed=4)[0].requires_grad_()
    loss = begun(trainer, 1.0, progress).loss_of(hand_made(second, labels, ids=ids))
    loss.backward()
    beta = 0.4 * (1 - progress / 0.5) if progress < 0.5 else 0.0
    targets = []
    for row, scores, label in zip(ids, second.tolist(), labels.tolist(), strict=True):
        share = (1 - beta) * record.share(row, label) + 0.5 * beta
        targets.append(slow_target(scores, label, share, 0.5))
    want = [slow_soft_ce(row, target) for row, target in zip(second.tolist(), targets, strict=True)]
    assert loss.item() == pytest.approx(sum(want) / 5, rel=1e-4)
    # No gradient through the target: what is left of that of a cross-entropy is p - target.
    gradient = (second.detach().softmax(dim=1) - torch.tensor(targets)) / 5
    torch.testing.assert_close(second.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("finite", [[0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
@pytest.mark.parametrize("num_labels", [2, 4])
def test_rows_that_are_not_finite_count_in_neither_loss_nor_record(
    tmp_path: Path, finite: list[float], num_labels: int
) -> None:
    trainer = make(tmp_path, interpolation_warmup=0.0)
    logits, labels = random_logits(len(finite), num_labels, seed=5)
    kept = torch.tensor(finite)
    leaf = (logits * kept[:, None]).requires_grad_()
    loss = begun(trainer, 0.0, 0.0).loss_of(hand_made(leaf, labels, finite))
    loss.backward()
    want = 0.0
    for row, label, counts in zip(logits.tolist(), labels.tolist(), finite, strict=True):
        want += counts * slow_soft_ce(row, slow_target(row, label, 0.2, 0.5)) / len(finite)
    assert loss.item() == pytest.approx(want, rel=1e-4, abs=1e-7)
    assert torch.equal(leaf.grad.abs().sum(dim=1) > 0, kept > 0)
    probs = trainer.divergences.state_dict()["probs"]
    assert torch.equal(probs[: len(finite)] >= 0, kept > 0)
    assert trainer.scores.count[: len(finite)].tolist() == kept.int().tolist()
    assert trainer.row_scores().scores.isfinite().all()


def test_extreme_logits_give_a_finite_loss_and_gradient(tmp_path: Path) -> None:
    trainer = begun(make(tmp_path, interpolation_warmup=0.0), 0.0, 0.0)
    for _ in range(2):
        logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], requires_grad=True)
        loss = trainer.loss_of(hand_made(logits, torch.tensor([0, 0, 1])))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()
        trainer.state.epoch = 1.0


def test_views_of_a_row_that_is_not_finite_have_no_target(tmp_path: Path) -> None:
    trainer = begun(make(tmp_path, interpolation_warmup=0.0, data_collator=with_views(1)), 0.0, 0.0)
    logits, _ = random_logits(6, 3, seed=6)
    labels, finite = torch.tensor([0, 0, 1, 1, 2, 2]), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    leaf = (logits * torch.tensor(finite)[:, None]).requires_grad_()
    loss = trainer.loss_of(hand_made(leaf, labels, finite, ids=[0, 0, 1, 1, 2, 2]))
    loss.backward()
    want = slow_soft_ce(logits[1].tolist(), slow_target(logits[0].tolist(), 0, 0.2, 0.5)) / 3
    assert loss.item() == pytest.approx(want, rel=1e-5)
    assert (leaf.grad.abs().sum(dim=1) > 0).tolist() == [False, True, False, False, False, False]


# ---- The trainer ----


@pytest.mark.parametrize(("warmup", "share"), [(1.0, 0.0), (0.0, 0.2)])
def test_first_loss_is_the_formula_on_the_logits_of_the_model(tmp_path: Path, warmup: float, share: float) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, interpolation_warmup=warmup)
    seen = watched(trainer)
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    ids = seen[0][0].rows.ids.tolist()
    rows = [trainer.train_dataset[index] for index in ids]
    labels = [row.pop("label") for row in rows]
    with torch.no_grad():
        logits = model(**make_tokenizer().pad(rows, return_tensors="pt")).logits.tolist()
    targets = [slow_target(row, label, share, 0.5) for row, label in zip(logits, labels, strict=True)]
    want = sum(slow_soft_ce(row, target) for row, target in zip(logits, targets, strict=True)) / len(rows)
    assert logged(trainer, "loss")[0] == pytest.approx(want, abs=2e-5)
    assert logged(trainer, "interpolation/mean_share")[0] == pytest.approx(share, abs=1e-6)
    agreement = [1 - slow_divergence(slow_softmax(row), label) for row, label in zip(logits, labels, strict=True)]
    torch.testing.assert_close(trainer.row_scores().scores[ids], torch.tensor(agreement), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("views", [0, 2])
def test_a_run_replayed_by_hand(tmp_path: Path, views: int) -> None:
    options: dict[str, Any] = {"num_train_epochs": 4, "interpolation_warmup": 1.5, "learning_rate": 3e-3}
    options |= {"interpolation_temperature": 0.7, "interpolation_a": 0.6, "interpolation_gamma": 0.3}
    if views:
        options["data_collator"] = with_views(views)
    trainer = make(tmp_path, **options, interpolation_decay=0.75)
    seen = watched(trainer)
    trainer.train()
    record, agreements = SlowRecord(), defaultdict(list)
    each, interpolated = views + 1, []
    assert len(seen) == 32
    for step, (batch, epoch, loss) in enumerate(seen):
        if step % 8 == 0:
            record.begin_epoch()
        assert epoch == pytest.approx(step / 8)
        logits, labels = batch.logits.tolist(), batch.labels.tolist()
        losses, beta = [], max(0.6 * (1 - step / 32 / 0.75), 0.0)
        for start in range(0, len(labels), each):
            row, label = int(batch.rows.ids[start]), labels[start]
            share = (1 - beta) * record.share(row, label) + 0.3 * beta
            target = slow_target(logits[start], label, share, 0.7)
            if epoch < 1.5:
                losses += [slow_ce(logits[start + view], label) for view in range(each)]
            else:
                losses += [slow_soft_ce(logits[start + view], target) for view in range(min(views, 1), each)]
                interpolated.append(share)
        for start in range(0, len(labels), each):
            divergence = slow_divergence(slow_softmax(logits[start]), labels[start])
            record.last[int(batch.rows.ids[start])] = labels[start], divergence
            agreements[int(batch.rows.ids[start])].append(1 - divergence)
        assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-3)
    assert len(interpolated) == 20 * 8
    assert max(interpolated) > 0.9, "some labels gave way"
    assert min(interpolated) < 0.05
    want = torch.tensor([sum(agreements[row]) / 4 for row in range(64)])
    torch.testing.assert_close(trainer.row_scores().scores, want, rtol=1e-4, atol=1e-5)
    table = trainer.label_issues()
    assert table["score"].tolist() == pytest.approx(want[table["row_id"].tolist()].tolist(), abs=1e-5)
    assert (table["weight"] == 1).all()


def test_wrong_labels_get_lower_scores(tmp_path: Path) -> None:
    clean = dataset_for("bert", 256)
    wrong = torch.rand(256, generator=torch.Generator().manual_seed(1)) < 0.2
    labels = [(label + 1) % 4 if bad else label for label, bad in zip(clean["label"], wrong.tolist(), strict=True)]
    trainer = make(
        tmp_path,
        train_dataset=clean.remove_columns("label").add_column("label", labels),
        num_train_epochs=4,
        learning_rate=3e-3,
    )
    trainer.train()
    scores = trainer.row_scores().scores
    assert (scores[wrong][:, None] < scores[~wrong][None]).float().mean() > 0.8


def test_a_warmup_that_covers_training_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="interpolation_warmup=1 covers all 1 epochs"):
        make(tmp_path, num_train_epochs=1).train()
    with pytest.warns(UserWarning, match="interpolation_warmup=1 covers all 0.125 epochs"):
        make(tmp_path, num_train_epochs=2, max_steps=1).train()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="interpolation_warmup")
        make(tmp_path, num_train_epochs=1, max_steps=9).train()
        make(tmp_path, num_train_epochs=1, interpolation_warmup=0.5).train()


@pytest.mark.parametrize(
    "wrong",
    [
        {"interpolation_temperature": 0.0},
        {"interpolation_temperature": 1.5},
        {"interpolation_temperature": math.nan},
        {"interpolation_a": -0.1},
        {"interpolation_a": 1.1},
        {"interpolation_gamma": 1.1},
        {"interpolation_decay": -0.1},
        {"interpolation_decay": math.nan},
        {"interpolation_warmup": -1.0},
        {"interpolation_warmup": math.nan},
        {"interpolation_warmup": math.inf},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        LabelInterpolationConfig(output_dir=str(tmp_path), **wrong)
