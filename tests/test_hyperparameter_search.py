"""A search sets fields of the arguments from trial to trial, as users do between runs: each run is checked, and
nothing of the one before stays that does not fit."""

import copy
from pathlib import Path
from typing import Any

import pytest
from tiny import make_model
from torch import nn
from training import NEUTRAL, assert_same_weights, dataset_for, make_trainer, weights_of
from transformers import BertForSequenceClassification, set_seed
from transformers.trainer_utils import BestRun

from lane_hf import InputError, LaneTrainer
from lane_hf.networks import SharedHead

BUILT_IN = {"auxiliary": "none", "weighting": "posterior", "num_train_epochs": 1, "weighting_warmup": 0.5}


def searchable(folder: Path, **changes: Any) -> LaneTrainer:
    given = {"train_dataset": dataset_for("bert", 32), "eval_dataset": dataset_for("bert", 16, seed=5)}
    return make_trainer(folder, model_init=lambda trial: make_model("bert"), **{**BUILT_IN, **given, **changes})


def search(trainer: LaneTrainer, trials: list[dict[str, Any]]) -> BestRun:
    """Search with settings that are given, in this order."""
    optuna = pytest.importorskip("optuna", reason="optuna is not installed (pip install optuna)")
    space = {name: list(dict.fromkeys(trial[name] for trial in trials)) for name in trials[0]}
    study = {"sampler": optuna.samplers.GridSampler(space, seed=0)}
    return trainer.hyperparameter_search(
        lambda trial: {name: trial.suggest_categorical(name, values) for name, values in space.items()},
        compute_objective=lambda metrics: metrics["eval_loss"],
        n_trials=len(trials),
        backend="optuna",
        **study,
    )


def test_the_best_trial_trained_again_is_the_best_trial(tmp_path: Path) -> None:
    trainer = searchable(tmp_path)
    best = search(trainer, [{"learning_rate": rate} for rate in (0.0, 1e-3)])
    with pytest.raises(InputError, match="hyperparameter_search keeps no model: set the best settings"):
        trainer.label_issues()
    assert best.hyperparameters["learning_rate"] != trainer.args.learning_rate, "the last trial is not the best one"
    trainer.args.learning_rate = best.hyperparameters["learning_rate"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] == best.objective
    assert set(trainer.label_issues()["given_label"]) == {f"label_{index}" for index in range(4)}


def test_an_unknown_value_in_a_search_is_refused(tmp_path: Path) -> None:
    trainer = searchable(tmp_path)
    with pytest.raises(InputError, match="weighting='gausian' is unknown: choose one of"):
        search(trainer, [{"weighting": "gausian"}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weighting_warmup": -1.0}, "weighting_warmup must not be negative"),
        ({"contrastive": "lscl"}, "needs the probabilities of an auxiliary network"),
    ],
)
def test_arguments_that_were_changed_are_checked_when_training_starts(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    trainer = searchable(tmp_path)
    for name, value in changes.items():
        setattr(trainer.args, name, value)
    with pytest.raises(InputError, match=message):
        trainer.train()


def test_a_run_without_a_second_network_keeps_nothing_of_one_with_it(tmp_path: Path) -> None:
    """As a search does that has `auxiliary` and `reweight` in its space."""
    trainer = searchable(tmp_path / "both", auxiliary="full", similarity="class")
    trainer.train()
    for name, value in NEUTRAL.items():
        setattr(trainer.args, name, value)
    trainer.train()
    assert trainer.auxiliary_model is None
    assert trainer.stateful_parts().keys() == {"rows"}
    alone = searchable(tmp_path / "alone", **NEUTRAL)
    alone.train()
    ours, theirs = weights_of(trainer.model), weights_of(alone.model)
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert trainer.label_issues().equals(alone.label_issues())


# ---- Without model_init: the next run goes on with the classifier ----

WEIGHTED: dict[str, Any] = {"auxiliary": "none", "reweight": True, "contrastive": "none", "weighting_warmup": 0.5}


@pytest.mark.parametrize(
    ("before", "after", "second"),
    [
        ({**WEIGHTED, "auxiliary": "full"}, NEUTRAL, None),
        (NEUTRAL, {**WEIGHTED, "auxiliary": "full"}, BertForSequenceClassification),
        (WEIGHTED, {**WEIGHTED, "auxiliary": "shared"}, SharedHead),
        (WEIGHTED, {**WEIGHTED, "auxiliary": "full"}, BertForSequenceClassification),
        ({**WEIGHTED, "auxiliary": "full"}, {**WEIGHTED, "auxiliary": "shared"}, SharedHead),
        ({**WEIGHTED, "auxiliary": "full"}, WEIGHTED, None),
    ],
    ids=lambda value: "-".join(f"{each}" for each in value.values()) if isinstance(value, dict) else "",
)
def test_another_kind_of_network_is_trained_like_by_a_new_trainer(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], second: type | None
) -> None:
    options = {"num_train_epochs": 1, "contrastive_min_steps": 0}
    trainer = make_trainer(tmp_path / "changed", dropout=0.0, **{**before, **options})
    trainer.train()
    model = copy.deepcopy(trainer.model)
    for name, value in after.items():
        setattr(trainer.args, name, value)
    set_seed(trainer.args.seed)  # as a new trainer does
    trainer.train()
    assert trainer.auxiliary_model is None if second is None else isinstance(trainer.auxiliary_model, second)
    anew = make_trainer(tmp_path / "new", model=model, **{**after, **options})
    anew.train()
    assert_same_weights(trainer.model, anew.model)
    assert_same_weights(trainer.auxiliary_model or nn.Identity(), anew.auxiliary_model or nn.Identity())
    assert trainer.label_issues().equals(anew.label_issues())


@pytest.mark.parametrize(("before", "after"), [({**WEIGHTED, "contrastive": "scl"}, NEUTRAL), (NEUTRAL, WEIGHTED)])
def test_the_optimizer_goes_on_where_there_was_and_is_one_network(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    trainer = make_trainer(tmp_path, **before, num_train_epochs=1, contrastive_min_steps=0)
    trainer.train()
    for name, value in after.items():
        setattr(trainer.args, name, value)
    trainer.train()
    assert {int(state["step"]) for state in trainer.optimizer.state.values()} == {16}
    assert (trainer.label_issues()["visits"] == 1).all()


def test_a_given_auxiliary_network_rests_where_there_shall_be_none(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, auxiliary_model=make_model("bert", seed=3), num_train_epochs=1)
    trainer.train()
    given = trainer.auxiliary_model
    before = weights_of(given)
    for kind, moves in (("none", False), ("full", True)):
        trainer.args.auxiliary = kind
        trainer.train()
        assert trainer.auxiliary_model is (given if moves else None)
        assert all((weights == before[name]).all() for name, weights in weights_of(given).items()) != moves


def test_networks_that_were_sharded_together_cannot_be_told_apart(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, **WEIGHTED, num_train_epochs=1)
    trainer.train()
    trainer.is_fsdp_enabled = True
    trainer.args.auxiliary = "full"
    with pytest.raises(InputError, match=r"FSDP has sharded the networks.*make a new trainer"):
        trainer.train()
