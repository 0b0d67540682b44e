"""A folder that is used twice: what an earlier training has left there is neither mixed in nor gone on from."""

import os
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from tiny import make_model
from training import assert_same_weights, dataset_for, make_trainer
from transformers import TrainerCallback

from lane_hf import InputError, LaneTrainer
from lane_hf.baselines import CartographyConfig, CartographyTrainer
from lane_hf.checkpoint_folders import all_checkpoints, checkpoints, is_earlier, stages
from lane_hf.resume import last_whole_checkpoint, what_is_missing

SAVING: dict[str, Any] = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 5}
KINDS: dict[str, dict[str, Any]] = {
    "lane": {"kind": LaneTrainer},
    "staged": {"kind": CartographyTrainer, "args_kind": CartographyConfig},
}


class KilledError(Exception):
    """Stands for the end of the process."""


class KillAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KilledError


class Best:
    """Scores a model better the nearer the evaluation is to one of them."""

    def __init__(self, best: int, done: int = 0) -> None:
        self.best, self.number = best, done

    def __call__(self, prediction: Any) -> dict[str, float]:
        self.number += 1
        return {"nearness": 1 / (1 + abs(self.number - self.best))}


def choosing(folder: Path, best: int, done: int = 0, **changes: Any) -> Any:
    """Return a trainer that evaluates every 4 steps and loads the best model."""
    settings = {"eval_strategy": "steps", "eval_steps": 4, "save_steps": 4, "metric_for_best_model": "nearness"}
    return trainer_in(
        folder,
        **{**settings, "load_best_model_at_end": True, "eval_dataset": dataset_for("bert", 16, seed=5), **changes},
        compute_metrics=Best(best, done),
    )


def raise_killed(*_: Any) -> None:
    raise KilledError


def trainer_in(folder: Path, kind: str = "lane", **changes: Any) -> Any:
    model = {"model_init": lambda: make_model("bert", dropout=0.1)} if kind == "staged" else {}
    return make_trainer(folder, **{**SAVING, **KINDS[kind], **model, **changes})


def kill(trainer: Any, resume_from_checkpoint: Any = None) -> None:
    with pytest.raises(KilledError):
        trainer.train(resume_from_checkpoint=resume_from_checkpoint)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_training_goes_on_from_its_own_checkpoint(tmp_path: Path, kind: str) -> None:
    trainer_in(tmp_path / "used", kind).train()
    kill(trainer_in(tmp_path / "used", kind, learning_rate=5e-4, callbacks=[KillAt(7)]))
    resumed = trainer_in(tmp_path / "used", kind, learning_rate=5e-4)
    resumed.train(resume_from_checkpoint=True)
    alone = trainer_in(tmp_path / "alone", kind, learning_rate=5e-4)
    alone.train()
    assert_same_weights(resumed.model, alone.model)
    assert {name: (tmp_path / "used" / f"checkpoint-{name}").exists() for name in (5, 10, 15, 20)} == dict.fromkeys(
        (5, 10, 15, 20), True
    )


def test_killed_in_its_first_stage_the_second_training_does_not_end_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer_in(tmp_path / "used", "staged").train()
    make_scorer = CartographyTrainer.make_scorer

    def make(self: CartographyTrainer, *args: Any, **kwargs: Any) -> Any:
        scorer = make_scorer(self, *args, **kwargs)
        scorer.add_callback(KillAt(7))
        return scorer

    with monkeypatch.context() as patched:
        patched.setattr(CartographyTrainer, "make_scorer", make)
        # Other steps in the last stage only: its rows are the same, so that its checkpoint would fit.
        kill(trainer_in(tmp_path / "used", "staged", same_steps=False))
    resumed = trainer_in(tmp_path / "used", "staged", same_steps=False)
    resumed.train(resume_from_checkpoint=True)
    alone = trainer_in(tmp_path / "alone", "staged", same_steps=False)
    alone.train()
    assert_same_weights(resumed.model, alone.model)


def test_before_its_first_checkpoint_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    trainer_in(tmp_path).train()
    kill(trainer_in(tmp_path, callbacks=[KillAt(3)]))
    message = r"there is no checkpoint in .* of the training that began last \(checkpoint-24 is of an earlier one\)"
    with pytest.raises(InputError, match=message + r": leave resume_from_checkpoint out, or name a folder"):
        trainer_in(tmp_path).train(resume_from_checkpoint=True)


def test_an_earlier_training_goes_on_where_its_checkpoint_is_named(tmp_path: Path) -> None:
    first = trainer_in(tmp_path)
    first.train()
    kill(trainer_in(tmp_path, learning_rate=5e-4, callbacks=[KillAt(3)]))
    # Killed once more, before it could save: what was named is the last one now.
    kill(trainer_in(tmp_path, callbacks=[KillAt(13)]), str(tmp_path / "checkpoint-10"))
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-10"
    resumed = trainer_in(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(resumed.model, first.model)


def test_no_file_of_an_earlier_checkpoint_stays_in_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer_in(tmp_path).train()
    folder = tmp_path / "checkpoint-5"
    assert what_is_missing(folder) is None
    second = trainer_in(tmp_path)

    monkeypatch.setattr(second, "_save_optimizer_and_scheduler", raise_killed)
    kill(second)  # when the model was written, and no more
    assert what_is_missing(folder) is not None
    assert not (folder / "optimizer.pt").exists()


def test_a_folder_whose_clearing_was_cut_short_is_still_of_the_earlier_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer_in(tmp_path).train()
    second = trainer_in(tmp_path)
    removed: list[Path] = []
    unlink = Path.unlink

    def remove(path: Path, missing_ok: bool = False) -> None:
        if "checkpoint-5" in path.parts and len(removed) == 3:
            raise KilledError
        removed.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", remove)
    kill(second)
    assert len(removed) == 3
    assert checkpoints(tmp_path) == []


def test_the_best_model_is_never_that_of_an_earlier_training(tmp_path: Path) -> None:
    trainer_in(tmp_path / "used", save_steps=4).train()
    # The best evaluation of the second is after step 4, where it saves nothing.
    second = choosing(tmp_path / "used", best=1, save_steps=8, learning_rate=5e-4)
    second.train()
    alone = choosing(tmp_path / "alone", best=1, save_steps=8, learning_rate=5e-4)
    alone.train()
    assert second.state.best_model_checkpoint == alone.state.best_model_checkpoint is None
    assert_same_weights(second.model, alone.model)


def test_a_second_search_does_not_take_the_best_model_of_the_first(tmp_path: Path) -> None:
    def search(folder: Path, save_steps: int) -> Any:
        found = []

        class Keep(TrainerCallback):
            def on_train_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
                found.append({name: weights.clone() for name, weights in model.state_dict().items()})

        trainer = choosing(
            folder, best=1, save_steps=save_steps, num_train_epochs=1, model=None, callbacks=[Keep()],
            model_init=lambda: make_model("bert", dropout=0.1),
        )  # fmt: skip
        trainer.hyperparameter_search(
            lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [1e-4 * save_steps])},
            backend="optuna", n_trials=1, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0),
        )  # fmt: skip
        return found[0]

    search(tmp_path / "used", 4)
    second, alone = search(tmp_path / "used", 8), search(tmp_path / "alone", 8)
    assert all(torch.equal(weights, alone[name]) for name, weights in second.items())


def test_what_comes_after_a_named_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    kill(trainer_in(tmp_path, save_steps=4, callbacks=[KillAt(17)]))
    kill(trainer_in(tmp_path, save_steps=4, callbacks=[KillAt(7)]), str(tmp_path / "checkpoint-4"))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-4"]
    # What comes before it is its own.
    kill(trainer_in(tmp_path, save_steps=4, callbacks=[KillAt(11)]), str(tmp_path / "checkpoint-4"))
    kill(trainer_in(tmp_path, save_steps=4, callbacks=[KillAt(11)]), str(tmp_path / "checkpoint-8"))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-8", "checkpoint-4"]


def test_a_named_checkpoint_of_an_earlier_training_leaves_nothing_of_the_later(tmp_path: Path) -> None:
    first = trainer_in(tmp_path, save_steps=3)
    first.train()
    kill(trainer_in(tmp_path, save_steps=4, learning_rate=5e-4, callbacks=[KillAt(9)]))
    kill(trainer_in(tmp_path, save_steps=3, callbacks=[KillAt(7)]), str(tmp_path / "checkpoint-6"))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-6"]
    resumed = trainer_in(tmp_path, save_steps=3)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(resumed.model, first.model)


def test_a_checkpoint_of_another_folder_leaves_nothing_of_this_one(tmp_path: Path) -> None:
    trainer_in(tmp_path / "old").train()
    trainer_in(tmp_path / "new", learning_rate=5e-4).train()
    kill(trainer_in(tmp_path / "new", callbacks=[KillAt(12)]), str(tmp_path / "old" / "checkpoint-10"))
    assert checkpoints(tmp_path / "new") == []
    assert len(checkpoints(tmp_path / "old")) == 5


def test_the_best_model_of_another_folder_is_not_taken_for_that_of_this_one(tmp_path: Path) -> None:
    kill(choosing(tmp_path / "old", best=2, callbacks=[KillAt(18)]))
    trainer_in(tmp_path / "new", save_steps=4, learning_rate=5e-4).train()
    resumed = choosing(tmp_path / "new", best=2, done=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "old" / "checkpoint-16"))
    assert resumed.state.best_model_checkpoint == str(tmp_path / "old" / "checkpoint-8")


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    trainer_in(tmp_path, save_steps=6).train()
    kill(trainer_in(tmp_path, save_steps=4, callbacks=[KillAt(9)]))
    before = checkpoints(tmp_path)
    with pytest.raises(InputError, match="Resume with the settings"):
        trainer_in(tmp_path, auxiliary="none").train(resume_from_checkpoint=str(tmp_path / "checkpoint-24"))
    assert checkpoints(tmp_path) == before
    refused = trainer_in(tmp_path)
    refused.args.weighting = "nonsense"
    with pytest.raises(InputError, match="nonsense"):
        refused.train()
    assert checkpoints(tmp_path) == before


def test_stages_that_are_refused_remove_nothing(tmp_path: Path) -> None:
    trainer_in(tmp_path, "staged").train()
    refused = trainer_in(tmp_path, "staged")
    refused.args.select = "nonsense"
    with pytest.raises(InputError, match="nonsense"):
        refused.train()
    assert [(path.name, is_earlier(path)) for path in stages(tmp_path)] == [("stage-1", False)]
    assert checkpoints(tmp_path)


def test_stages_of_an_earlier_training_are_not_gone_on_from(tmp_path: Path) -> None:
    trainer_in(tmp_path, "staged").train()
    kill(trainer_in(tmp_path, callbacks=[KillAt(3)]))
    with pytest.raises(InputError, match=r"no checkpoint in .* of the training that began last"):
        trainer_in(tmp_path, "staged").train(resume_from_checkpoint=True)
    kill(trainer_in(tmp_path, callbacks=[KillAt(7)]))
    with pytest.raises(
        InputError, match=r"cannot resume from .*checkpoint-5: the training that began last .* no stage"
    ):
        trainer_in(tmp_path, "staged").train(resume_from_checkpoint=True)
    trainer_in(tmp_path, "staged").train()
    assert not is_earlier(tmp_path / "stage-1")


@pytest.mark.parametrize("how", ["moved", "copied", "other place"])
def test_the_best_model_is_found_where_the_folder_lies_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    expected = choosing(tmp_path / "whole", best=2)
    expected.train()
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    cut = choosing(Path("run"), best=2)
    monkeypatch.setattr(cut, "_finalize_training", raise_killed)
    kill(cut)  # after the last checkpoint
    folder = tmp_path / how
    if how == "moved":
        shutil.move("run", folder)
    elif how == "copied":
        shutil.copytree("run", folder)
        choosing(Path("run"), best=2, learning_rate=5e-4).train()
    else:
        monkeypatch.chdir(tmp_path)
        folder = Path("place/run")
    resumed = choosing(folder, best=2, done=6)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.best_model_checkpoint == str(folder / "checkpoint-8")
    assert_same_weights(resumed.model, expected.model)


@pytest.mark.parametrize("overwritten", [False, True])
def test_the_best_model_of_an_earlier_training_belongs_to_its_checkpoints(tmp_path: Path, overwritten: bool) -> None:
    kill(choosing(tmp_path, best=2, callbacks=[KillAt(18)]))
    kill(trainer_in(tmp_path, save_steps=4, learning_rate=5e-4, callbacks=[KillAt(9 if overwritten else 3)]))
    resumed = choosing(tmp_path, best=2, done=4)
    if overwritten:
        with pytest.warns(UserWarning, match="best model before .*checkpoint-16 is not there any more"):
            resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-16"))
        assert resumed.state.best_model_checkpoint == str(tmp_path / "checkpoint-20")
    else:
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-16"))
        assert resumed.state.best_model_checkpoint == str(tmp_path / "checkpoint-8")
        assert not is_earlier(tmp_path / "checkpoint-8")


def test_a_best_model_that_is_gone_is_said(tmp_path: Path) -> None:
    kill(choosing(tmp_path, best=2, callbacks=[KillAt(18)]))
    shutil.rmtree(tmp_path / "checkpoint-8")
    resumed = choosing(tmp_path, best=2, done=4)
    with pytest.warns(
        UserWarning, match=r"best model before .*checkpoint-16 is not there any more \(.*checkpoint-8\)"
    ):
        resumed.train(resume_from_checkpoint=True)
    assert resumed.state.best_model_checkpoint == str(tmp_path / "checkpoint-20")


def test_the_limit_counts_the_oldest_out(tmp_path: Path) -> None:
    trainer_in(tmp_path, save_total_limit=2).train()
    for path in checkpoints(tmp_path):
        os.utime(path)  # this very second
    second = trainer_in(tmp_path, save_total_limit=1, callbacks=[KillAt(7)])
    kill(second)
    assert [path.name for path in all_checkpoints(tmp_path)] == ["checkpoint-5"]


def test_setting_aside_leaves_the_times(tmp_path: Path) -> None:
    trainer_in(tmp_path).train()
    for number, path in enumerate(checkpoints(tmp_path)):
        os.utime(path, (1000 - number, 1000 - number))
    before = {path: path.stat().st_mtime for path in checkpoints(tmp_path)}
    kill(trainer_in(tmp_path, callbacks=[KillAt(3)]))
    assert {path: path.stat().st_mtime for path in before} == before


def test_a_training_that_nothing_was_left_of_is_as_ever(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == [f"checkpoint-{step}" for step in (24, 20, 15, 10, 5)]
    weights = torch.cat([each.flatten() for each in trainer.model.parameters()])
    resumed = trainer_in(tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-15"))
    assert torch.equal(torch.cat([each.flatten() for each in resumed.model.parameters()]), weights)
