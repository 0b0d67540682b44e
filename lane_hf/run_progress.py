"""How training goes, on standard error: a bar on a terminal, a line for each evaluation or epoch elsewhere."""

import math
import os
import sys
from types import TracebackType
from typing import Any, Self

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

_SHOWN = {"accuracy": "accuracy", "f1_macro": "macro-F1"}


class RunProgress(ProgressCallback):
    """Shows the progress of the main job; takes the place of what `Trainer` prints.

    Use it as a context manager, so that the terminal is left in order however training ends.

    Args:
        is_quiet: no bar even on a terminal.

    Example:
        >>> with RunProgress() as progress:  # doctest: +SKIP
        ...     show_with(trainer, [progress])
        ...     trainer.train()
        epoch 1 of 4: loss 2.413, accuracy 0.412, macro-F1 0.387
    """

    def __init__(self, is_quiet: bool = False) -> None:
        super().__init__()
        on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: Any = _make_bar() if on_terminal and not is_quiet else None
        self._tasks: dict[str, int] = {}
        self._loss = math.nan

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self._bar is not None:
            self._bar.stop()

    # ---- Events of Trainer ----

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start a bar."""
        if state.is_world_process_zero:
            self._loss = math.nan
            self._advance("training", state.global_step, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar."""
        if state.is_world_process_zero:
            self._advance("training", state.global_step, state.max_steps)

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Move the bar of an evaluation."""
        if state.is_world_process_zero and hasattr(eval_dataloader, "__len__"):
            self._advance("evaluating", None, len(eval_dataloader))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the loss, and say a line if it is that of an epoch which no evaluation follows.

        The logs themselves are for report_to and trainer_state.json.
        """
        if logs is not None and "loss" in logs:
            self._loss = logs["loss"]
            if state.is_world_process_zero and args.eval_strategy == "no" and args.logging_strategy == "epoch":
                self._say(state, {})

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say a line if neither an evaluation nor the log of the epoch will, which come later."""
        if state.is_world_process_zero and args.eval_strategy == "no" and args.logging_strategy != "epoch":
            self._say(state, {})

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Say a line during training."""
        self._finish("evaluating")
        if state.is_world_process_zero and "training" in self._tasks:
            self._say(state, metrics or {})

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Take the bar of a prediction away."""
        self._finish("evaluating")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        self._finish("training")

    # ---- Showing ----

    def _say(self, state: TrainerState, metrics: dict[str, float]) -> None:
        found = {} if math.isnan(self._loss) else {"loss": self._loss}
        self._loss = math.nan  # said once: the next line has a loss of its own, or none
        for name, value in metrics.items():
            for ending, shown in _SHOWN.items():
                if name.endswith(f"_{ending}"):
                    found[shown] = value
        values = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        line = f"epoch {state.epoch or 0:.3g} of {state.num_train_epochs:g}{': ' if values else ''}{values}"
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 -- a command line
        else:
            self._bar.console.print(line, highlight=False, markup=False)

    def _advance(self, what: str, done: int | None, total: int) -> None:
        new = what not in self._tasks
        if self._bar is None:
            self._tasks.setdefault(what, 0)
            return
        if new:
            self._tasks[what] = self._bar.add_task(what, total=total)
            self._bar.start()
        self._bar.update(self._tasks[what], completed=done, advance=1 if done is None else None)

    def _finish(self, what: str) -> None:
        task = self._tasks.pop(what, None)
        if self._bar is not None and task is not None:
            self._bar.remove_task(task)
            if not self._tasks:
                self._bar.stop()


def _make_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
