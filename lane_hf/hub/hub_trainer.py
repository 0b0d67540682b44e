"""HubTrainer: a Trainer that uploads a plain classifier, and nothing else."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import HubStrategy, SaveStrategy
from transformers.utils import PushInProgress

from ..display import first_line
from ..replaced import replaced
from .card_file import write_card
from .upload import (
    ARGUMENTS_FILE,
    check_repo_id,
    hub_errors_named,
    kept_for_upload,
    upload_checkpoint,
    upload_model,
)

_WAITING = "_hub"  # in output_dir: copies of checkpoints that are being uploaded
_PRIVATE = ("output_dir", "logging_dir", "hub_token", "resume_from_checkpoint", "run_name")


class HubTrainer(Trainer):
    """Trainer, except for what it does with the Hub.

    - Uploaded are the model, its tokenizer, its card and its arguments as JSON: no pickle, no further network, no
      label table, no texts. Checkpoints (`hub_strategy="checkpoint"` and `"all_checkpoints"`) hold what is needed to
      go on from them, as Trainer's do, without pickled arguments.
    - The card says what the labels looked like, from what was measured (see `lane_hf.hub.card`).
    - If the Hub cannot be reached, the error says so in one line, and how to push later. Nothing that was trained is
      lost.

    Example:
        >>> trainer.push_to_hub(language="en", dataset="my emotions")  # doctest: +SKIP
    """

    push_in_progress: Any

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository, as `Trainer.init_hf_repo` does.

        Raises:
            InputError: the Hub takes no such name.
            HubError: the Hub refuses, or cannot be reached.
        """
        name = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        check_repo_id(name, "hub_model_id")
        # By way of the arguments: older Transformers (5.17) take no `private` here.
        asked = self.args.hub_private_repo if private is None else private
        with (
            replaced(self.args, "hub_private_repo", asked),
            hub_errors_named(f"the repository {name} could not be made on the Hub", "Or leave push_to_hub out"),
        ):
            super().init_hf_repo(token=token)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Upload the model, its tokenizer, its card and its arguments.

        Args:
            commit_message: of the commit.
            blocking: wait until it is done; otherwise a future is returned.
            token: instead of `args.hub_token`.
            revision: the branch; None takes `args.hub_revision`, else the main one.
            private: whether a repository that has to be made is private; None takes `args.hub_private_repo`.
            **kwargs: further arguments of [`create_model_card`].

        Returns:
            The commit, or a future of it; None in all processes but the first.

        Raises:
            HubError: the Hub refuses, or cannot be reached. The model lies in `output_dir` then.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        folder = self.args.output_dir
        self.create_model_card(**kwargs)
        self._write_arguments(Path(folder))
        self._finish_current_push()
        with hub_errors_named(
            f"{self.hub_model_id} could not be uploaded",
            f"The model is complete in {folder}: push it later with lane push {folder} --repo_id {self.hub_model_id}",
        ):
            return upload_model(
                folder,
                self.hub_model_id,
                commit_message=commit_message,
                token=token or self.args.hub_token,
                revision=revision or self.args.hub_revision,
                run_as_future=not blocking,
            )

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write the model card, `README.md` in `output_dir`.

        Args:
            *args: as for `Trainer.create_model_card`, in its order.
            **kwargs: `language`, `license`, `tags`, `model_name`, `finetuned_from`, `dataset`; others of
                `Trainer.create_model_card` say nothing here, because the task is always text classification. `card` is
                a text to take instead.
        """
        from .card import card_of_trainer

        if not self.is_world_process_zero():
            return
        names = ("language", "license", "tags", "model_name", "finetuned_from", "tasks", "dataset_tags", "dataset")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        write_card(self.args.output_dir, given.pop("card", None) or card_of_trainer(self, given))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Upload a checkpoint's model, and the checkpoint where `hub_strategy` says so, in the background."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        is_busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if is_busy and not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        source = Path(checkpoint_folder)
        kept = kept_for_upload(source, Path(self.args.output_dir) / _WAITING / source.name)
        self._write_arguments(kept)
        by_steps = self.args.save_strategy == SaveStrategy.STEPS
        when = f"step {self.state.global_step}" if by_steps else f"epoch {int(self.state.epoch)}"
        message = f"Training in progress, {when}"
        common = {"token": self.args.hub_token, "revision": self.args.hub_revision, "run_as_future": True}
        jobs = [upload_model(kept, self.hub_model_id, commit_message=message, **common)]
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            name = "last-checkpoint" if self.args.hub_strategy == HubStrategy.CHECKPOINT else source.name
            jobs.append(
                upload_checkpoint(kept, self.hub_model_id, name, commit_message=f"{message}, checkpoint", **common)
            )
        if is_busy:
            self.push_in_progress.jobs.extend(jobs)
        else:
            self._warn_of_failed_uploads()
            self.push_in_progress = PushInProgress(jobs)

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        self._warn_of_failed_uploads()
        shutil.rmtree(Path(self.args.output_dir) / _WAITING, ignore_errors=True)

    def _warn_of_failed_uploads(self) -> None:
        progress = getattr(self, "push_in_progress", None)
        errors = [job.exception() for job in progress.jobs if job.done()] if progress is not None else []
        failed = [error for error in errors if error is not None]
        if failed:
            warnings.warn(
                f"{len(failed)} of {len(errors)} uploads during training failed ({first_line(failed[-1])}): the "
                "checkpoints in output_dir are complete, and the model is uploaded again at the end",
                stacklevel=2,
            )
        self.push_in_progress = None

    def _write_arguments(self, folder: Path) -> None:
        """Write the arguments of training, without paths and tokens: what Trainer pickles."""
        settings = {name: value for name, value in self.args.to_dict().items() if name not in _PRIVATE}
        settings = {name: value for name, value in settings.items() if not _is_path(value)}
        text = json.dumps(settings, indent=2, sort_keys=True, default=str)
        (folder / ARGUMENTS_FILE).write_text(f"{text}\n", encoding="utf-8")


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_absolute()
