"""SCL: the mixed loss against plain float64 loops, in a hand-made batch and in the first step of a run."""

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
from lane_hf.baselines.scl import SclConfig, SclTrainer
from lane_hf.step_rows import StepRows

Matrix = list[list[float]]
MIXES = st.tuples(st.floats(0, 1), st.sampled_from([0.1, 0.3, 1.0]))


def slow_cross_entropy(row: list[float], label: int) -> float:
    return max(row) + math.log(sum(math.exp(value - max(row)) for value in row)) - row[label]


def slow_scl(embeddings: Matrix, labels: list[int], temperature: float, ids: list[int] | None = None) -> float:
    """Sum over anchors and positives, pair by pair; `ids` that are equal make no pair."""
    lengths = [math.sqrt(sum(x * x for x in row)) or 1.0 for row in embeddings]
    unit = [[x / length for x in row] for row, length in zip(embeddings, lengths, strict=True)]
    ids = list(range(len(labels))) if ids is None else ids
    total = 0.0
    for i, label in enumerate(labels):
        others = [k for k in range(len(labels)) if ids[k] != ids[i]]
        similarity = {k: sum(a * b for a, b in zip(unit[i], unit[k], strict=True)) / temperature for k in others}
        positives = [k for k in others if labels[k] == label]
        normaliser = sum(math.exp(similarity[k]) for k in others)
        for k in positives:
            total -= math.log(math.exp(similarity[k]) / normaliser) / len(positives)
    return total / len(labels)


def slow_loss(logits: Matrix, embeddings: Matrix, labels: list[int], weight: float, temperature: float) -> float:
    ce = sum(slow_cross_entropy(row, label) for row, label in zip(logits, labels, strict=True)) / len(labels)
    return (1 - weight) * ce + weight * slow_scl(embeddings, labels, temperature)


def hand_made(logits: torch.Tensor, embeddings: torch.Tensor, labels: torch.Tensor, **changes: Any) -> Batch:
    rows = len(labels)
    ids = changes.pop("ids", torch.arange(rows))
    finite = changes.pop("finite", torch.ones(rows))
    return Batch(logits, labels, finite, StepRows(ids, rows, rows, rows, 1), {"embeddings": embeddings}, labels)


def random_batch(rows: int, labels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits, embeddings = torch.randn(rows, labels, generator=generator), torch.randn(rows, 5, generator=generator)
    return 3 * logits, embeddings, torch.randint(0, labels, (rows,), generator=generator)


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=SclTrainer, args_kind=SclConfig, **changes)


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


def with_views(views: int) -> ViewsCollator:
    view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
    return ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, views, seed=0)


# ---- The loss of a hand-made batch ----


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return make(tmp_path_factory.mktemp("scl"))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(2, 4), MIXES)
def test_loss_agrees_with_loops(
    trainer: Trainer, seed: int, rows: int, num_labels: int, mix: tuple[float, float]
) -> None:
    weight, temperature = trainer.args.scl_weight, trainer.args.temperature = mix
    logits, embeddings, labels = random_batch(rows, num_labels, seed)
    loss = trainer.loss_of(hand_made(logits, embeddings, labels))
    want = slow_loss(logits.tolist(), embeddings.tolist(), labels.tolist(), weight, temperature)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(want, rel=2e-5, abs=2e-5)


def test_gradient_of_the_mix_is_the_mix_of_the_gradients(tmp_path: Path) -> None:
    logits, embeddings, labels = random_batch(7, 3, seed=1)
    gradients = {}
    for weight in (0.0, 0.4, 1.0):
        leaves = [logits.clone().requires_grad_(), embeddings.clone().requires_grad_()]
        make(tmp_path, scl_weight=weight).loss_of(hand_made(*leaves, labels)).backward()
        gradients[weight] = [leaf.grad for leaf in leaves]
    for at_0, mixed, at_1 in zip(*(gradients[weight] for weight in (0.0, 0.4, 1.0)), strict=True):
        torch.testing.assert_close(mixed, 0.6 * at_0 + 0.4 * at_1)
    only_ce = logits.clone().requires_grad_()
    F.cross_entropy(only_ce, labels).backward()
    torch.testing.assert_close(gradients[0.0][0], only_ce.grad)
    assert gradients[0.0][1].eq(0).all()
    assert gradients[1.0][0].eq(0).all()
    assert gradients[1.0][1].abs().sum() > 0.01


@pytest.mark.parametrize("labels", [[0], [0, 1], [1, 1, 1]])
def test_batches_of_one_row_of_lone_labels_and_of_one_label(tmp_path: Path, labels: list[int]) -> None:
    logits, embeddings, _ = random_batch(len(labels), 2, seed=2)
    leaves = [logits.requires_grad_(), embeddings.requires_grad_()]
    loss = make(tmp_path).loss_of(hand_made(*leaves, torch.tensor(labels)))
    loss.backward()
    want = slow_loss(logits.tolist(), embeddings.tolist(), labels, 0.9, 0.3)
    assert loss.item() == pytest.approx(want, rel=1e-5)
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert (embeddings.grad.abs().sum() > 0) == (len(set(labels)) < len(labels))


def test_extreme_numbers_give_a_finite_loss_and_gradient(tmp_path: Path) -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [1e4, -1e4]], requires_grad=True)
    embeddings = torch.tensor([[1e4, -1e4], [0.0, 0.0], [-1e-4, 1e4]], requires_grad=True)
    loss = make(tmp_path, temperature=0.001).loss_of(hand_made(logits, embeddings, torch.tensor([0, 0, 0])))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert embeddings.grad.isfinite().all()


def test_a_row_that_is_not_finite_counts_as_zeros(tmp_path: Path) -> None:
    logits, embeddings, labels = random_batch(6, 2, seed=3)
    broken, zeroed = embeddings.clone(), embeddings.clone()
    broken[2, 1], zeroed[2] = math.nan, 0.0
    finite = torch.tensor([1.0, 1, 0, 1, 1, 1])
    logits[2] = 0.0  # as `Batch` has it
    leaf = broken.requires_grad_()
    trainer = make(tmp_path)
    loss = trainer.loss_of(hand_made(logits, leaf, labels, finite=finite))
    loss.backward()
    assert loss.item() == pytest.approx(trainer.loss_of(hand_made(logits, zeroed, labels, finite=finite)).item())
    ce = F.cross_entropy(logits, labels, reduction="none") * finite
    want = 0.1 * ce.mean().item() + 0.9 * slow_scl(zeroed.tolist(), labels.tolist(), 0.3)
    assert loss.item() == pytest.approx(want, rel=1e-5)
    assert leaf.grad.isfinite().all()
    assert leaf.grad[2].eq(0).all()


def test_a_row_that_comes_twice_is_no_positive_of_itself(tmp_path: Path) -> None:
    logits, embeddings, _ = random_batch(4, 2, seed=4)
    labels, ids = torch.tensor([0, 0, 0, 1]), torch.tensor([5, 5, 7, 8])
    loss = make(tmp_path, scl_weight=1.0).loss_of(hand_made(logits, embeddings, labels, ids=ids))
    assert loss.item() == pytest.approx(slow_scl(embeddings.tolist(), labels.tolist(), 0.3, ids.tolist()), rel=1e-5)


# ---- The trainer ----


@pytest.mark.parametrize("family", ["distilbert", "llama", "vit"])
def test_other_families(tmp_path: Path, family: str) -> None:
    trainer = make(tmp_path, family=family, max_steps=2)
    trainer.train()
    assert all(value > 0 for value in logged(trainer, "loss_contrastive"))


@pytest.mark.parametrize(("weight", "temperature"), [(0.9, 0.3), (0.25, 1.0)])
def test_first_loss_is_the_formula_on_what_the_model_returns(
    tmp_path: Path, weight: float, temperature: float
) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, scl_weight=weight, temperature=temperature)
    seen = watched(trainer)
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    rows = [trainer.train_dataset[index] for index in seen[0][0].rows.ids.tolist()]
    labels = [row.pop("label") for row in rows]
    with torch.no_grad():
        outputs = model(**make_tokenizer().pad(rows, return_tensors="pt"), output_hidden_states=True)
    first_tokens = outputs.hidden_states[-1][:, 0].tolist()
    want = slow_loss(outputs.logits.tolist(), first_tokens, labels, weight, temperature)
    assert logged(trainer, "loss")[0] == pytest.approx(want, abs=2e-5)
    assert logged(trainer, "loss_method")[0] == pytest.approx(want, abs=2e-5)
    mixed = (1 - weight) * logged(trainer, "loss_ce")[0] + weight * logged(trainer, "loss_contrastive")[0]
    assert mixed == pytest.approx(want, abs=2e-5)
    assert logged(trainer, "loss_contrastive")[0] == pytest.approx(
        slow_scl(first_tokens, labels, temperature), abs=2e-5
    )


def test_views_of_a_row_are_its_positives(tmp_path: Path) -> None:
    trainer = make(tmp_path, data_collator=with_views(2), max_steps=2)
    seen = watched(trainer)
    trainer.train()
    assert len(seen) == 2
    for batch, loss in seen:
        assert len(batch.labels) == 24
        assert batch.outputs["embeddings"].shape == (24, 32)
        parts = batch.logits.tolist(), batch.outputs["embeddings"].tolist(), batch.labels.tolist()
        assert loss == pytest.approx(slow_loss(*parts, 0.9, 0.3), rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scl_weight": -0.1},
        {"scl_weight": 1.1},
        {"scl_weight": math.nan},
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"temperature": math.inf},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SclConfig(output_dir=str(tmp_path), **wrong)
