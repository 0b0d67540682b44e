"""What every method owes its user, whatever it does: the same promises as `LaneTrainer` keeps."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model, make_text_dataset, make_tokenizer
from training import dataset_for, make_trainer, weights_of
from transformers import AutoModelForSequenceClassification
from variants import assert_comes_back, assert_finite, assert_same_state, train_and_check

from lane_hf import InputError, RowTrainer, baselines
from lane_hf.baselines.staged import StagedTrainer
from lane_hf.methods import METHODS, method_of
from lane_hf.report.table import COLUMNS

load = AutoModelForSequenceClassification.from_pretrained
ALL = pytest.mark.parametrize("method", [name for name in METHODS if name not in ("lane", "plain")])
# The three kinds of Data Cartography differ in which rows they keep; what does not depend on that is shown with one.
ONE_OF_EACH_KIND = pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("lane", "plain", "cartography-hard", "cartography-ambiguous")]
)
ONE_STAGE = [name for name, method in METHODS.items() if not issubclass(method.trainer, StagedTrainer)]
STAGES = [name for name in METHODS if name not in ONE_STAGE]


def make(method: str, folder: Path, num_labels: int = 4, **options: Any) -> RowTrainer:
    """Return a trainer of the method; several stages start from fresh models, all of them from the same."""
    chosen = method_of(method)
    if method in STAGES:
        options.setdefault("model_init", lambda: make_model("bert", num_labels))
    else:
        options.setdefault("model", make_model("bert", num_labels))
    return make_trainer(folder, kind=chosen.trainer, args_kind=chosen.config, **{**chosen.fixed, **options})


@pytest.mark.parametrize("method", ONE_STAGE)
def test_everything_learns_and_the_saved_model_is_a_plain_one(tmp_path: Path, method: str) -> None:
    trainer = make(method, tmp_path / "run", num_train_epochs=3)
    train_and_check(trainer, tmp_path / "final", load)
    assert tuple(trainer.label_issues().columns) == COLUMNS
    assert (trainer.label_issues()["visits"] == 3).all()


@pytest.mark.parametrize(
    ("method", "said", "remedy"),
    [
        ("noise-layer", "noise_layer_warmup=1 covers all 1 epochs: the noise layer", {"noise_layer_warmup": 0.5}),
        ("label-interpolation", "interpolation_warmup=1 covers all 1 epochs", {"interpolation_warmup": 0.5}),
        ("disc", "disc_warmup=1 covers all 1 epochs: no row is ever sorted", {"disc_warmup": 0.5}),
        ("divide-mix", "mixmatch_warmup=1 covers all 1 epochs: no label is ever doubted", {"mixmatch_warmup": 0.5}),
        ("unicon", "mixmatch_warmup=1 covers all 1 epochs: no label is ever doubted", {"mixmatch_warmup": 0.5}),
        ("co-teaching", "forget_rate is estimated after the first epoch, and there is no other", {"forget_rate": 0.2}),
    ],
)
def test_a_training_too_short_for_its_method_is_warned_of(
    tmp_path: Path, method: str, said: str, remedy: dict[str, float]
) -> None:
    with pytest.warns(UserWarning, match=said):
        make(method, tmp_path, num_train_epochs=1).train()
    with pytest.warns(UserWarning, match=said.replace("all 1 epochs", "all 0.125 epochs")):
        make(method, tmp_path, max_steps=1).train()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=said.partition("=")[0].partition(" ")[0])
        make(method, tmp_path, num_train_epochs=1, **remedy).train()
        make(method, tmp_path, max_steps=9).train()


@pytest.mark.parametrize("method", STAGES)
def test_the_last_of_several_stages_learns_and_is_a_plain_model(tmp_path: Path, method: str) -> None:
    trainer = make(method, tmp_path / "run", num_train_epochs=3)
    fresh = weights_of(make_model("bert"))
    trainer.train()
    unmoved = [name for name, weights in weights_of(trainer.model).items() if torch.equal(weights, fresh[name])]
    assert unmoved == []
    assert_finite(trainer)
    assert_comes_back(trainer, tmp_path / "final", load)
    assert tuple(trainer.label_issues().columns) == COLUMNS
    assert sorted(trainer.label_issues()["row_id"]) == list(range(64))


@pytest.mark.parametrize("method", ONE_STAGE)
def test_resumed_equals_uninterrupted(tmp_path: Path, method: str) -> None:
    # After the warm-up of those that have one, in the middle of an epoch.
    options = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 12}
    whole = make(method, tmp_path, **options)
    whole.train()
    resumed = make(method, tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-12"))
    assert_same_state(whole, resumed)


@ALL
def test_two_labels_and_a_label_of_one_row(tmp_path: Path, method: str) -> None:
    data = make_text_dataset(48, 2, tokenizer=make_tokenizer())
    first = [row for row in range(48) if data[row]["label"] == 0]
    second = next(row for row in range(48) if data[row]["label"] == 1)
    trainer = make(method, tmp_path, num_labels=2, train_dataset=data.select([*first, second]), num_train_epochs=3)
    trainer.train()
    assert_finite(trainer)
    assert len(trainer.label_issues()) == 25


@ONE_OF_EACH_KIND
def test_batches_of_one_row(tmp_path: Path, method: str) -> None:
    data = dataset_for("bert", 12)
    trainer = make(method, tmp_path, train_dataset=data, per_device_train_batch_size=1, num_train_epochs=2)
    trainer.train()
    assert_finite(trainer)


@ONE_OF_EACH_KIND
def test_accumulated_batches_count_like_one(tmp_path: Path, method: str) -> None:
    """The logged loss neither grows nor shrinks with the number of batches that are added up."""
    # Without what may be negative, or compares rows so much that it is another loss where a batch has two of them.
    comparable = {"peer-loss": {"peer_alpha": 0.0}, "scl": {"scl_weight": 0.1}}.get(method, {})
    losses, data = [], dataset_for("bert", 32)
    for accumulated in (1, 4):
        options = {"gradient_accumulation_steps": accumulated, "per_device_train_batch_size": 8 // accumulated}
        options |= {"num_train_epochs": 2, "learning_rate": 0.0, "train_dataset": data, **comparable}
        trainer = make(method, tmp_path / str(accumulated), **options)
        trainer.train()
        entries = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        losses.append(sum(entries) / len(entries))
    # Losses that compare the rows of a batch see fewer of them.
    assert 0.7 * losses[0] < losses[1] < 1.3 * losses[0]


@ONE_OF_EACH_KIND
def test_decoders(tmp_path: Path, method: str) -> None:
    given = {"model_init": lambda: make_model("llama")} if method in STAGES else {"model": make_model("llama")}
    trainer = make(method, tmp_path, num_train_epochs=2, train_dataset=dataset_for("llama"), **given)
    trainer.train()
    assert_finite(trainer)


@ALL
def test_plain_training_arguments_get_the_methods_defaults(tmp_path: Path, method: str) -> None:
    from transformers import TrainingArguments

    chosen = method_of(method)
    given = {"model_init": lambda: make_model("bert")} if method in STAGES else {"model": make_model("bert")}
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    trainer = chosen.trainer(args=args, train_dataset=dataset_for("bert"), processing_class=make_tokenizer(), **given)
    assert isinstance(trainer.args, chosen.config)


@ALL
def test_label_smoothing_of_trainer_is_refused(tmp_path: Path, method: str) -> None:
    with pytest.raises(InputError, match="label_smoothing_factor is not supported"):
        make(method, tmp_path, label_smoothing_factor=0.1)


def test_every_public_name_exists_and_every_method_is_public() -> None:
    for name in baselines.__all__:
        assert getattr(baselines, name).__name__ == name
    ours = {method.trainer.__name__ for name, method in METHODS.items() if name not in ("lane", "plain")}
    configs = {method.config.__name__ for name, method in METHODS.items() if name not in ("lane", "plain")}
    assert set(baselines.__all__) == ours | configs
    assert dir(baselines) == sorted(baselines.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nobody'"):
        baselines.Nobody  # noqa: B018 -- the lookup is what is tested


def test_unknown_method() -> None:
    with pytest.raises(InputError, match=r"the method 'aun' is unknown \(did you mean aum\?\): choose one of lane"):
        method_of("aun")
