"""A folder that is used twice: what an earlier training has left there is neither mixed in nor gone on from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from training import assert_same_weights, make_trainer
from transformers import TrainerCallback

from lane_hf import InputError, LaneTrainer
from lane_hf.baselines import CartographyConfig, CartographyTrainer
from lane_hf.checkpoint_folders import checkpoints
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

    def killed(output_dir: str) -> None:
        raise KilledError

    monkeypatch.setattr(second, "_save_optimizer_and_scheduler", killed)
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


def test_the_limit_counts_the_oldest_out(tmp_path: Path) -> None:
    trainer_in(tmp_path, save_total_limit=2).train()
    before = {path: path.stat().st_mtime for path in checkpoints(tmp_path)}
    assert [path.name for path in before] == ["checkpoint-24", "checkpoint-20"]
    kill(trainer_in(tmp_path, callbacks=[KillAt(3)]))
    # Setting aside leaves the times, by which Trainer tells what is oldest.
    assert {path: path.stat().st_mtime for path in before} == before


def test_a_training_that_nothing_was_left_of_is_as_ever(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == [f"checkpoint-{step}" for step in (24, 20, 15, 10, 5)]
    weights = torch.cat([each.flatten() for each in trainer.model.parameters()])
    resumed = trainer_in(tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-15"))
    assert torch.equal(torch.cat([each.flatten() for each in resumed.model.parameters()]), weights)
