"""A search sets fields of the arguments from trial to trial: each trial is checked, and starts from nothing."""

from pathlib import Path
from typing import Any

import pytest
from tiny import make_model
from training import NEUTRAL, dataset_for, make_trainer, weights_of
from transformers.trainer_utils import BestRun

from lane_hf import InputError, LaneTrainer

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
