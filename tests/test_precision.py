"""Half precision, activation checkpointing and optimizers: each trains both networks and saves a plain model."""

import dataclasses
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from torch import Tensor
from torch.overrides import TorchFunctionMode
from training import assert_same_weights, dataset_for, logged, make_trainer, weights_of
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from variants import RememberStart, assert_learned, assert_same_state, train_and_check

from lane_hf.networks import JointModel

ON_CUDA = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device: Accelerate ignores fp16 on CPU"
)
WITH_TF32 = pytest.mark.skipif(
    not (torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)),
    reason="needs a CUDA device with TF32 (Ampere or newer)",
)
HALF = (torch.bfloat16, torch.float16)


def small_bert(**settings: Any) -> PreTrainedModel:
    return make_model("bert", num_hidden_layers=1, **settings)


# ---- bfloat16 ----


@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_bf16_trains_with_the_contrastive_term(tmp_path: Path, auxiliary: str) -> None:
    trainer = make_trainer(tmp_path, model=small_bert(), bf16=True, auxiliary=auxiliary, contrastive="lscl")
    again = train_and_check(trainer, tmp_path / "final")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


@pytest.mark.parametrize("contrastive", ["none", "lscl"])
@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_a_model_loaded_in_bfloat16_trains(tmp_path: Path, auxiliary: str, contrastive: str) -> None:
    # A weight of 1 in bfloat16 does not move by 0.001.
    options = {"auxiliary": auxiliary, "contrastive": contrastive, "learning_rate": 1e-2}
    trainer = make_trainer(tmp_path, model=small_bert().bfloat16(), **options)
    again = train_and_check(trainer, tmp_path / "final")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
    kept = {torch.bfloat16} if auxiliary == "full" else {torch.float32}
    assert {parameter.dtype for parameter in trainer.auxiliary_model.parameters()} == kept


def test_evaluating_first_in_bf16_leaves_two_separate_networks(tmp_path: Path) -> None:
    # Evaluation patches autocast into the classifier, and the auxiliary is then a copy of what was patched.
    trainer = make_trainer(tmp_path, model=small_bert(), bf16=True)
    trainer.evaluate(dataset_for("bert", 16, seed=3))
    remember = RememberStart(trainer)
    trainer.add_callback(remember)
    trainer.train()
    assert_learned(trainer, remember.starts)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    batch.pop("labels")
    with torch.no_grad():
        first, second = (network.eval()(**batch).logits for network in (trainer.model, trainer.auxiliary_model))
    assert not torch.equal(first, second)


class Arithmetic(TorchFunctionMode):
    """Records the floating types of what PyTorch's functions return, except while the networks run."""

    MOVES = frozenset({"detach", "__getitem__", "to", "float", "__get__", "__set__", "requires_grad_"})

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.types: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        if not self.paused and name not in self.MOVES:
            for value in result if isinstance(result, tuple) else (result,):
                if isinstance(value, Tensor) and value.is_floating_point():
                    self.types[name].add(value.dtype)
        return result


@pytest.mark.parametrize("contrastive", ["lscl", "scl", "lcl"])
@pytest.mark.parametrize("kind", ["autocast", "weights"])
def test_outside_the_networks_nothing_is_computed_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, contrastive: str
) -> None:
    in_bf16 = {"bf16": True} if kind == "autocast" else {"model": small_bert().bfloat16()}
    trainer = make_trainer(tmp_path, contrastive=contrastive, similarity="class", max_steps=2, **in_bf16)
    # At worst a caller has autocast on around the loss as well.
    monkeypatch.setattr(trainer, "compute_loss_context_manager", lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    mode, seen = Arithmetic(), []
    forward, compute_loss = JointModel.forward, trainer.compute_loss

    def paused_forward(self: JointModel, *args: Any, **inputs: Any) -> Any:
        mode.paused = True
        try:
            outputs = forward(self, *args, **inputs)
            seen.append(outputs["logits"].dtype)
            return outputs
        finally:
            mode.paused = False

    def recorded(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return compute_loss(*args, **kwargs)

    monkeypatch.setattr(JointModel, "forward", paused_forward)
    monkeypatch.setattr(trainer, "compute_loss", recorded)
    trainer.train()
    assert seen == [torch.bfloat16] * 2, "the networks did run in bfloat16"
    assert {"cross_entropy", "softmax", "logsumexp", "max", "mean"} <= mode.types.keys()
    assert {name: types for name, types in mode.types.items() if types & set(HALF)} == {}


# ---- float16 ----


def test_fp16_on_a_processor_is_ordinary_training(tmp_path: Path) -> None:
    # Accelerate has no autocast to float16 on CPU and leaves it out, for Trainer too.
    with pytest.warns(UserWarning, match="fp16 does nothing on a processor, training is in float32: set bf16"):
        half = make_trainer(tmp_path / "half", fp16=True)
    half.train()
    full = make_trainer(tmp_path / "full")
    full.train()
    assert_same_weights(half.model, full.model)
    assert half.accelerator.scaler is None


class Heads(TrainerCallback):
    """Notes the classifier's head after every step."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.heads = trainer, [self.now(trainer)]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.heads.append(self.now(self.trainer))

    def now(self, trainer: Any) -> Tensor:
        return trainer.model.classifier.weight.detach().cpu().clone()


def check_skipped_steps(trainer: Any, device: str) -> None:
    """Train with infinite gradients in the first three steps, and check what is left of that."""
    trainer.accelerator.scaler = torch.amp.GradScaler(device, init_scale=256.0, growth_interval=1000)
    heads = Heads(trainer)
    trainer.add_callback(heads)
    head = trainer.model.classifier.weight
    head.register_hook(lambda gradient: gradient * torch.inf if trainer.state.global_step < 3 else gradient)
    trainer.train()
    assert trainer.accelerator.scaler.get_scale() == 256.0 / 2**3
    moved = [not torch.equal(before, after) for before, after in pairwise(heads.heads)]
    assert moved[:3] == [False] * 3
    assert all(moved[3:-1]), "the last step may have a learning rate of 0"
    # The margins of a skipped step are as good as any: the networks themselves gave finite logits.
    assert (trainer.alm.count == 2).all()
    assert trainer.skipped_rows() == 0
    assert torch.isfinite(trainer.alm.average()).all()
    assert not trainer.label_issues().isna().any(axis=None)
    assert all(torch.isfinite(weights).all() for weights in weights_of(trainer.model).values())
    assert all(torch.isfinite(weights).all() for weights in weights_of(trainer.auxiliary_model).values())


def test_steps_that_a_loss_scaler_skips_leave_the_averages_sound(tmp_path: Path) -> None:
    # Accelerate undoes the scale before clipping only where it chose float16 itself.
    check_skipped_steps(make_trainer(tmp_path, max_grad_norm=0.0, contrastive="lscl"), "cpu")


@ON_CUDA
@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_fp16_trains_on_an_accelerator(tmp_path: Path, auxiliary: str) -> None:
    options = {"use_cpu": False, "fp16": True, "contrastive": "lscl", "learning_rate": 1e-2}
    trainer = make_trainer(tmp_path, auxiliary=auxiliary, **options)
    train_and_check(trainer, tmp_path / "final")
    assert trainer.accelerator.scaler is not None
    assert trainer.accelerator.scaler.get_scale() > 0


@ON_CUDA
def test_steps_that_fp16_skips_leave_the_averages_sound(tmp_path: Path) -> None:
    check_skipped_steps(make_trainer(tmp_path, use_cpu=False, fp16=True, contrastive="lscl"), "cuda")


@WITH_TF32
@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_tf32_trains_on_an_accelerator(tmp_path: Path, auxiliary: str) -> None:
    precision = torch.get_float32_matmul_precision()
    try:
        train_and_check(make_trainer(tmp_path, use_cpu=False, tf32=True, auxiliary=auxiliary), tmp_path / "final")
    finally:
        torch.set_float32_matmul_precision(precision)


# ---- Activation checkpointing ----

NAMES = {field.name for field in dataclasses.fields(TrainingArguments)}


class LayerCalls(TrainerCallback):
    """Counts how often the first layer of each network runs."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.calls = trainer, {"model": 0, "auxiliary": 0}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        for name, network in (("model", self.trainer.model), ("auxiliary", self.trainer.auxiliary_model)):
            if hasattr(network, "bert"):
                # Hooks of the layer itself lie outside of what is computed again in newer releases of Transformers.
                attention = network.bert.encoder.layer[0].attention
                attention.register_forward_pre_hook(lambda *_, name=name: self.count(name))

    def count(self, name: str) -> None:
        self.calls[name] += 1


@pytest.mark.parametrize(
    "name",
    [
        "gradient_checkpointing",
        pytest.param(
            "activation_checkpointing",
            marks=pytest.mark.skipif(
                "activation_checkpointing" not in NAMES, reason="this Transformers has only the older name"
            ),
        ),
    ],
)
@pytest.mark.parametrize("auxiliary", ["full", "shared", "given"])
def test_activations_of_both_networks_are_computed_again(tmp_path: Path, auxiliary: str, name: str) -> None:
    def train(folder: str, **changes: Any) -> tuple[Any, dict[str, int]]:
        given = {"model": small_bert(dropout=0.0), "auxiliary": auxiliary}
        if auxiliary == "given":
            given |= {"auxiliary": "full", "auxiliary_model": small_bert(dropout=0.0, seed=5)}
        trainer = make_trainer(tmp_path / folder, max_steps=8, **given, **changes)
        calls = LayerCalls(trainer)
        trainer.add_callback(calls)
        trainer.train()
        return trainer, calls.calls

    plain, once = train("plain", contrastive="lscl")
    sparing, twice = train("sparing", contrastive="lscl", **{name: True})
    assert once == {"model": 8, "auxiliary": 0 if auxiliary == "shared" else 8}
    assert twice == {network: 2 * number for network, number in once.items()}
    assert logged(sparing, "loss") == pytest.approx(logged(plain, "loss"), rel=1e-5)
    assert_same_weights(plain.model, sparing.model, rtol=1e-4, atol=1e-6)
    assert_same_weights(plain.auxiliary_model, sparing.auxiliary_model, rtol=1e-4, atol=1e-6)


def test_a_given_auxiliary_takes_the_options_of_checkpointing(tmp_path: Path) -> None:
    options = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"every_n_layers": 2}}
    trainer = make_trainer(tmp_path, auxiliary_model=make_model("bert", seed=5), max_steps=1, **options)
    trainer.train()
    for network in (trainer.model, trainer.auxiliary_model):
        assert [layer.gradient_checkpointing for layer in network.bert.encoder.layer] == [True, False]


# ---- Optimizers ----


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "rmsprop", "adagrad"])
def test_an_optimizer_trains_both_networks_and_goes_on_with_both(tmp_path: Path, optim: str) -> None:
    options = {"optim": optim, "learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 4}
    options |= {"num_train_epochs": 1, "weighting_warmup": 0.5, "contrastive": "lscl"}
    whole = make_trainer(tmp_path / "whole", model=small_bert(), **options)
    train_and_check(whole, tmp_path / "final")
    optimized = {id(parameter) for group in whole.optimizer.param_groups for parameter in group["params"]}
    both = [*whole.model.parameters(), *whole.auxiliary_model.parameters()]
    assert optimized == {id(parameter) for parameter in both}
    if optim != "sgd":  # without momentum it has no state
        assert len(whole.optimizer.state_dict()["state"]) == len(both)
    resumed = make_trainer(tmp_path / "resumed", model=small_bert(), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert_same_state(whole, resumed)
