"""DivideMix: its penalty and its loss against plain loops, and who tells whom."""

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from references import slow_softmax
from tiny import make_text_dataset, make_tokenizer
from torch.nn import functional as F
from training import dataset_for, logged, make_trainer

from lane_hf import InputError
from lane_hf.baselines import DivideMixConfig, DivideMixTrainer
from lane_hf.baselines import mixmatch as module
from lane_hf.baselines.base import Batch
from lane_hf.baselines.mixmatch import Examples, mean_prediction_penalty, ramp
from lane_hf.mixup import Mixing
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.step_rows import StepRows

HEADS = {
    "features": torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -1.0]]),
    "auxiliary_features": torch.tensor([[-0.5, 1.0, 0.0], [1.0, 0.5, -2.0]]),
}


def make(folder: Path, kind: type[DivideMixTrainer] = DivideMixTrainer, **options: Any) -> DivideMixTrainer:
    return make_trainer(folder, kind=kind, args_kind=DivideMixConfig, **options)


class WithFixedHeads(DivideMixTrainer):
    """Its joint model is two matrices."""

    joint_model = SimpleNamespace(logits_of=lambda features, name: features @ HEADS[name])


def ready(folder: Path, **options: Any) -> DivideMixTrainer:
    trainer = make(folder, WithFixedHeads, **options)
    trainer.num_labels = 3
    trainer.reset_rows()
    trainer.state.max_steps, trainer.state.global_step, trainer.state.epoch = 10, 7, 2.0
    trainer.state.num_train_epochs = 2
    return trainer


def random_batch(rows: int, seed: int, finite: list[float] | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(rows, 2, generator=generator) for name in HEADS}
    logits = {name: features[name] @ HEADS[name] for name in HEADS}
    labels = torch.randint(0, 3, (rows,), generator=generator)
    kept = torch.ones(rows) if finite is None else torch.tensor(finite)
    outputs = {**features, "logits": logits["features"], "auxiliary_logits": logits["auxiliary_features"]}
    ids = StepRows(torch.arange(rows), rows, rows, rows, 1)
    return Batch(logits["features"], labels, kept, ids, outputs, labels)


def sharpened(probs: list[float]) -> list[float]:
    squares = [p * p for p in probs]
    return [square / sum(squares) for square in squares]


def slow_loss(batch: Batch, name: str, clean: list[float], mixing: Mixing, weight: float) -> float:
    """The loss of one network, row by row."""
    finite, prior = batch.finite.tolist(), (torch.bincount(batch.labels, minlength=3) / len(clean)).tolist()
    own, other = (batch.outputs[n].tolist() for n in ("logits", "auxiliary_logits"))
    if name != "features":
        own, other = other, own
    targets = []
    for row, label in enumerate(batch.labels.tolist()):
        p, q, w = slow_softmax(own[row]), slow_softmax(other[row]), clean[row]
        onehot = [float(k == label) for k in range(3)]
        mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        targets.append(sharpened([w * y + (1 - w) * a for y, a in zip(onehot, p, strict=True)] if w > 0.5 else mean))
    known, unknown, predictions = [], [], []
    for row in range(len(clean)):
        if not finite[row]:
            continue
        share, partner = mixing.shares[row].item(), int(mixing.partners[row])
        features = share * batch.outputs[name][row] + (1 - share) * batch.outputs[name][partner]
        probs = slow_softmax((features @ HEADS[name]).tolist())
        target = [share * a + (1 - share) * b for a, b in zip(targets[row], targets[partner], strict=True)]
        predictions.append(probs)
        if clean[row] > 0.5:
            known.append(-sum(t * math.log(p) for t, p in zip(target, probs, strict=True)))
        else:
            unknown.append(sum((t - p) ** 2 for t, p in zip(target, probs, strict=True)) / 3)
    mean = [sum(column) / len(predictions) for column in zip(*predictions, strict=True)]
    penalty = sum(a * math.log(a / b) for a, b in zip(prior, mean, strict=True) if a > 0)
    average = (sum(values) / len(values) if values else 0.0 for values in (known, unknown))
    return next(average) + weight * next(average) + penalty


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("clean", "finite"),
    [
        ([0.9, 0.2, 0.7, 0.4, 0.6], [1.0] * 5),
        ([0.9, 0.2, 0.7, 0.4, 0.6], [1.0, 1.0, 0.0, 1.0, 1.0]),
        ([1.0] * 5, [1.0] * 5),
        ([0.0] * 5, [1.0] * 5),
    ],
    ids=["both kinds", "one not finite", "all labelled", "none labelled"],
)
def test_the_loss_is_that_of_the_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, clean: list[float], finite: list[float]
) -> None:
    trainer = ready(tmp_path, lambda_u=10.0, lambda_u_ramp=0.4, mixup_alpha=2.5)
    told = {"first": clean, "second": clean[::-1]}  # by each network, to the other
    for split, values in zip(trainer.splits, told.values(), strict=True):
        monkeypatch.setattr(split, "probability", lambda ids, labels, values=values: torch.tensor(values))
        monkeypatch.setattr(split, "refit", lambda labels, epoch: None)
    usable = [row for row in range(5) if finite[row]]
    partners = {row: usable[(place + 1) % len(usable)] for place, row in enumerate(usable)}
    shares = torch.rand(5, 1, generator=torch.Generator().manual_seed(seed)) / 2 + 0.5
    mixing = Mixing(torch.tensor([partners.get(row, row) for row in range(5)]), shares)

    def draw(allowed: torch.Tensor, alpha: float) -> Mixing:
        assert torch.nonzero(allowed).flatten().tolist() == usable  # labelled or not
        assert alpha == 2.5
        return mixing

    monkeypatch.setattr(module, "draw_mixing", draw)
    batch = random_batch(5, seed, finite)
    loss = trainer.loss_of(batch)
    # Half of training is warm-up; 0.2 after it, of a ramp of 0.4, half the weight is reached.
    want = slow_loss(batch, "features", told["second"], mixing, 10.0 * 0.5)
    want += slow_loss(batch, "auxiliary_features", told["first"], mixing, 10.0 * 0.5)
    assert loss.item() == pytest.approx(want, rel=1e-4)


def test_the_penalty_is_a_divergence_from_the_prior() -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0]])
    counted = torch.tensor([1.0, 1.0, 0.0])
    mean = [0.4, 0.25, 0.35]
    want = sum(q * math.log(q / p) for q, p in zip([0.5, 0.5], mean, strict=False))
    got = mean_prediction_penalty(probs, torch.tensor([0.5, 0.5, 0.0]), counted)
    assert got.item() == pytest.approx(want, rel=1e-5)
    assert mean_prediction_penalty(probs, torch.ones(3) / 3, torch.zeros(3)).item() == 0.0


def test_a_label_without_rows_leaves_the_gradient_finite() -> None:
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mean_prediction_penalty(logits.softmax(dim=1), torch.tensor([0.5, 0.5, 0.0]), torch.ones(3)).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


def test_training_survives_a_label_without_rows(tmp_path: Path) -> None:
    data = dataset_for("bert", 64)
    some = data.select([row for row, label in enumerate(data["label"]) if label != 3])
    trainer = make(tmp_path, train_dataset=some, num_train_epochs=3)
    with pytest.warns(UserWarning, match="1 of 4 labels have no row"):
        trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_the_weight_of_the_unlabelled_rises() -> None:
    assert [ramp(p, 0.2, 0.5) for p in (0.0, 0.2, 0.45, 0.7, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [ramp(p, 0.2, 0.0) for p in (0.0, 0.2, 1.0)] == [0.0, 1.0, 1.0]


def test_the_warmup_is_plain_cross_entropy_of_both(tmp_path: Path) -> None:
    trainer = ready(tmp_path, mixmatch_warmup=5.0)
    batch = random_batch(4, seed=0)
    want = sum(F.cross_entropy(batch.outputs[n], batch.labels) for n in ("logits", "auxiliary_logits"))
    assert trainer.loss_of(batch).item() == pytest.approx(want.item(), rel=1e-5)


def test_a_batch_without_a_finite_row_gives_a_zero_with_a_gradient(tmp_path: Path) -> None:
    trainer = ready(tmp_path)
    batch = random_batch(3, seed=1, finite=[0.0] * 3)
    logits = torch.zeros(3, 3, requires_grad=True)
    features = {name: torch.full((3, 2), math.nan, requires_grad=True) for name in HEADS}
    outputs = {**features, "logits": logits, "auxiliary_logits": torch.full((3, 3), math.nan)}
    loss = trainer.loss_of(batch._replace(logits=logits, outputs=outputs))
    loss.backward()
    assert loss.item() == 0.0
    assert all(bool((leaf.grad == 0).all()) for leaf in features.values())


def test_a_split_holds_the_losses_of_its_own_network(tmp_path: Path) -> None:
    trainer = ready(tmp_path, mixmatch_warmup=5.0)
    batch = random_batch(5, seed=0)
    trainer.loss_of(batch)
    for split, name in zip(trainer.splits, ("logits", "auxiliary_logits"), strict=True):
        rows = zip(batch.outputs[name].tolist(), batch.labels.tolist(), strict=True)
        want = [-math.log(slow_softmax(row)[label]) for row, label in rows]
        assert split.state_dict()["losses"][:5].tolist() == pytest.approx(want, rel=1e-5)


def test_each_network_is_told_by_the_other_what_was_known_before_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, batch = ready(tmp_path), random_batch(6, seed=0)
    losses = torch.tensor([[0.1, 5.0, 0.2, 5.1, 0.1, 5.0], [5.0, 5.1, 0.1, 0.2, 0.1, 5.0]])
    for split, of_network in zip(trainer.splits, losses, strict=True):
        split.update(batch.rows.ids, of_network)
    trainer.row_statistics.record(trainer.row_statistics.observe(batch.rows.ids, batch.labels, batch.logits))
    labelled: list[list[bool]] = []

    def watch(head: Any, examples: Examples, *rest: Any) -> torch.Tensor:
        labelled.append(examples.labelled.tolist())
        return torch.zeros(())

    monkeypatch.setattr("lane_hf.baselines.divide_mix.mixmatch_loss", watch)
    trainer.loss_of(batch)
    assert labelled == [(losses[1] < 1).tolist(), (losses[0] < 1).tolist()]
    # What the step itself has shown is told in the next one.
    trainer.loss_of(batch)
    assert labelled[2] != labelled[0]
    assert labelled[3] != labelled[1]


def test_no_clean_row_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lane_hf.baselines.clean_split.clean_probability", lambda values, mixture, groups: torch.zeros_like(values)
    )
    trainer = make(tmp_path, num_train_epochs=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    assert len([each for each in caught if "DivideMix finds no clean row" in str(each.message)]) == 1
    assert set(logged(trainer, "divide_mix/labelled")) == {1.0}


def test_wrong_labels_are_ranked_low(tmp_path: Path) -> None:
    data = make_text_dataset(256, 4, tokenizer=make_tokenizer())
    noisy = inject_into_dataset(data, kind="uniform", rate=0.25, seed=3)
    flipped = np.asarray(noisy["is_flipped"])
    trainer = make(
        tmp_path,
        train_dataset=noisy.remove_columns(["is_flipped", "original_label"]),
        num_train_epochs=6,
        learning_rate=3e-3,
        mixmatch_warmup=2.0,
    )
    trainer.train()
    scores = trainer.label_issues().set_index("row_id").sort_index()["score"].to_numpy()
    assert (scores[~flipped][:, None] > scores[flipped][None, :]).mean() > 0.9


@pytest.mark.parametrize("name", ["mixmatch_warmup", "mixup_alpha", "lambda_u", "lambda_u_ramp"])
def test_wrong_options(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be in"):
        DivideMixConfig(output_dir=str(tmp_path), **{name: -0.1})
