"""LCL: the loss of both networks against plain float64 loops, in a hand-made batch and in the first step of a run."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_model, make_tokenizer
from torch.nn import functional as F
from training import logged, make_trainer
from transformers import DataCollatorWithPadding, Trainer

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines.base import Batch
from lane_hf.baselines.lcl import LclConfig, LclTrainer
from lane_hf.networks import make_auxiliary
from lane_hf.step_rows import StepRows

Matrix = list[list[float]]
MIXES = st.tuples(st.floats(0, 1), st.sampled_from([0.1, 0.3, 1.0]))


def slow_softmax(row: list[float]) -> list[float]:
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def slow_cross_entropy(row: list[float], label: int) -> float:
    return max(row) + math.log(sum(math.exp(value - max(row)) for value in row)) - row[label]


def slow_mean_ce(logits: Matrix, labels: list[int]) -> float:
    return sum(slow_cross_entropy(row, label) for row, label in zip(logits, labels, strict=True)) / len(labels)


def slow_lcl(embeddings: Matrix, auxiliary: Matrix, labels: list[int], temperature: float) -> float:
    """Sum over anchors and positives, pair by pair; the weight of the anchor's label is outside the logarithm."""
    lengths = [math.sqrt(sum(x * x for x in row)) or 1.0 for row in embeddings]
    unit = [[x / length for x in row] for row, length in zip(embeddings, lengths, strict=True)]
    total = 0.0
    for i, label in enumerate(labels):
        weights = [max(p, 1e-6) for p in slow_softmax(auxiliary[i])]
        others = [k for k in range(len(labels)) if k != i]
        similarity = {k: sum(a * b for a, b in zip(unit[i], unit[k], strict=True)) / temperature for k in others}
        positives = [k for k in others if labels[k] == label]
        normaliser = sum(weights[labels[k]] * math.exp(similarity[k]) for k in others)
        for k in positives:
            total -= weights[label] * math.log(math.exp(similarity[k]) / normaliser) / len(positives)
    return total / len(labels)


def slow_loss(
    logits: Matrix, embeddings: Matrix, auxiliary: Matrix, labels: list[int], mix: tuple[float, float]
) -> float:
    share, temperature = mix
    both = slow_mean_ce(logits, labels) + slow_mean_ce(auxiliary, labels)
    return (1 - share) * both + share * slow_lcl(embeddings, auxiliary, labels, temperature)


def hand_made(logits: torch.Tensor, embeddings: torch.Tensor, auxiliary: torch.Tensor, labels: torch.Tensor) -> Batch:
    rows = len(labels)
    outputs = {"embeddings": embeddings, "auxiliary_logits": auxiliary}
    return Batch(logits, labels, torch.ones(rows), StepRows(torch.arange(rows), rows, rows, rows, 1), outputs, labels)


def random_batch(rows: int, labels: int, seed: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((3, labels), (1, 5), (2, labels))
    parts = [scale * torch.randn(rows, size, generator=generator) for scale, size in sizes]
    return parts, torch.randint(0, labels, (rows,), generator=generator)


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=LclTrainer, args_kind=LclConfig, **changes)


def watched(trainer: Trainer) -> list[tuple[Batch, float]]:
    """Return a list that fills with the batches and their losses."""
    seen: list[tuple[Batch, float]] = []
    loss_of = trainer.loss_of

    def watching(batch: Batch) -> torch.Tensor:
        loss = loss_of(batch)
        outputs = {name: value.detach().clone() for name, value in batch.outputs.items()}
        seen.append((batch._replace(logits=batch.logits.detach().clone(), outputs=outputs), loss.item()))
        return loss

    trainer.loss_of = watching
    return seen


# ---- The loss of a hand-made batch ----


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return make(tmp_path_factory.mktemp("lcl"))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(2, 4), MIXES)
def test_loss_agrees_with_loops(
    trainer: Trainer, seed: int, rows: int, num_labels: int, mix: tuple[float, float]
) -> None:
    trainer.args.lcl_weight, trainer.args.temperature = mix
    parts, labels = random_batch(rows, num_labels, seed)
    loss = trainer.loss_of(hand_made(*parts, labels))
    want = slow_loss(*(part.tolist() for part in parts), labels.tolist(), mix)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(want, rel=2e-5, abs=2e-5)


def test_the_contrastive_term_trains_the_auxiliary_network_too(tmp_path: Path) -> None:
    parts, labels = random_batch(6, 3, seed=1)
    leaves = [part.clone().requires_grad_() for part in parts]
    make(tmp_path, lcl_weight=1.0).loss_of(hand_made(*leaves, labels)).backward()
    logits, embeddings, auxiliary = leaves
    assert logits.grad.eq(0).all()
    assert embeddings.grad.abs().sum() > 0.01
    values = parts[2].tolist()
    for row, column in ((0, 0), (2, 1), (5, 2)):
        losses = []
        for step in (1e-5, -1e-5):
            moved = [list(each) for each in values]
            moved[row][column] += step
            losses.append(slow_lcl(parts[1].tolist(), moved, labels.tolist(), 0.3))
        assert auxiliary.grad[row, column].item() == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-3, abs=1e-6)


def test_without_the_contrastive_term_each_network_learns_by_its_own_cross_entropy(tmp_path: Path) -> None:
    parts, labels = random_batch(6, 3, seed=2)
    leaves = [part.clone().requires_grad_() for part in parts]
    make(tmp_path, lcl_weight=0.0).loss_of(hand_made(*leaves, labels)).backward()
    for leaf, part in zip((leaves[0], leaves[2]), (parts[0], parts[2]), strict=True):
        other = part.clone().requires_grad_()
        F.cross_entropy(other, labels).backward()
        torch.testing.assert_close(leaf.grad, other.grad)
    assert leaves[1].grad.eq(0).all()


@pytest.mark.parametrize("labels", [[0], [0, 1], [1, 1, 1]])
def test_batches_of_one_row_of_lone_labels_and_of_one_label(tmp_path: Path, labels: list[int]) -> None:
    parts, _ = random_batch(len(labels), 2, seed=3)
    leaves = [part.requires_grad_() for part in parts]
    loss = make(tmp_path).loss_of(hand_made(*leaves, torch.tensor(labels)))
    loss.backward()
    assert loss.item() == pytest.approx(slow_loss(*(part.tolist() for part in parts), labels, (0.5, 0.3)), rel=1e-5)
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


def test_extreme_numbers_give_a_finite_loss_and_gradient(tmp_path: Path) -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [1e4, -1e4]], requires_grad=True)
    embeddings = torch.tensor([[1e4, -1e4], [0.0, 0.0], [-1e-4, 1e4]], requires_grad=True)
    auxiliary = torch.tensor([[-1e4, 1e4], [1e4, -1e4], [0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 1])
    loss = make(tmp_path, temperature=0.001).loss_of(hand_made(logits, embeddings, auxiliary, labels))
    loss.backward()
    assert loss.isfinite()
    assert all(leaf.grad.isfinite().all() for leaf in (logits, embeddings, auxiliary))


@pytest.mark.parametrize("where", ["embeddings", "auxiliary"])
def test_a_row_that_is_not_finite_does_not_spoil_the_others(tmp_path: Path, where: str) -> None:
    parts, labels = random_batch(6, 3, seed=4)
    at = 1 if where == "embeddings" else 2
    zeroed = [part.clone() for part in parts]
    zeroed[at][3] = 0.0
    parts[at][3, 1] = math.nan if where == "embeddings" else math.inf
    leaves = [part.requires_grad_() for part in parts]
    loss = make(tmp_path).loss_of(hand_made(*leaves, labels))
    loss.backward()
    want = slow_loss(*(part.tolist() for part in zeroed), labels.tolist(), (0.5, 0.3))
    if where == "auxiliary":  # its cross-entropy is left out
        want -= 0.5 * math.log(3) / 6
    assert loss.item() == pytest.approx(want, rel=1e-5)
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert leaves[at].grad[3].eq(0).all()


# ---- The trainer ----


@pytest.mark.parametrize("family", ["distilbert", "llama", "vit"])
def test_other_families(tmp_path: Path, family: str) -> None:
    trainer = make(tmp_path, family=family, max_steps=2)
    trainer.train()
    assert all(value > 0 for value in logged(trainer, "loss_contrastive"))


@pytest.mark.parametrize(("share", "temperature"), [(0.5, 0.3), (0.2, 1.0)])
def test_first_loss_is_the_formula_on_what_the_networks_return(
    tmp_path: Path, share: float, temperature: float
) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, lcl_weight=share, temperature=temperature)
    seen = watched(trainer)
    model = make_model("bert", dropout=0.0).eval()
    second = make_auxiliary(model, "full", 4, seed=trainer.args.seed + 1).eval()
    trainer.train()
    rows = [trainer.train_dataset[index] for index in seen[0][0].rows.ids.tolist()]
    labels = [row.pop("label") for row in rows]
    inputs = make_tokenizer().pad(rows, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True)
        auxiliary = second(**inputs).logits.tolist()
    logits, first_tokens = outputs.logits.tolist(), outputs.hidden_states[-1][:, 0].tolist()
    want = slow_loss(logits, first_tokens, auxiliary, labels, (share, temperature))
    assert logged(trainer, "loss")[0] == pytest.approx(want, abs=2e-5)
    assert logged(trainer, "loss_ce")[0] == pytest.approx(slow_mean_ce(logits, labels), abs=2e-5)
    assert logged(trainer, "loss_aux")[0] == pytest.approx(slow_mean_ce(auxiliary, labels), abs=2e-5)
    contrastive = slow_lcl(first_tokens, auxiliary, labels, temperature)
    assert logged(trainer, "loss_contrastive")[0] == pytest.approx(contrastive, abs=2e-5)


def test_views_go_through_both_networks(tmp_path: Path) -> None:
    view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
    collator = ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, 2, seed=0)
    trainer = make(tmp_path, data_collator=collator, max_steps=2)
    seen = watched(trainer)
    trainer.train()
    assert len(seen) == 2
    for batch, loss in seen:
        embeddings, auxiliary = batch.outputs["embeddings"], batch.outputs["auxiliary_logits"]
        assert len(batch.labels) == len(embeddings) == len(auxiliary) == 24
        parts = batch.logits.tolist(), embeddings.tolist(), auxiliary.tolist(), batch.labels.tolist()
        assert loss == pytest.approx(slow_loss(*parts, (0.5, 0.3)), rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lcl_weight": -0.1},
        {"lcl_weight": 1.1},
        {"lcl_weight": math.nan},
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"temperature": math.inf},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        LclConfig(output_dir=str(tmp_path), **wrong)
