"""A checkpoint at a signal: taken between two steps, so that no row is seen twice by the run that goes on."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from job import Job
from training import assert_same_weights, dataset_for, make_trainer
from transformers import TrainerCallback

from lane_hf import LaneTrainer, RowTrainer, run
from lane_hf.margin_history import MARGINS_FILE
from lane_hf.report.run_record import read_run


class Terminate(TrainerCallback):
    """Asks for a checkpoint in the third step, after the forward pass, with a real signal."""

    def on_pre_optimizer_step(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)


def ask_in_the_third_step(trainer: Any) -> None:
    # Transformers' callback waits for seconds before it asks; here it asks at once, and before the hooks of the step.
    manager = next(
        callback.jit_manager for callback in trainer.callback_handler.callbacks if hasattr(callback, "jit_manager")
    )
    manager.kill_wait = 0
    trainer.callback_handler.callbacks.insert(0, Terminate())


@pytest.mark.parametrize("kind", [RowTrainer, LaneTrainer])
def test_a_row_is_seen_once_in_an_epoch_also_when_a_signal_comes_within_a_step(tmp_path: Path, kind: type) -> None:
    options: dict[str, Any] = {"kind": kind, "num_train_epochs": 1, "auxiliary": "none"}
    if kind is RowTrainer:
        del options["auxiliary"]
    before = signal.getsignal(signal.SIGTERM)
    first = make_trainer(tmp_path, **options, enable_jit_checkpoint=True)
    ask_in_the_third_step(first)
    first.train()
    assert signal.getsignal(signal.SIGTERM) == before
    assert first.state.global_step == 3
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    second = make_trainer(tmp_path, **options)
    second.train(resume_from_checkpoint=True)
    assert torch.equal(second.row_statistics.visits, torch.ones(64, dtype=second.row_statistics.visits.dtype))


def test_what_was_saved_at_a_signal_is_kept_beside_the_best_model(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 2,
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        "margin_history": True,
        "eval_dataset": dataset_for("bert", 16, seed=5),
    }
    whole = make_trainer(tmp_path / "whole", **options)
    whole.train()
    assert not whole.stopped_at_signal
    first = make_trainer(tmp_path / "cut", **options, enable_jit_checkpoint=True)
    ask_in_the_third_step(first)
    first.train()
    assert first.stopped_at_signal
    assert (tmp_path / "cut" / "checkpoint-3").is_dir()
    assert first.state.best_model_checkpoint == str(tmp_path / "cut" / "checkpoint-2")
    assert not (tmp_path / "cut" / MARGINS_FILE).exists()  # it is not done
    second = make_trainer(tmp_path / "cut", **options)
    second.train(resume_from_checkpoint=True)
    assert not second.stopped_at_signal
    assert_same_weights(second.model, whole.model)
    margins = [np.load(tmp_path / name / MARGINS_FILE) for name in ("cut", "whole")]
    np.testing.assert_array_equal(*margins)


def test_the_main_job_does_not_take_a_stopped_training_for_one_that_is_done(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"train_file": job.data(), "per_device_train_batch_size": 4}
    assert job(**settings, seed=1).status == 0
    before = read_run(job.output_dir)
    make = run._make_trainer

    def make_and_ask(*args: Any) -> RowTrainer:
        trainer = make(*args)
        ask_in_the_third_step(trainer)
        return trainer

    with monkeypatch.context() as patched:
        patched.setattr(run, "_make_trainer", make_and_ask)
        outcome = job(**settings, seed=2, enable_jit_checkpoint=True)
    assert outcome.status == 1
    assert "a signal stopped the training at step 3 of 8" in outcome.err
    assert "--resume_from_checkpoint True" in outcome.err
    after = read_run(job.output_dir)
    assert after.settings == before.settings
    pd.testing.assert_frame_equal(pd.DataFrame(after.issues), pd.DataFrame(before.issues))
    assert job(**settings, seed=2, resume_from_checkpoint=True).status == 0
    assert (job.issues()["visits"] == 1).all()
