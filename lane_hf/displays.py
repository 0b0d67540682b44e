"""Which callbacks show how a trainer gets on."""

from collections.abc import Sequence

from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback


def displays_of(trainer: Trainer) -> list[TrainerCallback]:
    """Return the callbacks that show a trainer's progress: Trainer's own, or what has taken their place.

    Example:
        >>> displays_of(trainer)  # doctest: +SKIP
        [<transformers.trainer_callback.ProgressCallback object at ...>]
    """
    return [
        each for each in trainer.callback_handler.callbacks if isinstance(each, (ProgressCallback, PrinterCallback))
    ]


def show_with(trainer: Trainer, displays: Sequence[TrainerCallback]) -> None:
    """Let other callbacks show a trainer's progress, such as those of the trainer that it works for.

    Example:
        >>> show_with(scorer, displays_of(trainer))  # doctest: +SKIP
    """
    for each in displays_of(trainer):
        trainer.remove_callback(each)
    for each in displays:
        trainer.add_callback(each)
