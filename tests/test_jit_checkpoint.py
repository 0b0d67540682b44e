"""A checkpoint at a signal: taken between two steps, so that no row is seen twice by the run that goes on."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training import make_trainer
from transformers import TrainerCallback

from lane_hf import LaneTrainer, RowTrainer


class Terminate(TrainerCallback):
    """Asks for a checkpoint in the third step, after the forward pass, with a real signal."""

    def on_pre_optimizer_step(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)


@pytest.mark.parametrize("kind", [RowTrainer, LaneTrainer])
def test_a_row_is_seen_once_in_an_epoch_also_when_a_signal_comes_within_a_step(tmp_path: Path, kind: type) -> None:
    options: dict[str, Any] = {"kind": kind, "num_train_epochs": 1, "auxiliary": "none"}
    if kind is RowTrainer:
        del options["auxiliary"]
    before = signal.getsignal(signal.SIGTERM)
    first = make_trainer(tmp_path, **options, enable_jit_checkpoint=True)
    # Transformers' callback waits for seconds before it asks; here it asks at once, and before the hooks of the step.
    manager = next(
        callback.jit_manager for callback in first.callback_handler.callbacks if hasattr(callback, "jit_manager")
    )
    manager.kill_wait = 0
    first.callback_handler.callbacks.insert(0, Terminate())
    first.train()
    assert signal.getsignal(signal.SIGTERM) == before
    assert first.state.global_step == 3
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    second = make_trainer(tmp_path, **options)
    second.train(resume_from_checkpoint=True)
    assert torch.equal(second.row_statistics.visits, torch.ones(64, dtype=second.row_statistics.visits.dtype))
