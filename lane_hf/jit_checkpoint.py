"""Checkpoints at a signal (`enable_jit_checkpoint`), between two steps."""

from typing import Any

from transformers.trainer_jit_checkpoint import JITCheckpointCallback


class BetweenSteps(JITCheckpointCallback):
    """Transformers' callback, except that it saves nothing in the middle of a step.

    There the rows have been seen by the averages already, but the weights have not learned from them: the resumed run
    would show them the same rows once more. The end of the step is a moment away.
    """

    has_saved: bool = False
    """Whether this training has been stopped by a signal."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget an earlier training."""
        self.has_saved = False

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the end of the step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop, if a signal has come."""
        self._note()
        super().on_step_begin(args, state, control, **kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop, if a signal has come."""
        self._note()
        super().on_step_end(args, state, control, **kwargs)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop, if a signal has come."""
        self._note()
        super().on_epoch_end(args, state, control, **kwargs)

    def _note(self) -> None:
        if self.jit_manager is not None and self.jit_manager.is_checkpoint_requested:
            self.has_saved = True


def save_between_steps(trainer: Any) -> BetweenSteps | None:
    """Put [`BetweenSteps`] in the place of Transformers' own callback, if a trainer has that, and return it."""
    replaced = trainer.pop_callback(JITCheckpointCallback)
    if replaced is None:
        return None
    callback = BetweenSteps()
    callback.trainer, callback.jit_manager = replaced.trainer, replaced.jit_manager  # which listens already
    trainer.add_callback(callback)
    return callback
