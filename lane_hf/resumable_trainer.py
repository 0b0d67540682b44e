"""ResumableTrainer: a Trainer whose checkpoints hold further state, and are whole or refused."""

import errno
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers.trainer import TRAINER_STATE_NAME

from .checkpoint import check_state, load_state, save_state
from .checkpoint_folders import checkpoints, go_on_from, is_earlier, remove_if_earlier, set_aside, stages
from .display import first_line
from .errors import CheckpointError, InputError
from .fingerprint import Fingerprint, fingerprint
from .hub.hub_trainer import HubTrainer
from .jit_checkpoint import save_between_steps
from .replaced import replaced
from .resume import check_checkpoint, last_whole_checkpoint, what_is_missing

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


class Stateful(Protocol):
    """What a part of the training state must offer to live in checkpoints."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors."""

    def load_state_dict(self, state: dict[str, Tensor]) -> Any:
        """Continue from such a state."""


class ResumableTrainer(HubTrainer):
    """Trainer, except that a run goes on from a checkpoint exactly or not at all.

    - [`stateful_parts`] are saved with each checkpoint, in a file that is written all or nothing.
    - `resume_from_checkpoint=True` takes the newest whole checkpoint, not the newest folder, and none that an earlier
      training left in `output_dir`.
    - A checkpoint that is damaged, or belongs to another training set, is refused before anything is changed.
    - If a checkpoint cannot be written, what there is of it is removed, and the error says what is left.

    Example:
        >>> trainer.train(resume_from_checkpoint=True)  # doctest: +SKIP
    """

    _fingerprint: Fingerprint | None = None
    _run_dir: Path  # of a search's trial, it is not output_dir

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._between_steps = save_between_steps(self)

    @property
    def stopped_at_signal(self) -> bool:
        """Whether the last training was stopped by a signal (`enable_jit_checkpoint`), before it was done."""
        stopped = self._between_steps is not None and self._between_steps.has_saved
        return stopped and self.state.global_step < self.state.max_steps

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        if not self.stopped_at_signal:
            return super()._finalize_training(*args, **kwargs)
        # Trainer would load the best model, and with save_total_limit=1 remove the checkpoint that was just saved.
        with replaced(self.state, "best_model_checkpoint", None):
            return super()._finalize_training(*args, **kwargs)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {}

    def facts(self) -> dict[str, int | str]:
        """Return what must be the same when a run is resumed."""
        return {}

    def label_columns(self) -> list[str]:
        """Return the names under which the training set may hold labels."""
        return list(self.label_names)

    def dataset_fingerprint(self) -> Fingerprint:
        """Return the fingerprint of what the model gets of the training set; taken once a run."""
        if self._fingerprint is None:
            dataset = self.train_dataset
            if hasattr(dataset, "column_names") and hasattr(dataset, "remove_columns"):
                dataset = self._remove_unused_columns(dataset, description="training")
            self._fingerprint = fingerprint(dataset, self.label_columns())
        return self._fingerprint

    # ---- Resuming ----

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train like `Trainer.train`.

        Args:
            resume_from_checkpoint: folder of a checkpoint, or True for the newest whole one in `output_dir`.
            *args: further positional arguments of `Trainer.train`.
            **kwargs: further arguments of `Trainer.train`.

        Raises:
            InputError: the checkpoint is missing, damaged, or of another training set.
            CheckpointError: a checkpoint could not be written.
        """
        self._fingerprint = None
        if resume_from_checkpoint is True:
            resume_from_checkpoint = str(last_whole_checkpoint(self.args.output_dir))
        if resume_from_checkpoint and self.train_dataset is not None:
            check_checkpoint(resume_from_checkpoint)
            check_state(resume_from_checkpoint, self.facts(), self.dataset_fingerprint())
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _init_training_state(self, *args: Any) -> tuple[int, int]:
        begun: tuple[int, int] = super()._init_training_state(*args)
        resume_from_checkpoint, trial = args[-2:]
        self._run_dir = Path(self._get_output_dir(trial))
        if resume_from_checkpoint is not None:
            self._find_best_beside(Path(resume_from_checkpoint))
        return begun

    def _find_best_beside(self, checkpoint: Path) -> None:
        """Look for the best checkpoint so far beside the one gone on from, wherever the folder has been moved."""
        noted = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8")).get("best_model_checkpoint")
        best = None if noted is None else checkpoint.parent / Path(noted).name
        if best is not None and best.is_dir() and is_earlier(best) == is_earlier(checkpoint):
            self.state.best_model_checkpoint = str(best)
            return
        # Trainer would take a folder with the number of the best step, whosoever it is.
        self.state.best_model_checkpoint = self.state.best_global_step = None
        if best is None:
            return
        self.state.best_metric = None
        if self.args.load_best_model_at_end:
            warnings.warn(
                f"the best model before {checkpoint} is not there any more ({best}): at the end the best of those "
                "that follow is loaded",
                stacklevel=2,
            )

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        # Now that nothing is refused any more.
        if self.args.should_save:
            with disk_errors_named(f"a mark in the checkpoints of {self._run_dir}", self._run_dir):
                if resume_from_checkpoint is None:
                    set_aside([*checkpoints(self._run_dir), *self._foreign_stages()])
                else:
                    go_on_from(resume_from_checkpoint, self.state.best_model_checkpoint, self._run_dir)
                    if self.state.best_global_step:  # the best one may lie elsewhere
                        remove_if_earlier(self._run_dir / f"checkpoint-{self.state.best_global_step}")
        return prepared

    def _foreign_stages(self) -> list[Path]:
        """Return the folders of stages that are not of this training when it begins anew."""
        return stages(self._run_dir)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        is_best: bool = super()._determine_best_metric(metrics, trial)
        if is_best and self.args.should_save:
            # Trainer takes a folder with the number of the best step for the best model, whether it saves it or not.
            remove_if_earlier(self._run_dir / f"checkpoint-{self.state.global_step}")
        return is_best

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        with _damage_is_named(resume_from_checkpoint, "the weights"):
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        super()._issue_warnings_after_load(load_result)
        names = ("_keys_to_ignore_on_save", "all_tied_weights_keys", "_tied_weights_keys")
        optional = {key for name in names for key in getattr(self.model, name, None) or ()}
        missing = sorted(set(load_result.missing_keys) - optional)
        if missing:
            raise InputError(f"the checkpoint is of another model: it has no weights for {missing[0]}")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            parts = self.stateful_parts()
            state = load_state(checkpoint, set(parts))
            for name, part in parts.items():
                with _damage_is_named(checkpoint, f"the state of {name}"):
                    part.load_state_dict(state[name])
        with _damage_is_named(checkpoint, "the state of the optimizer or scheduler"):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _damage_is_named(checkpoint, "the state of the random numbers"):
            super()._load_rng_state(checkpoint)

    # ---- Saving ----

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save or self.is_fsdp_enabled:  # what is sharded is put together by all processes
            parts = {name: part.state_dict() for name, part in self.stateful_parts().items()}
        if self.args.should_save:
            save_state(output_dir, parts, self.facts(), self.dataset_fingerprint())

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model like `Trainer.save_model`.

        Raises:
            CheckpointError: it could not be written.
        """
        folder = Path(output_dir or self.args.output_dir)
        if _internal_call:  # part of a checkpoint
            super().save_model(output_dir, _internal_call)
            return
        with disk_errors_named(f"the model in {folder}", self.args.output_dir):
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_dir = Path(self._get_output_dir(trial=trial))
        folder = run_dir / f"checkpoint-{self.state.global_step}"
        try:
            with disk_errors_named(str(folder), run_dir, except_folder=folder):
                if self.args.should_save:
                    remove_if_earlier(folder)
                self.accelerator.wait_for_everyone()  # others write into it as well
                super()._save_checkpoint(model, trial)
        except CheckpointError:
            if what_is_missing(folder) is None:  # it is whole: the error came after it
                raise
            shutil.rmtree(folder, ignore_errors=True)  # it would only take space and be mistaken for a checkpoint
            raise


@contextmanager
def disk_errors_named(what: str, run_dir: str | Path, except_folder: Path | None = None) -> Iterator[None]:
    """Turn errors of the disk into a `CheckpointError` that says what is left.

    Args:
        what: what is being written.
        run_dir: folder of the run, with its checkpoints.
        except_folder: a checkpoint that does not count as left.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_of_the_disk(error):
            raise
        left = [path for path in checkpoints(run_dir) if path != except_folder and what_is_missing(path) is None]
        advice = f"go on from {left[0]}, which is whole, with resume_from_checkpoint" if left else "start anew"
        raise CheckpointError(
            f"{what} could not be written ({first_line(error)}): make room or mend the disk, then {advice}"
        ) from error


def _is_of_the_disk(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _DISK_ERRORS
    # PyTorch and safetensors report what the operating system said in exceptions of their own.
    own = ("PytorchStreamWriter", "inline_container", "I/O error", "iostream error")
    return any(text in str(error) for text in own)


@contextmanager
def _damage_is_named(folder: str | None, what: str) -> Iterator[None]:
    """Say which part of a checkpoint cannot be loaded, instead of how its reader failed."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # readers of damaged bytes fail in every way
        raise InputError(
            f"cannot resume from {folder}: {what} cannot be loaded ({first_line(error)}). The file is damaged, or of "
            "another model or other settings: resume from an earlier checkpoint, or with those of the first run"
        ) from error
