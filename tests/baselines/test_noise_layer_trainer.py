"""NoiseLayerTrainer: hand-made batches, whole runs replayed by hand, optimizers, and options."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from noise_layer_references import KINDS, random_batch, slow_given, slow_softmax, slow_theta
from tiny import make_model, make_tokenizer
from torch.nn import functional as F
from training import assert_same_weights, dataset_for, logged, make_trainer
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines.base import Batch
from lane_hf.baselines.noise_layer import NoiseLayer, NoiseLayerConfig, NoiseLayerTrainer
from lane_hf.step_rows import StepRows


def noisy_dataset(theta: torch.Tensor, rows: int, seed: int) -> tuple[Any, torch.Tensor]:
    """Return toy data whose labels were confused as `theta` says, and which of them are wrong."""
    data = dataset_for("bert", rows, num_labels=len(theta))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(theta[data["label"]], 1, generator=generator).squeeze(1)
    wrong = labels != torch.tensor(data["label"])
    return data.remove_columns("label").add_column("label", labels.tolist()), wrong


def make(folder: Path, **changes: Any) -> Trainer:
    return make_trainer(folder, kind=NoiseLayerTrainer, args_kind=NoiseLayerConfig, **changes)


class Recorder(TrainerCallback):
    """Keeps the batches that the loss is computed from, the layer as it was at each, and the learning rates."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.loss_of = trainer, trainer.loss_of
        self.batches: list[Batch] = []
        self.layers: list[NoiseLayer] = []
        self.rates: list[list[float]] = []
        trainer.loss_of = self.watch
        trainer.add_callback(self)

    def watch(self, batch: Batch) -> torch.Tensor:
        outputs = {name: value.detach().clone() for name, value in batch.outputs.items()}
        self.batches.append(batch._replace(logits=batch.logits.detach().clone(), outputs=outputs))
        layer = self.trainer.auxiliary_model
        copy = NoiseLayer(layer.bias.shape[0], hidden_size=layer.weight.shape[2] if layer.needs_embeddings else None)
        copy.load_state_dict(layer.state_dict())
        self.layers.append(copy)
        return self.loss_of(batch)

    def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])


# ---- The trainer ----


def prepared(trainer: Trainer) -> NoiseLayer:
    """Give a trainer its layer and its per-row state without training."""
    trainer.make_joint(trainer.model)
    trainer.reset_rows()
    return trainer.auxiliary_model


def hand_made(layer: NoiseLayer, logits: torch.Tensor, labels: torch.Tensor, finite: torch.Tensor) -> Batch:
    rows = len(labels)
    outputs = {"logits": logits}
    outputs["auxiliary_logits"] = layer.read(outputs, 1)
    return Batch(logits, labels, finite, StepRows(torch.arange(rows), rows, rows, rows, 1), outputs, labels)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("finite", [[0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
def test_rows_that_are_not_finite_count_in_nothing(tmp_path: Path, finite: list[float], warmup: float) -> None:
    trainer = make(tmp_path, noise_layer_warmup=warmup)
    layer = prepared(trainer)
    trainer.state.epoch = 0.5
    logits, _, labels = random_batch(len(finite), 4, seed=6)
    leaf, kept = logits.requires_grad_(), torch.tensor(finite)
    loss = trainer.loss_of(hand_made(layer, leaf, labels, kept))
    loss.backward()
    assert loss.isfinite()
    assert torch.equal(leaf.grad.abs().sum(dim=1) > 0, kept > 0)
    assert layer.bias.grad.isfinite().all()
    assert trainer.confusion.state_dict()["counts"].sum().item() == (sum(finite) if warmup else 0)
    assert trainer.scores.count[: len(finite)].tolist() == [0 if warmup else int(each) for each in finite]
    if not any(finite):
        assert loss.item() == 0


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1], [1]])
@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_small_and_one_sided_batches_with_extreme_logits(tmp_path: Path, labels: list[int], warmup: float) -> None:
    data = dataset_for("bert", num_labels=2)
    model = make_model("bert", num_labels=2)
    trainer = make(tmp_path, model=model, train_dataset=data, noise_layer_warmup=warmup)
    layer = prepared(trainer)
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0], [3.0, 1.0]])[: len(labels)].requires_grad_()
    batch = hand_made(layer, logits, torch.tensor(labels), torch.ones(len(labels)))
    loss = trainer.loss_of(batch)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert layer.bias.grad.isfinite().all()
    if warmup:
        assert layer.bias.grad.eq(0).all()  # part of the graph, and not taught
    else:
        assert trainer.row_scores().scores[: len(labels)].isfinite().all()


@KINDS
def test_first_loss_without_warmup_is_the_formula_on_the_logits_of_the_model(tmp_path: Path, kind: str) -> None:
    trainer = make(tmp_path, dropout=0.0, max_steps=1, noise_layer=kind, noise_layer_warmup=0.0, initial_noise=0.3)
    recorder = Recorder(trainer)
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    rows = [trainer.train_dataset[index] for index in recorder.batches[0].rows.ids.tolist()]
    labels = [row.pop("label") for row in rows]
    with torch.no_grad():
        logits = model(**make_tokenizer().pad(rows, return_tensors="pt")).logits
    theta = [[0.7 if i == j else 0.1 for j in range(4)] for i in range(4)]
    want = [-math.log(slow_given(row, theta)[label]) for row, label in zip(logits.tolist(), labels, strict=True)]
    assert logged(trainer, "loss")[0] == pytest.approx(sum(want) / len(want), abs=2e-5)


@pytest.mark.parametrize(("kind", "views"), [("simple", 0), ("simple", 2), ("complex", 0), ("complex", 2)])
def test_every_loss_and_score_of_a_run_can_be_replayed(tmp_path: Path, kind: str, views: int) -> None:
    collator: Any = DataCollatorWithPadding(make_tokenizer())
    if views:
        view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
        collator = ViewsCollator(collator, view, views, seed=0)
    trainer = make(tmp_path, data_collator=collator, num_train_epochs=3, noise_layer=kind)
    recorder = Recorder(trainer)
    trainer.train()
    start = torch.full((4, 4), 0.2 / 3).fill_diagonal_(0.8)
    counts, losses, record = torch.zeros(4, 4, dtype=torch.float64), [], defaultdict(list)
    for step, (batch, layer) in enumerate(zip(recorder.batches, recorder.layers, strict=True)):
        labels = batch.labels.tolist()
        if step < 8:
            torch.testing.assert_close(layer.bias.softmax(dim=1), start)
            losses.append(F.cross_entropy(batch.logits, batch.labels).item())
            for logits, label in list(zip(batch.logits, labels, strict=True))[:: views + 1]:
                counts[logits.argmax(), label] += step >= 4  # the second half of an epoch
            continue
        if step == 8:
            theta = (counts + 4 * start) / (counts.sum(dim=1, keepdim=True) + 4)
            torch.testing.assert_close(layer.bias.softmax(dim=1).double(), theta, rtol=1e-5, atol=1e-6)
            assert kind == "simple" or layer.weight.eq(0).all()
        else:  # it was started once, and has learned since
            assert not torch.equal(layer.bias, recorder.layers[8].bias)
        embeddings = batch.outputs["embeddings"].tolist() if kind == "complex" else [None] * len(labels)
        terms = []
        for entry, (row_id, logits, label, embedding) in enumerate(
            zip(batch.rows.ids.tolist(), batch.logits.tolist(), labels, embeddings, strict=True)
        ):
            theta_of_row = slow_theta(layer, embedding)
            given_prob = slow_given(logits, theta_of_row)[label]
            terms.append(-math.log(given_prob))
            if entry % (views + 1) == 0:
                record[row_id].append(slow_softmax(logits)[label] * theta_of_row[label][label] / given_prob)
        losses.append(sum(terms) / len(terms))
    assert len(recorder.batches[0].labels) == 8 * (views + 1)
    assert logged(trainer, "loss_method") == pytest.approx(losses, abs=5e-5)
    assert [len(record[row]) for row in range(64)] == [2] * 64
    want = torch.tensor([sum(record[row]) / 2 for row in range(64)])
    torch.testing.assert_close(trainer.row_scores().scores, want, rtol=1e-3, atol=1e-5)


def test_rows_that_were_only_seen_in_the_warmup_have_no_score(tmp_path: Path) -> None:
    trainer = make(tmp_path, max_steps=11)
    trainer.train()
    scores = trainer.row_scores().scores
    assert torch.equal(scores.isnan(), trainer.row_statistics.visits < 2)
    assert scores.isnan().sum() == 64 - 24
    table = trainer.label_issues()
    assert table["score"].isna().sum() == 40
    assert table["score"][:24].is_monotonic_increasing


@pytest.mark.parametrize("length", [{}, {"max_steps": 12}], ids=["epochs", "steps"])
def test_a_run_that_ends_in_its_warmup_ranks_by_margin_and_says_so(tmp_path: Path, length: dict[str, int]) -> None:
    trainer = make(tmp_path, noise_layer_warmup=2.0, **length)
    with pytest.warns(UserWarning, match="the noise layer is never used"):
        trainer.train()
    assert torch.equal(trainer.row_scores().scores, trainer.row_statistics.average_margin())
    plain = make_trainer(tmp_path / "plain", kind=Trainer, args_kind=TrainingArguments, **length)
    plain.train()
    assert_same_weights(trainer.model, plain.model, rtol=1e-4, atol=1e-5)
    assert torch.equal(trainer.auxiliary_model.bias, NoiseLayer(4).bias)


@KINDS
def test_layer_is_in_a_group_of_its_own_and_the_scheduler_scales_its_rate(tmp_path: Path, kind: str) -> None:
    trainer = make(
        tmp_path,
        noise_layer=kind,
        noise_layer_learning_rate=0.05,
        weight_decay=0.1,
        warmup_steps=4,
        optim="adamw_torch",
    )
    recorder = Recorder(trainer)
    trainer.train()
    groups = trainer.optimizer.param_groups
    layer = list(trainer.auxiliary_model.parameters())
    assert [id(each) for each in groups[-1]["params"]] == [id(each) for each in layer]
    assert len(layer) == (1 if kind == "simple" else 2)
    assert groups[-1]["weight_decay"] == 0
    assert groups[0]["weight_decay"] == 0.1
    inside = [id(each) for group in groups for each in group["params"]]
    assert len(inside) == len(set(inside)) == len(layer) + len(list(trainer.model.parameters()))
    for step, (*rates, own) in enumerate(recorder.rates):
        factor = step / 4 if step < 4 else (16 - step) / 12
        assert own == pytest.approx(0.05 * factor)
        assert rates == pytest.approx([1e-3 * factor] * 2)
    assert logged(trainer, "learning_rate") == pytest.approx([rates[0] for rates in recorder.rates])


def test_an_optimizer_of_the_user_gets_the_layer_as_well(tmp_path: Path) -> None:
    trainer = make(tmp_path, noise_layer_warmup=0.0)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    trainer.train()
    assert [len(group["params"]) for group in trainer.optimizer.param_groups][1:] == [1]
    assert not torch.equal(trainer.auxiliary_model.bias, NoiseLayer(4).bias)


def test_train_can_be_called_again(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.train()
    trainer.train()
    assert len(trainer.optimizer.param_groups) == 3
    assert trainer.confusion.state_dict()["counts"].sum().item() == 32  # of 64 rows, the second half of an epoch


@pytest.mark.parametrize(("warmup", "counted"), [(1.5, range(6, 12)), (2.0, range(8, 16))])
def test_the_layer_starts_from_what_the_second_half_of_the_warmup_predicts(
    tmp_path: Path, warmup: float, counted: range
) -> None:
    trainer = make(tmp_path, num_train_epochs=3, noise_layer_warmup=warmup, initial_noise=0.1)
    recorder = Recorder(trainer)
    trainer.train()
    counts = 4 * torch.full((4, 4), 0.1 / 3, dtype=torch.float64).fill_diagonal_(0.9)
    for step in counted:
        batch = recorder.batches[step]
        for predicted, label in zip(batch.logits.argmax(dim=1), batch.labels, strict=True):
            counts[predicted, label] += 1
    layers = [each.bias.softmax(dim=1).double() for each in recorder.layers]
    first = counted.stop
    torch.testing.assert_close(layers[first], counts / counts.sum(dim=1, keepdim=True), rtol=1e-5, atol=1e-6)
    assert not torch.equal(layers[first], layers[first - 1])


def test_model_init_brings_a_fresh_layer(tmp_path: Path) -> None:
    trainer = make(tmp_path, model_init=lambda: make_model("bert"))
    trainer.train()
    first = trainer.auxiliary_model
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert trainer.auxiliary_model is not first
    assert torch.equal(trainer.auxiliary_model.bias, first.bias)
    assert all(torch.equal(value, weights[name]) for name, value in trainer.model.state_dict().items())


def test_micro_batches_count_like_one_batch(tmp_path: Path) -> None:
    options = {"dropout": 0.0, "optim": "sgd", "learning_rate": 0.1, "noise_layer_learning_rate": 0.5}
    one = make(tmp_path / "one", **options)
    one.train()
    many = make(tmp_path / "many", per_device_train_batch_size=2, gradient_accumulation_steps=4, **options)
    many.train()
    assert_same_weights(one.model, many.model, rtol=1e-4, atol=1e-5)
    assert_same_weights(one.auxiliary_model, many.auxiliary_model, rtol=1e-4, atol=1e-5)


def test_a_row_without_finite_logits_spoils_neither_network(tmp_path: Path) -> None:
    model = make_model("bert")

    def spoil(_module: Any, _args: Any, outputs: Any) -> Any:
        if model.training:
            outputs.logits = outputs.logits.index_fill(0, torch.tensor([0]), math.nan)
        return outputs

    model.register_forward_hook(spoil)
    trainer = make(tmp_path, model=model)
    with pytest.warns(UserWarning, match="NaN or infinite logits"):
        trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    assert trainer.auxiliary_model.bias.isfinite().all()
    assert all(math.isfinite(value) for entry in trainer.state.log_history for value in entry.values())
    assert trainer.confusion.state_dict()["counts"].sum().item() == 32 - 4  # of four batches, each without a row


def test_learned_theta_is_nearer_to_the_true_one_than_the_identity(tmp_path: Path) -> None:
    theta = torch.tensor([[0.6, 0.4, 0.0, 0.0], [0.0, 0.7, 0.3, 0.0], [0.0, 0.0, 1.0, 0.0], [0.2, 0.1, 0.0, 0.7]])
    data, wrong = noisy_dataset(theta, rows=1024, seed=0)
    trainer = make(tmp_path, train_dataset=data, num_train_epochs=3, learning_rate=2e-3, logging_steps=1000)
    trainer.train()
    learned = trainer.auxiliary_model.bias.detach().softmax(dim=1)
    assert (learned - theta).norm() < 0.6 * (torch.eye(4) - theta).norm()  # 0.38 when this was written
    scores = trainer.row_scores().scores
    assert (scores[wrong][:, None] < scores[~wrong][None]).float().mean() > 0.9


# ---- Options ----


@pytest.mark.parametrize(
    "options",
    [
        {"noise_layer": "deep"},
        {"noise_layer_warmup": -1.0},
        {"noise_layer_warmup": math.inf},
        {"noise_layer_warmup": math.nan},
        {"initial_noise": 0.0},
        {"initial_noise": 0.5},
        {"initial_noise": math.nan},
        {"noise_layer_learning_rate": 0.0},
        {"noise_layer_learning_rate": math.inf},
        {"noise_layer_learning_rate": math.nan},
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        NoiseLayerConfig(output_dir=str(tmp_path), **options)
