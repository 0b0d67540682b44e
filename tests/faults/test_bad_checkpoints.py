"""What a run must not go on from is refused in one line, and nothing that was trained is lost."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_image_dataset, make_model, make_text_dataset, make_tokenizer
from training import assert_same_weights, dataset_for, logged, make_trainer, weights_of
from transformers import TrainerCallback

from lane_hf import InputError, LaneTrainer, RowTrainer
from lane_hf.errors import CheckpointError
from lane_hf.resume import last_whole_checkpoint, what_is_missing

SAVING: dict[str, Any] = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints 5, 10, 15, 20 and 24."""
    folder = tmp_path_factory.mktemp("run")
    make_trainer(folder, **SAVING).train()
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy with checkpoints 5 and 10 only, to be spoiled."""
    for name in ("checkpoint-5", "checkpoint-10"):
        shutil.copytree(run / name, tmp_path / "run" / name)
    return tmp_path / "run"


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


FILES = [
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "lane_state.safetensors",
    "rng_state.pth",
    "trainer_state.json",
]


@pytest.mark.parametrize("spoil", [Path.unlink, empty, cut, garbage])
@pytest.mark.parametrize("name", FILES)
def test_a_spoiled_file_is_never_gone_on_from(copy: Path, name: str, spoil: Callable[[Path], Any]) -> None:
    spoil(copy / "checkpoint-10" / name)
    trainer = make_trainer(copy, **SAVING)
    with pytest.raises(InputError, match=r"cannot resume from .*checkpoint-10: .*[Rr]esume") as caught:
        trainer.train(resume_from_checkpoint=str(copy / "checkpoint-10"))
    assert "\n" not in str(caught.value)
    assert trainer.state.global_step in (0, 10)  # not a step was trained


@pytest.mark.parametrize("name", [name for name in FILES if name != "scheduler.pt"])
def test_the_newest_whole_checkpoint_is_taken(copy: Path, run: Path, name: str) -> None:
    (copy / "checkpoint-10" / name).unlink()
    resumed = make_trainer(copy, **SAVING)
    with pytest.warns(UserWarning, match="going on from checkpoint-5, because checkpoint-10 is not whole"):
        resumed.train(resume_from_checkpoint=True)
    final = load_file(run / "checkpoint-24" / "model.safetensors")
    assert all(torch.equal(final[name], weights) for name, weights in weights_of(resumed.model).items())


def test_without_a_whole_checkpoint_nothing_is_trained(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(InputError, match=r"there is no checkpoint in .*: leave resume_from_checkpoint out"):
        make_trainer(tmp_path / "new", **SAVING).train(resume_from_checkpoint=True)
    for name in ("checkpoint-5", "checkpoint-10"):
        (copy / name / "trainer_state.json").unlink()
    with pytest.raises(InputError, match=r"no whole checkpoint in .*checkpoint-10: it has no trainer_state\.json"):
        make_trainer(copy, **SAVING).train(resume_from_checkpoint=True)


def test_the_weights_of_another_model_are_refused(copy: Path) -> None:
    weights = copy / "checkpoint-10" / "model.safetensors"
    save_file({f"other.{name}": value for name, value in load_file(weights).items()}, weights)
    with pytest.raises(InputError, match="of another model: it has no weights for bert"):
        make_trainer(copy, **SAVING).train(resume_from_checkpoint=str(copy / "checkpoint-10"))
    wider = make_trainer(copy, model=make_model("bert", hidden_size=64), **SAVING)
    with pytest.raises(InputError, match="the weights cannot be loaded"):
        wider.train(resume_from_checkpoint=str(copy / "checkpoint-5"))


OTHER_SETS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shuffled": (lambda rows: rows.shuffle(seed=1), "the same rows in another order: it was shuffled"),
    "sorted": (lambda rows: rows.sort("label"), "the same rows in another order"),
    "filtered": (lambda rows: rows.filter(lambda row: row["label"] != 3), "had 64 rows, now it has 48"),
    "relabelled": (
        lambda rows: rows.map(lambda row: {"label": (row["label"] + 1) % 4}),
        "the same rows with other labels: it was relabelled",
    ),
    "one label mended": (
        lambda rows: rows.map(lambda row, i: {"label": 3 if i == 7 else row["label"]}, with_indices=True),
        "relabelled",
    ),
    "another": (lambda rows: make_text_dataset(64, 4, 9, tokenizer=make_tokenizer()), "has other rows"),
}


@pytest.mark.parametrize("kind", [LaneTrainer, RowTrainer], ids=["lane", "row"])
@pytest.mark.parametrize("change", OTHER_SETS)
def test_another_training_set_is_refused_and_the_difference_named(
    tmp_path: Path, run: Path, change: str, kind: type
) -> None:
    other, message = OTHER_SETS[change]
    trainer = make_trainer(tmp_path, kind=kind, train_dataset=other(dataset_for("bert")), **SAVING)
    before = weights_of(trainer.model)
    with pytest.raises(InputError, match=message) as caught:
        trainer.train(resume_from_checkpoint=str(run / "checkpoint-10"))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], weights) for name, weights in weights_of(trainer.model).items())


def test_the_same_rows_made_anew_are_welcome(run: Path, tmp_path: Path) -> None:
    rows = dataset_for("bert")
    same = rows.add_column("note", ["anything"] * len(rows)).select(range(len(rows)))  # columns that no model sees
    trainer = make_trainer(tmp_path, train_dataset=same, **SAVING)
    trainer.train(resume_from_checkpoint=str(run / "checkpoint-10"))
    assert trainer.state.global_step == 24


def test_pictures_of_another_set_are_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, "vit", **SAVING).train()
    other = make_trainer(tmp_path, "vit", train_dataset=make_image_dataset(seed=5), **SAVING)
    with pytest.raises(InputError, match="has other rows"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))


def test_a_checkpoint_of_the_model_alone_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_only_model=True, **SAVING).train()
    assert not (tmp_path / "checkpoint-24" / "lane_state.safetensors").exists()
    with pytest.raises(InputError, match="save_only_model=True, which leaves out what resuming needs"):
        make_trainer(tmp_path, **SAVING).train(resume_from_checkpoint=str(tmp_path / "checkpoint-24"))


class StopAt(TrainerCallback):
    """Ends a run early."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


def test_the_best_model_comes_back_after_a_resume(tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "save_total_limit": 1}
    options = {
        **SAVING,
        **best,
        "eval_strategy": "steps",
        "eval_steps": 5,
        "eval_dataset": dataset_for("bert", seed=2),
    }
    whole = make_trainer(tmp_path / "whole", **options)
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", **options)
    make_trainer(tmp_path / "resumed", **options, callbacks=[StopAt(10)]).train()
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.best_global_step == whole.state.best_global_step
    scores = resumed.evaluate()["eval_loss"]
    assert scores == pytest.approx(min(logged(whole, "eval_loss")))


def test_running_out_of_memory_starts_everything_anew_with_smaller_batches(tmp_path: Path) -> None:
    class Small(LaneTrainer):
        """Has no memory for more than four rows at once, and only notices in its fifth step."""

        steps = 0

        def training_loss(self, model: Any, inputs: Any, rows: Any) -> Any:
            self.steps += 1
            if len(rows.ids) > 4 and self.steps > 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            return super().training_loss(model, inputs, rows)

    trainer = make_trainer(tmp_path, kind=Small, auto_find_batch_size=True, num_train_epochs=2, save_strategy="epoch")
    trainer.train()
    assert trainer.state.global_step == 2 * 64 // 4
    # What the first attempt had recorded is gone.
    assert trainer.alm.count.tolist() == [2] * 64
    assert trainer.row_statistics.visits.tolist() == [2] * 64
    assert what_is_missing(tmp_path / "checkpoint-32") is None


# ---- A full disk ----


def _mounted(folder: Path, size: int) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, capture_output=True
    )


@pytest.fixture
def tiny_disk(tmp_path: Path, run: Path) -> Iterator[Path]:
    """A disk that has room for one checkpoint and a half."""
    size = sum(path.stat().st_size for path in (run / "checkpoint-5").iterdir())
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        _mounted(folder, int(1.5 * size) + 8 * 4096)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tiny disk needs the right to mount tmpfs ({error})")
    yield folder
    # Lazily: weights that were loaded from it may still be mapped into memory.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("kind", [LaneTrainer, RowTrainer], ids=["lane", "row"])
def test_a_full_disk_leaves_the_checkpoint_before(tiny_disk: Path, tmp_path: Path, kind: type) -> None:
    if kind is RowTrainer:  # its checkpoints are smaller by the auxiliary network
        (tiny_disk / "ballast").write_bytes(bytes(shutil.disk_usage(tiny_disk).free // 2))
    trainer = make_trainer(tiny_disk, kind=kind, **SAVING)
    with pytest.raises(CheckpointError, match=r"checkpoint-\d+ could not be written") as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    left = last_whole_checkpoint(tiny_disk)
    assert str(left) in str(caught.value)
    assert [path.name for path in tiny_disk.glob("checkpoint-*")] == [left.name]  # nothing half written
    elsewhere = tmp_path / "elsewhere"
    resumed = make_trainer(elsewhere, kind=kind, **SAVING)
    resumed.train(resume_from_checkpoint=str(left))
    undisturbed = make_trainer(tmp_path / "undisturbed", kind=kind, **SAVING)
    undisturbed.train()
    assert_same_weights(undisturbed.model, resumed.model)
    assert np.array_equal(undisturbed.label_issues()["alm"], resumed.label_issues()["alm"], equal_nan=True)


def test_a_model_that_cannot_be_saved_is_said(tiny_disk: Path, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", **SAVING)
    trainer.train()
    (tiny_disk / "ballast").write_bytes(bytes(shutil.disk_usage(tiny_disk).free - 4096))
    with pytest.raises(CheckpointError, match=r"the model in .* could not be written.*checkpoint-24, which is whole"):
        trainer.save_model(str(tiny_disk / "model"))
