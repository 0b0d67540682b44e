"""AveragingTrainer: a Trainer whose model, for all who evaluate or save it, is an average over its training."""

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch.utils.data import DataLoader
from transformers import TrainerCallback

from .errors import InputError
from .method_config import MethodConfig
from .networks import JointModel
from .resumable_trainer import ResumableTrainer, Stateful
from .weight_average import WeightAverage

MIN_STEPS = 150
"""Nothing is averaged before so many optimizer steps, which is also when LANE's weights begin by default."""


class AveragingTrainer(ResumableTrainer):
    """Trainer that averages the classifier's weights, if `args.weight_averaging` says so.

    The average begins after the first epoch and 150 steps. From then on it is what is evaluated, saved, uploaded and,
    at the end of training, left in `trainer.model`. Training itself goes on as if there was none; a checkpoint holds
    the average as its model, and beside it the weights to go on from.

    Example:
        >>> args = MethodConfig(output_dir="out", weight_averaging=0.4)  # doctest: +SKIP
    """

    args: MethodConfig
    weight_average: WeightAverage | None = None
    """The average while it grows; None before and after, and where there is none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(_AfterEachStep(self.update_average))

    def update_average(self) -> None:
        """Take the weights of a step into the average, if one is due."""
        average, step, epoch = self.weight_average, self.state.global_step, self.state.epoch or 0.0
        if average is not None and step >= MIN_STEPS and epoch >= 1 and step % average.every == 0:
            average.update()

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        parts = super().stateful_parts()
        return parts if self.weight_average is None else {**parts, "weight_average": self.weight_average}

    def epochs_of(self, max_steps: int, train_dataloader: DataLoader[Any]) -> float:
        """Return how many epochs a training takes, also where `args.max_steps` says when it ends."""
        if self.args.max_steps <= 0:
            return self.args.num_train_epochs
        # With dataloader_drop_last a small data set has no batch at all, which Trainer says by itself.
        return max_steps / max(1, math.ceil(len(train_dataloader) / self.args.gradient_accumulation_steps))

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader[Any], *args: Any, **kwargs: Any
    ) -> Any:
        self.weight_average = None
        if self.args.weight_averaging > 0:
            self._check_engine_can_average()
            if max_steps < MIN_STEPS or self.epochs_of(max_steps, train_dataloader) <= 1:
                warnings.warn(
                    f"weight_averaging begins after the first epoch and {MIN_STEPS} steps, when this training of "
                    f"{max_steps} steps is over: nothing is averaged. Train longer, or leave it out",
                    stacklevel=2,
                )
            network = self.model.model if isinstance(self.model, JointModel) else self.model
            span = self.args.weight_averaging * max_steps
            self.weight_average = WeightAverage(network, span, self._reshard if self.is_fsdp_enabled else None)
        return super()._prepare_for_training(max_steps, train_dataloader, *args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        # Before the best checkpoint is loaded, whose model is an average already, and before callbacks save the model.
        if self.weight_average is not None:
            self.weight_average.settle()
            self.weight_average = None
        return super()._finalize_training(*args, **kwargs)

    # ---- Whoever looks at the model sees the average ----

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate or predict like Trainer, with the average of the weights."""
        with self._average_shown():
            return super().evaluation_loop(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model like `ResumableTrainer.save_model`, with the average of the weights."""
        with self._average_shown():
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with self._average_shown():
            super()._save_checkpoint(*args, **kwargs)

    def _average_shown(self) -> AbstractContextManager[None]:
        return nullcontext() if self.weight_average is None else self.weight_average.shown()

    def _reshard(self) -> None:
        # After an evaluation, FSDP leaves the weights of the outermost module put together, beside the shards.
        for module in self.model_wrapped.modules():
            if hasattr(module, "reshard"):
                module.reshard()

    def _check_engine_can_average(self) -> None:
        old_fsdp = self.is_fsdp_enabled and self.accelerator.state.fsdp_plugin.fsdp_version != 2  # noqa: PLR2004
        if self.is_deepspeed_enabled or old_fsdp:
            engine = "FSDP version 1" if old_fsdp else "DeepSpeed"
            raise InputError(
                f"weight_averaging is not supported with {engine}, which keeps weights that cannot be told apart: "
                "set it to 0, or shard with FSDP2 (examples/accelerate/fsdp2.yaml)"
            )


class _AfterEachStep(TrainerCallback):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._call()
