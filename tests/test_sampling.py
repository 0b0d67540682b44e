"""Which epoch it is, for the order of its rows and for augmentations."""

from pathlib import Path
from typing import Any

from training import make_trainer
from transformers import TrainerCallback

from lane_hf import RowTrainer


class StopEarly(TrainerCallback):
    """Ends each epoch after two steps, and notes which epoch the trainer takes each step for."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.epochs: list[int] = []
        self.rows: list[list[int]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epochs.append(self.trainer._epoch)
        self.rows.append(self.trainer.row_statistics.visits.tolist())
        control.should_epoch_stop = state.global_step % 2 == 0


def test_an_epoch_that_is_ended_early_counts(tmp_path: Path) -> None:
    stop = StopEarly()
    settings = {"num_train_epochs": 3, "train_sampling_strategy": "group_by_length"}
    trainer = make_trainer(tmp_path, kind=RowTrainer, callbacks=[stop], **settings)
    stop.trainer = trainer
    for _ in range(2):  # a second run begins with epoch 0 again
        trainer.train()
        assert stop.epochs == [0, 0, 1, 1, 2, 2]
        assert stop.rows[1] != [seen - before for seen, before in zip(stop.rows[3], stop.rows[1], strict=True)]
        stop.epochs.clear()
        stop.rows.clear()
