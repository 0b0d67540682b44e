"""HmwTrainer: the loss of hand-made batches, whole runs replayed by hand, and options."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hmw_references import normals, slow_cross_entropy, slow_distance, slow_slice, slow_weight
from tiny import make_model, make_tokenizer
from torch.nn import functional as F
from training import dataset_for, logged, make_trainer
from transformers import DataCollatorWithPadding, Trainer

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines.base import Batch
from lane_hf.baselines.hmw import (
    HmwConfig,
    HmwTrainer,
)
from lane_hf.step_rows import StepRows


def hand_made(
    logits: torch.Tensor,
    distances: torch.Tensor,
    labels: torch.Tensor,
    finite: list[float] | None = None,
    ids: list[int] | None = None,
) -> Batch:
    rows = len(labels)
    each = torch.ones(rows) if finite is None else torch.tensor(finite)
    ids = list(range(rows)) if ids is None else ids
    step = StepRows(torch.tensor(ids), rows, rows, rows, 1)
    return Batch(logits, labels, each, step, {"distances": distances}, labels)


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=HmwTrainer, args_kind=HmwConfig, **changes)


def watched(trainer: Trainer) -> list[tuple[Batch, float, float]]:
    """Return a list that fills with the batches, their epochs and their losses."""
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


@pytest.mark.parametrize(("normalize", "rho"), [(False, 0.01), (True, 0.01), (False, 0.5), (False, 1.0)])
def test_loss_is_the_cross_entropy_times_weights_that_include_this_visit(
    tmp_path: Path, normalize: bool, rho: float
) -> None:
    trainer = make(tmp_path, hmw_warmup=0.0, normalize_logits=normalize, hmw_rho=rho)
    trainer.reset_rows()
    trainer.state.max_steps, trainer.state.num_train_epochs = 10, 2
    labels, ids = torch.tensor([0, 1, 2, 1]), [9, 4, 6, 0]
    visits: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for epoch in (0, 1):
        trainer.state.epoch = float(epoch)
        logits = (3 * normals(4, 7, seed=epoch)).requires_grad_()
        distances = 0.5 + 0.02 * normals(4, 7, seed=epoch + 10)
        loss = trainer.loss_of(hand_made(logits, distances, labels, ids=ids))
        loss.backward()
        want = 0.0
        for i, row in enumerate(ids):
            visits[row].append((epoch, slow_slice(distances[i].tolist(), int(labels[i]), 100.0, 100.0, rho)))
            scores = logits[i].tolist()
            length = math.sqrt(sum(z * z for z in scores)) if normalize else 1.0
            ce = slow_cross_entropy([z / length for z in scores], int(labels[i]))
            want += slow_weight(visits[row], 2) * ce / 4
        assert loss.item() == pytest.approx(want, rel=1e-5)
        weights = torch.tensor([slow_weight(visits[row], 2) for row in ids])
        other = logits.detach().requires_grad_()
        scaled = F.normalize(other) if normalize else other
        (F.cross_entropy(scaled, labels, reduction="none") * weights).mean().backward()
        torch.testing.assert_close(logits.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("finite", [[0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("distance", [math.nan, 0.5])  # features may be sound where logits are not
def test_rows_that_are_not_finite_count_in_neither_loss_nor_weight(
    tmp_path: Path, finite: list[float], num_labels: int, distance: float
) -> None:
    trainer = make(tmp_path, hmw_warmup=0.0, normalize_logits=True)
    trainer.reset_rows()
    labels = torch.tensor([0, 1, 0])[: len(finite)]
    logits = normals(len(finite), num_labels, seed=8) * torch.tensor(finite)[:, None]
    distances = torch.full((len(finite), num_labels), 0.5)
    distances[torch.tensor(finite) == 0] = distance
    leaf = logits.requires_grad_()
    loss = trainer.loss_of(hand_made(leaf, distances, labels, finite))
    loss.backward()
    assert loss.isfinite()
    assert (loss.item() > 0) == (sum(finite) > 0)
    assert leaf.grad.isfinite().all()
    mass = trainer.annealed_weights.state_dict()["rows"][: len(finite), 1]
    assert torch.equal(mass > 0, torch.tensor(finite) > 0)
    assert trainer.row_scores().scores.isfinite().all()


def test_extreme_logits_give_a_finite_loss_and_gradient(tmp_path: Path) -> None:
    for normalize in (False, True):
        trainer = make(tmp_path, hmw_warmup=0.0, normalize_logits=normalize, hmw_a=1e6, hmw_b=1e6)
        trainer.reset_rows()
        logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
        distances = torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 0.5, 0.5]])
        loss = trainer.loss_of(hand_made(logits, distances, torch.tensor([0, 0, 1])))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()


# ---- The trainer ----


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_first_loss_is_the_formula_on_what_the_model_returns(tmp_path: Path, warmup: float, normalize: bool) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, hmw_warmup=warmup, normalize_logits=normalize)
    seen = watched(trainer)
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    rows = [trainer.train_dataset[index] for index in seen[0][0].rows.ids.tolist()]
    labels = [row.pop("label") for row in rows]
    inputs = make_tokenizer().pad(rows, return_tensors="pt")
    with torch.no_grad():
        features, logits = model.bert(**inputs).pooler_output.tolist(), model(**inputs).logits.tolist()
    want, slices = 0.0, []
    for feature, scores, label in zip(features, logits, labels, strict=True):
        distances = [slow_distance(feature, direction) for direction in model.classifier.weight.tolist()]
        slices.append(slow_slice(distances, label, 100.0, 100.0, 0.01))
        length = math.sqrt(sum(z * z for z in scores)) if normalize else 1.0
        ce = slow_cross_entropy([z / length for z in scores], label)
        want += (1.0 if warmup > 0 else slices[-1]) * ce / len(rows)
    assert logged(trainer, "loss")[0] == pytest.approx(want, abs=2e-5)
    assert logged(trainer, "hmw/mean_weight")[0] == pytest.approx(sum(slices) / len(slices), abs=2e-5)
    scores = trainer.row_scores()
    ids = seen[0][0].rows.ids
    torch.testing.assert_close(scores.weights[ids], torch.tensor(slices), rtol=1e-3, atol=1e-5)
    assert scores.weights.sum().item() == pytest.approx(64 - 8 + sum(slices), abs=1e-3)


@pytest.mark.parametrize("views", [0, 2])
def test_a_run_replayed_by_hand(tmp_path: Path, views: int) -> None:
    options: dict[str, Any] = {"num_train_epochs": 3, "hmw_warmup": 0.2, "hmw_a": 10.0, "hmw_b": 20.0}
    if views:
        view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
        options["data_collator"] = ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, views, seed=0)
    trainer = make(tmp_path, **options)
    seen = watched(trainer)
    trainer.train()
    visits: dict[int, list[tuple[int, float]]] = defaultdict(list)
    assert len(seen) == 24
    for step, (batch, epoch, loss) in enumerate(seen):
        assert math.floor(epoch + 1e-6) == step // 8
        assert len(batch.labels) == 8 * (views + 1)
        want = 0.0
        for entry, (scores, label) in enumerate(zip(batch.logits.tolist(), batch.labels.tolist(), strict=True)):
            row = int(batch.rows.ids[entry])
            if entry % (views + 1) == 0:
                distances = batch.outputs["distances"][entry].tolist()
                visits[row].append((step // 8, slow_slice(distances, label, 10.0, 20.0, 0.01)))
            weight = 1.0 if step < 8 else slow_weight(visits[row], 3)
            want += weight * slow_cross_entropy(scores, label) / len(batch.labels)
        assert loss == pytest.approx(want, rel=1e-4)
    judged = trainer.row_scores()
    weights = torch.tensor([slow_weight(visits[row], 3) for row in range(64)])
    torch.testing.assert_close(judged.weights, weights, rtol=1e-4, atol=1e-5)
    assert torch.equal(judged.scores, judged.weights)
    table = trainer.label_issues()
    assert table["weight"].tolist() == pytest.approx(weights[table["row_id"].tolist()].tolist(), abs=1e-4)


def test_wrong_labels_get_lower_weights(tmp_path: Path) -> None:
    clean = dataset_for("bert", 256)
    wrong = torch.rand(256, generator=torch.Generator().manual_seed(0)) < 0.2
    labels = [(label + 1) % 4 if bad else label for label, bad in zip(clean["label"], wrong.tolist(), strict=True)]
    # A network that knows nothing yet has slices that say nothing, and the published sharpness turns weights of small
    # random features off for good: the warm-up is longer here, and the comparisons are softer.
    trainer = make(
        tmp_path,
        train_dataset=clean.remove_columns("label").add_column("label", labels),
        num_train_epochs=6,
        learning_rate=2e-3,
        hmw_warmup=0.4,
        hmw_a=10.0,
        hmw_b=10.0,
    )
    trainer.train()
    weights = trainer.row_scores().weights
    assert (weights[wrong][:, None] < weights[~wrong][None]).float().mean() > 0.75


@pytest.mark.parametrize(
    "wrong",
    [
        {"hmw_a": 0.0},
        {"hmw_a": math.nan},
        {"hmw_b": -1.0},
        {"hmw_b": math.inf},
        {"hmw_rho": -0.1},
        {"hmw_rho": 1.1},
        {"hmw_warmup": 1.0},
        {"hmw_warmup": -0.1},
        {"hmw_warmup": math.nan},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        HmwConfig(output_dir=str(tmp_path), **wrong)
