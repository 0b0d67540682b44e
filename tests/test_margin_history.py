"""The margin history on disk, against margins kept by hand, and through a kill."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training import make_trainer
from transformers import TrainerCallback

from lane_hf import InputError, LaneTrainer, RowTrainer
from lane_hf.baselines.aum import AumConfig
from lane_hf.margin_history import MARGINS_FILE, MarginHistory
from lane_hf.row_statistics import Observation


class StopAt(TrainerCallback):
    """Ends training at a step, as a kill would, with the schedule of the whole run."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step >= self.step


def test_what_is_recorded_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "margins.npy"
    history = MarginHistory(path, epochs=2, num_rows=4)
    history.record(0, torch.tensor([2, -1, 0]), torch.tensor([1.5, 9.0, -2.0]))
    history.record(1, torch.tensor([2, 3]), torch.tensor([1e9, -1e9]))
    history.record(2, torch.tensor([1]), torch.tensor([7.0]))  # an epoch more than was planned
    history.finish()
    largest, nan = float(np.finfo(np.float16).max), np.nan
    np.testing.assert_array_equal(np.load(path), [[-2.0, nan, 1.5, nan], [nan, nan, largest, -largest]])
    assert path.stat().st_size == 2 * 2 * 4 + 128  # 2 bytes a visit, and the header


@pytest.mark.parametrize("done", [False, True])
def test_an_earlier_file_is_kept_only_if_asked_for_and_of_the_same_shape(tmp_path: Path, done: bool) -> None:
    path = tmp_path / "margins.npy"
    first = MarginHistory(path, 2, 3)
    first.record(0, torch.tensor([0]), torch.tensor([1.0]))
    if done:
        first.finish()
    second = MarginHistory(path, 2, 3, keep=True)
    second.record(1, torch.tensor([1]), torch.tensor([2.0]))
    second.finish()
    np.testing.assert_array_equal(np.load(path), [[1.0, np.nan, np.nan], [np.nan, 2.0, np.nan]])
    wider = MarginHistory(path, 2, 4, keep=True)
    wider.finish()
    assert np.load(path).shape == (2, 4)
    assert np.isnan(np.load(path)).all()
    MarginHistory(path, 2, 4).record(0, torch.tensor([0]), torch.tensor([1.0]))
    MarginHistory(path, 2, 4).finish()
    assert np.isnan(np.load(path)).all()


def test_what_is_there_stays_until_training_is_done(tmp_path: Path) -> None:
    first = MarginHistory(tmp_path / "margins.npy", 1, 2, row_ids=np.array([7, 8]))
    first.record(0, torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
    assert [path.name for path in tmp_path.iterdir()] == ["margins.partial.npy"]
    first.finish()
    second = MarginHistory(tmp_path / "margins.npy", 1, 3, row_ids=np.array([9, 10, 11]))
    second.record(0, torch.tensor([0]), torch.tensor([5.0]))
    assert np.load(tmp_path / "margins.npy").tolist() == [[1.0, 2.0]]
    assert np.load(tmp_path / "row_ids.npy").tolist() == [7, 8]
    second.finish()
    assert np.load(tmp_path / "margins.npy").shape == (1, 3)
    assert np.load(tmp_path / "row_ids.npy").tolist() == [9, 10, 11]
    assert {path.name for path in tmp_path.iterdir()} == {"margins.npy", "row_ids.npy"}
    # Rows without names of their own leave none of earlier ones behind.
    MarginHistory(tmp_path / "margins.npy", 1, 3).finish()
    assert [path.name for path in tmp_path.iterdir()] == ["margins.npy"]


@pytest.mark.parametrize("kind", [RowTrainer, LaneTrainer], ids=["row", "lane"])
def test_a_trainer_keeps_the_plain_margin_of_each_visit(tmp_path: Path, kind: type) -> None:
    seen: list[Observation] = []
    trainer = make_trainer(tmp_path, kind=kind, num_train_epochs=2.5, margin_history=True)
    record = trainer.record
    trainer.record = lambda observation: (seen.append((trainer.state.epoch or 0, observation)), record(observation))
    trainer.train()
    expected = np.full((3, 64), np.nan, dtype=np.float16)
    for epoch, observation in seen:
        expected[int(epoch + 1e-6), observation.row_ids] = observation.margins.half()
    margins = np.load(tmp_path / MARGINS_FILE)
    np.testing.assert_array_equal(margins, expected)
    assert not np.isnan(margins[:2]).any()
    assert np.isnan(margins[2]).sum() == 32
    average = np.nanmean(margins.astype(np.float64), axis=0)
    np.testing.assert_allclose(average, trainer.row_statistics.average_margin(), atol=1e-2)


def test_a_resumed_run_fills_the_same_file(tmp_path: Path) -> None:
    def run(folder: str, **options: object) -> LaneTrainer:
        return make_trainer(tmp_path / folder, margin_history=True, save_strategy="steps", save_steps=10, **options)

    run("whole").train()
    run("cut", callbacks=[StopAt(13)]).train()
    resumed = run("cut")
    file = tmp_path / "cut" / MARGINS_FILE
    before = np.load(file)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-10"))
    whole = np.load(tmp_path / "whole" / MARGINS_FILE)
    assert np.isnan(before).any()
    np.testing.assert_array_equal(np.load(file), whole)


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_was_killed_after_its_last_step_keeps_them(tmp_path: Path) -> None:
    def run(folder: str, seed: int = 1) -> Any:
        return make_trainer(
            tmp_path / folder, margin_history=True, save_strategy="steps", save_steps=16, num_train_epochs=2, seed=seed
        )

    run("whole").train()
    run("cut", seed=2).train()  # an earlier one in the same folder
    cut = run("cut")
    cut._finalize_training = interrupt
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    run("cut").train(resume_from_checkpoint=True)  # takes no step
    margins = [np.load(tmp_path / name / MARGINS_FILE) for name in ("whole", "cut")]
    np.testing.assert_array_equal(*margins)


def test_epochs_that_are_added_leave_those_before(tmp_path: Path) -> None:
    def run(epochs: int) -> Any:
        return make_trainer(
            tmp_path, margin_history=True, save_strategy="epoch", num_train_epochs=epochs, lr_scheduler_type="constant"
        )

    run(2).train()
    before = np.load(tmp_path / MARGINS_FILE)
    run(4).train(resume_from_checkpoint=True)
    after = np.load(tmp_path / MARGINS_FILE)
    np.testing.assert_array_equal(after[:2], before)
    assert after.shape[0] == 4
    assert not np.isnan(after).any()


def test_without_the_option_there_is_no_file(tmp_path: Path) -> None:
    make_trainer(tmp_path).train()
    assert not (tmp_path / MARGINS_FILE).exists()


def test_methods_with_stages_refuse_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="margin_history=True is not supported by methods with several stages"):
        AumConfig(output_dir=str(tmp_path), margin_history=True)
