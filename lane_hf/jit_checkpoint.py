"""Checkpoints at a signal (`enable_jit_checkpoint`), between two steps."""

from typing import Any

from transformers.trainer_jit_checkpoint import JITCheckpointCallback


class BetweenSteps(JITCheckpointCallback):
    """Transformers' callback, except that it saves nothing in the middle of a step.

    There the rows have been seen by the averages already, but the weights have not learned from them: the resumed run
    would show them the same rows once more. The end of the step is a moment away.
    """

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the end of the step."""


def save_between_steps(trainer: Any) -> None:
    """Put [`BetweenSteps`] in the place of Transformers' own callback, if a trainer has that."""
    replaced = trainer.pop_callback(JITCheckpointCallback)
    if replaced is not None:
        callback = BetweenSteps()
        callback.trainer, callback.jit_manager = replaced.trainer, replaced.jit_manager  # which listens already
        trainer.add_callback(callback)
