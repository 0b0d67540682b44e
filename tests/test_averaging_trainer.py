"""With weight averaging, whoever looks at the model sees the average; training itself does not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from torch import Tensor
from training import assert_same_weights, dataset_for, logged, make_trainer, weights_of
from transformers import AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from lane_hf import InputError, RowTrainer, averaging_trainer, weight_average
from lane_hf.method_config import MethodConfig
from lane_hf.methods import METHODS

SPAN = 0.4
# Two epochs of eight batches; the second half of the steps is averaged.
OPTIONS: dict[str, Any] = {"dropout": 0.0, "weight_averaging": SPAN, "learning_rate": 5e-3}
PLAIN: dict[str, Any] = {"kind": RowTrainer, "args_kind": MethodConfig}


@pytest.fixture(autouse=True)
def short_trainings_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging_trainer, "MIN_STEPS", 0)


class Notes(TrainerCallback):
    """Notes the weights that are trained after each step, and what is in the model at each evaluation."""

    def __init__(self) -> None:
        self.trained: list[dict[str, Tensor]] = []
        self.epochs: list[float] = []
        self.at_the_end: dict[str, Tensor] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trained.append(weights_of(kwargs["model"]))
        self.epochs.append(state.epoch)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.at_the_end = weights_of(kwargs["model"])


def average_of(
    trained: list[dict[str, Tensor]], first_step: int = 8, step: int = 16, steps: int = 16, every: int = 1
) -> dict[str, Tensor]:
    """Return the average after one of some steps, by its formula; most spans are so short that every step counts."""
    average = {name: value.double() for name, value in trained[first_step - 1].items()}
    for number, weights in enumerate(trained[first_step - 1 + every : step : every], start=2):
        rate = max(1 / number, every / (SPAN * steps))
        average = {name: (1 - rate) * value + rate * weights[name].double() for name, value in average.items()}
    return average


def assert_close(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name].double(), value.double(), rtol=1e-5, atol=1e-6)


def of_method(name: str) -> dict[str, Any]:
    return {"kind": METHODS[name].trainer, "args_kind": METHODS[name].config}


KINDS = [
    {},
    PLAIN,
    {"contrastive": "scl", "contrastive_weight": 0.3, "auxiliary": "shared"},
    of_method("gce"),
    of_method("co-teaching"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_the_average_from_the_end_of_the_first_epoch_on(tmp_path: Path, kind: dict[str, Any]) -> None:
    notes, without = Notes(), Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes], **OPTIONS, **kind)
    trainer.train()
    make_trainer(tmp_path, callbacks=[without], **{**OPTIONS, **kind, "weight_averaging": 0.0}).train()
    for ours, theirs in zip(notes.trained, without.trained, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)  # training is what it was
    assert_close(weights_of(trainer.model), average_of(notes.trained))
    assert_close(notes.at_the_end, weights_of(trainer.model))  # those who save the model at the end see it too
    assert any(not torch.equal(value, notes.trained[-1][name]) for name, value in weights_of(trainer.model).items())


def test_of_a_long_span_not_every_step_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_average, "_UPDATES_IN_A_SPAN", 3)  # of 6.4 steps: every second one counts
    notes = Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes], **OPTIONS)
    trainer.train()
    assert_close(weights_of(trainer.model), average_of(notes.trained, every=2))


@pytest.mark.parametrize(("least", "first"), [(4, 8), (10, 10), (15, 15)])
def test_the_average_begins_with_the_least_step_after_the_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, first: int
) -> None:
    monkeypatch.setattr(averaging_trainer, "MIN_STEPS", least)
    notes = Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes], **OPTIONS)
    trainer.train()
    assert_close(weights_of(trainer.model), average_of(notes.trained, first))


def test_without_averaging_the_steps_are_those_of_trainer(tmp_path: Path) -> None:
    options = {"dropout": 0.1, "eval_dataset": dataset_for("bert", 16, seed=1), "eval_strategy": "epoch"}
    ours = make_trainer(tmp_path / "ours", **PLAIN, **options)
    ours.train()
    theirs = make_trainer(tmp_path / "theirs", kind=Trainer, args_kind=TrainingArguments, **options)
    theirs.train()
    assert_same_weights(ours.model, theirs.model)
    assert "weight_average" not in ours.stateful_parts()


def test_trainings_of_fewer_steps_are_not_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging_trainer, "MIN_STEPS", 17)
    notes = Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes], **OPTIONS)
    with pytest.warns(UserWarning, match="and 17 steps, when this training of 16 steps is over: nothing is averaged"):
        trainer.train()
    assert_close(weights_of(trainer.model), notes.trained[-1])


def test_trainings_of_so_many_steps_that_end_in_the_first_epoch_are_not_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averaging_trainer, "MIN_STEPS", 2)
    notes = Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes], **{**OPTIONS, "max_steps": 7})
    with pytest.warns(UserWarning, match="when this training of 7 steps is over: nothing is averaged"):
        trainer.train()
    assert_close(weights_of(trainer.model), notes.trained[-1])


def test_evaluations_checkpoints_and_the_best_model_are_averages(tmp_path: Path) -> None:
    notes, rows = Notes(), dataset_for("bert", 24, seed=1)
    saving = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    trainer = make_trainer(
        tmp_path,
        callbacks=[notes],
        eval_dataset=rows,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        **saving,
        **OPTIONS,
    )
    trainer.train()
    losses = logged(trainer, "eval_loss")
    assert len(losses) == 8
    for number, loss in enumerate(losses, start=1):
        step = 2 * number
        saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / f"checkpoint-{step}")
        expected = notes.trained[step - 1] if step < 8 else average_of(notes.trained, 8, step)
        assert_close(weights_of(saved), expected)
        assert make_trainer(tmp_path / "other", model=saved).evaluate(rows)["eval_loss"] == pytest.approx(
            loss, abs=1e-5
        )
    best = json.loads((tmp_path / "checkpoint-16" / "trainer_state.json").read_text())["best_model_checkpoint"]
    assert_same_weights(trainer.model, AutoModelForSequenceClassification.from_pretrained(best))
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), abs=1e-6)


@pytest.mark.parametrize("checkpoint", [5, 10, 15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, checkpoint: int, dtype: torch.dtype) -> None:
    options = {**OPTIONS, "dropout": 0.1, "save_strategy": "steps", "save_steps": 5, "auxiliary": "none"}
    options |= {"model": make_model("bert").to(dtype)}
    del options["dropout"]
    whole = make_trainer(tmp_path / "whole", **options)
    whole.train()
    options["model"] = make_model("bert").to(dtype)
    resumed = make_trainer(tmp_path / "resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{checkpoint}"))
    assert_same_weights(whole.model, resumed.model)
    assert whole.label_issues().equals(resumed.label_issues())


def test_resuming_with_another_setting_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_strategy="epoch", **OPTIONS).train()
    other = make_trainer(tmp_path, **{**OPTIONS, "weight_averaging": 0.0})
    with pytest.raises(InputError, match="weight_averaging"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


def test_a_second_training_begins_a_new_average(tmp_path: Path) -> None:
    notes = Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes], **OPTIONS)
    trainer.train()
    notes.trained.clear()
    trainer.train()
    assert_close(weights_of(trainer.model), average_of(notes.trained))


def test_what_is_saved_when_training_breaks_off_is_the_average(tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 14:
                raise KeyboardInterrupt

    notes = Notes()
    trainer = make_trainer(tmp_path, callbacks=[notes, Stop()], **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.save_model(str(tmp_path / "final"))
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "final")
    assert_close(weights_of(saved), average_of(notes.trained, step=13))  # Stop came before the average


def test_of_a_method_with_stages_only_the_last_is_averaged(tmp_path: Path) -> None:
    notes = Notes()
    stages = {**of_method("cartography-easy"), "model_init": lambda: make_model("bert", dropout=0.0)}
    options = {name: value for name, value in OPTIONS.items() if name != "dropout"}
    trainer = make_trainer(tmp_path, callbacks=[notes], **options, **stages)
    trainer.train()
    assert len(notes.trained) == trainer.state.max_steps  # those of the last stage alone
    first = next(step for step, epoch in enumerate(notes.epochs, start=1) if epoch >= 1)
    expected = average_of(notes.trained, first, len(notes.trained), steps=len(notes.trained))
    assert_close(weights_of(trainer.model), expected)
    assert any(not torch.equal(value, notes.trained[-1][name]) for name, value in weights_of(trainer.model).items())


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("is_deepspeed_enabled", "not supported with DeepSpeed.*set it to 0.*fsdp2.yaml"),
        ("is_fsdp_enabled", "not supported with FSDP version 1.*set it to 0.*fsdp2.yaml"),
    ],
)
def test_engines_whose_weights_cannot_be_averaged_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, message: str
) -> None:
    trainer = make_trainer(tmp_path, **PLAIN, **OPTIONS)
    plugin = type("Plugin", (), {"fsdp_version": 1})()
    monkeypatch.setattr(trainer.accelerator.state, "fsdp_plugin", plugin, raising=False)
    monkeypatch.setattr(trainer, engine, True)
    with pytest.raises(InputError, match=message):
        trainer.train()


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_shares_out_of_range_are_refused(tmp_path: Path, value: float) -> None:
    for method in METHODS.values():
        with pytest.raises(InputError, match="weight_averaging must be in"):
            method.config(output_dir=str(tmp_path), weight_averaging=value)


def test_a_model_saved_from_shards_in_the_middle_is_the_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where FSDP saves shards only, the plain model is written beside them; here nothing is sharded."""

    class SaveOne(Notes):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            super().on_step_end(args, state, control, **kwargs)
            if state.global_step == 12:
                with monkeypatch.context() as patch:
                    patch.setattr(trainer, "is_fsdp_enabled", True)
                    plugin = type("Plugin", (), {"state_dict_type": "SHARDED_STATE_DICT"})()
                    patch.setattr(trainer.accelerator.state, "fsdp_plugin", plugin, raising=False)
                    patch.setattr(trainer.accelerator, "get_state_dict", lambda model: model.state_dict())
                    trainer.save_model(str(tmp_path / "saved"))

    notes = SaveOne()
    trainer = make_trainer(tmp_path, callbacks=[notes], **OPTIONS)
    trainer.train()
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    # Users' callbacks come first: the twelfth step is taken in after them.
    assert_close(weights_of(saved), average_of(notes.trained, 8, 11))
