"""What each option of LaneConfig does to the terms of a step, recomputed by hand from what the step has seen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from references import (
    slow_gaussian_weight,
    slow_label_aware_contrastive,
    slow_label_contrastive,
    slow_supervised_contrastive,
)
from torch import Tensor
from torch.nn import functional as F
from training import logged, make_trainer
from views import views_collator

from lane_hf import LaneTrainer
from lane_hf.contrastive_step import ContrastiveBatch, contrastive_term
from lane_hf.margins import label_aware_margin, smooth_probabilities

STILL: dict[str, Any] = {"dropout": 0.0, "learning_rate": 0.0}
"""Without learning and dropout, a row looks the same whenever it is visited."""


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[ContrastiveBatch]:
    """Return what the contrastive term of each step was given."""
    seen: list[ContrastiveBatch] = []

    def look(trainer: LaneTrainer, batch: ContrastiveBatch, **options: Any) -> Tensor:
        seen.append(batch)
        return contrastive_term(trainer, batch, **options)

    monkeypatch.setattr("lane_hf.trainer.contrastive_term", look)
    return seen


def of_rows(trainer: LaneTrainer) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the logits of both networks for all rows of the training set, and the given labels."""
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(trainer.train_dataset))])
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits
        second = trainer.auxiliary_model
        return logits, labels, None if second is None else second.eval()(**batch).logits


def own_margins(trainer: LaneTrainer) -> Tensor:
    logits, labels, _ = of_rows(trainer)
    return logits.gather(1, labels[:, None])[:, 0] - logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)


# ---- Margins ----


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("views", [None, "rows", "views"])
def test_the_average_is_that_of_the_label_aware_margins(tmp_path: Path, smoothing: float, views: str | None) -> None:
    options = {} if views is None else {"data_collator": views_collator(), "auxiliary_on_views": views == "views"}
    trainer = make_trainer(tmp_path, aux_smoothing=smoothing, **options, **STILL)
    trainer.train()
    logits, labels, second = of_rows(trainer)
    expected = label_aware_margin(logits, labels, smooth_probabilities(second.softmax(dim=1), smoothing))
    assert (expected < 0).any()
    torch.testing.assert_close(trainer.alm.average(), expected, rtol=1e-4, atol=1e-5)


def test_without_label_awareness_the_second_network_has_no_part_in_margins(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, label_aware=False, **STILL)
    trainer.train()
    expected = own_margins(trainer)
    assert (expected < 0).any()
    torch.testing.assert_close(trainer.alm.average(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"auxiliary": "none"}, {"label_aware": False}, {}], ids=str)
def test_rows_are_ranked_by_the_noise_or_by_label_aware_margins(tmp_path: Path, options: dict) -> None:
    trainer = make_trainer(tmp_path, **options)
    trainer.train()
    judged = trainer.row_scores()
    margins = trainer.alm.average()
    assert torch.equal(judged.margins, margins)
    by_noise = trainer.row_statistics.estimate_noise(4).scores
    assert torch.equal(judged.scores, by_noise if options else margins)
    assert not torch.equal(by_noise, margins)


# ---- Weights ----


def test_the_weights_of_a_step_know_its_own_margins(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, weighting="gaussian", threshold=1.2, weighting_warmup=0.0, auxiliary="none", max_steps=1, **STILL
    )
    trainer.train()
    seen = trainer.alm.count > 0
    assert seen.sum() == 8
    weights = [slow_gaussian_weight(margin, 1.2, 1.0) for margin in own_margins(trainer)[seen].tolist()]
    assert sum(weight < 0.5 for weight in weights) not in (0, 4, 8)
    assert logged(trainer, "lane/mean_weight") == pytest.approx([sum(weights) / 8], abs=1e-5)
    assert logged(trainer, "lane/share_below_half") == pytest.approx([sum(weight < 0.5 for weight in weights) / 8])


@pytest.mark.parametrize("waits", [True, False])
def test_every_step_counts_what_is_predicted_if_weights_wait_for_labels(tmp_path: Path, waits: bool) -> None:
    trainer = make_trainer(tmp_path, wait_for_labels=waits, auxiliary="none", **STILL)
    trainer.train()
    logits, labels, _ = of_rows(trainer)
    predicted = torch.bincount(logits.argmax(dim=1), minlength=4).double()
    counts = trainer.row_weights.state_dict()
    for name in ("learned_now", "learned_before"):  # of each of the two epochs
        assert counts[name][:4].tolist() == (predicted if waits else 0 * predicted).tolist()
    # A label that was never predicted is not doubted, however wrong its rows look.
    never = predicted[labels] == 0
    assert never.any()
    weights = trainer.row_scores().weights
    assert bool((weights[never] == 1).all()) is waits


# ---- The loss of the second network ----


def test_the_second_network_learns_every_label_alike(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, weighting="gaussian", threshold=1.0, **STILL)
    trainer.train()
    assert max(logged(trainer, "lane/mean_weight")[8:]) < 1
    _, labels, second = of_rows(trainer)
    expected = F.cross_entropy(second, labels).item()
    losses = logged(trainer, "loss_aux")
    assert sum(losses[:8]) / 8 == pytest.approx(expected, abs=1e-5)
    assert sum(losses[8:]) / 8 == pytest.approx(expected, abs=1e-5)


# ---- The contrastive term ----

SLOW = {
    "scl": slow_supervised_contrastive,
    "lcl": slow_label_contrastive,
    "lscl": slow_label_aware_contrastive,
}


@pytest.mark.parametrize("kind", list(SLOW))
def test_the_contrastive_term_is_that_of_the_batch(tmp_path: Path, batches: list[ContrastiveBatch], kind: str) -> None:
    trainer = make_trainer(tmp_path, contrastive=kind, temperature=0.7, contrastive_weight=0.2, aux_smoothing=0.3)
    trainer.train()
    assert len(batches) == 16
    for batch, got in zip(batches, logged(trainer, "loss_contrastive"), strict=True):
        vectors, labels = batch.embeddings.tolist(), batch.labels.tolist()
        assert got == pytest.approx(SLOW[kind](vectors, labels, batch.aux_probs.tolist(), 0.7), abs=1e-4)


@pytest.mark.parametrize("learns", [True, False])
def test_the_term_teaches_the_second_network_only_if_asked(
    tmp_path: Path, batches: list[ContrastiveBatch], learns: bool
) -> None:
    make_trainer(tmp_path, contrastive="lscl", aux_contrastive_grad=learns).train()
    assert len(batches) == 16
    assert {batch.aux_probs.requires_grad for batch in batches} == {learns}


def test_probabilities_of_a_class_are_those_of_its_rows(tmp_path: Path, batches: list[ContrastiveBatch]) -> None:
    trainer = make_trainer(tmp_path, similarity="class", contrastive="lscl", **STILL)
    trainer.train()
    last = batches[-1]
    expected = smooth_probabilities(trainer.similarity.of(last.labels), 0.1)
    torch.testing.assert_close(last.aux_probs, expected)
    _, _, second = of_rows(trainer)
    own = smooth_probabilities(second.softmax(dim=1)[last.rows.ids], 0.1)
    assert not torch.allclose(last.aux_probs, own, atol=1e-3)


@pytest.mark.parametrize("on_views", [True, False])
def test_views_have_their_own_probabilities_or_those_of_their_row(
    tmp_path: Path, batches: list[ContrastiveBatch], on_views: bool
) -> None:
    options = {"data_collator": views_collator(), "auxiliary_on_views": on_views, "contrastive": "lscl"}
    trainer = make_trainer(tmp_path, **options, **STILL)
    trainer.train()
    _, _, second = of_rows(trainer)
    of_all = smooth_probabilities(second.softmax(dim=1), 0.1)
    assert len(batches) == 16
    for batch in batches:
        by_row = batch.aux_probs.reshape(-1, 4, 4)  # eight rows, each with three views, and four labels
        own = of_all[batch.rows.ids[::4]]
        torch.testing.assert_close(by_row[:, 0], own, rtol=1e-4, atol=1e-5)
        same = torch.isclose(by_row, own[:, None], rtol=1e-4, atol=1e-5).all()
        assert bool(same) is not on_views


@pytest.mark.parametrize(("bootstrap", "kind"), [("candidate", "scl"), ("candidate", "lscl"), ("none", "scl")])
def test_doubted_rows_are_pulled_towards_their_candidate(
    tmp_path: Path, batches: list[ContrastiveBatch], bootstrap: str, kind: str
) -> None:
    options = {"weighting": "gaussian", "threshold": 1.2, "label_aware": False, "contrastive": kind}
    auxiliary = "none" if kind == "scl" else "shared"
    trainer = make_trainer(tmp_path, bootstrap=bootstrap, auxiliary=auxiliary, **options, **STILL)
    trainer.train()
    given = torch.tensor(trainer.train_dataset["label"])
    weights, candidates = trainer.row_scores().weights, trainer.row_statistics.candidates()
    doubted = weights < 0.5
    assert doubted.any()
    assert not doubted.all()
    size = trainer.num_labels
    believed = weights[:, None] * F.one_hot(given, size) + (1 - weights)[:, None] * F.one_hot(candidates, size)
    assert len(batches) == 16
    for step, batch in enumerate(batches):
        ids, warming_up = batch.rows.ids, step < 8
        if bootstrap == "none":
            assert batch.beliefs is None
        else:
            want = F.one_hot(given[ids], size).float() if warming_up else believed[ids]
            torch.testing.assert_close(batch.beliefs, want, rtol=1e-3, atol=1e-3)
        # The terms of an auxiliary network know no pairs in between: the likelier label is the label.
        hard = torch.where(doubted, candidates, given) if kind == "lscl" else given
        assert torch.equal(batch.labels, given[ids] if warming_up else hard[ids]), step
