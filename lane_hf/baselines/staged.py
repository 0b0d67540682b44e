"""StagedTrainer: train, score, select, retrain.

Some methods train more than once: first to see how each row behaves, then, from fresh weights, on the rows that they
trust. This trainer is the last of these runs; those before it are trainers of their own, whose folders lie in
`output_dir`:

    output_dir/stage-1/          checkpoints of the first scoring run while it goes on; its outcome when it is done
    output_dir/stage-2/          likewise
    output_dir/checkpoint-...    the last run

A run that was killed goes on in the stage in which it was killed. Stages that are done are not repeated.
"""

import copy
import shutil
import time
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Subset
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, TrainOutput

from ..checkpoint import STATE_FILE, check_state, load_state, save_state
from ..checkpoint_folders import checkpoints, is_earlier, set_aside, stages
from ..displays import displays_of, show_with
from ..errors import InputError
from ..heads import names_of_labels
from ..method_config import MethodConfig
from ..replicas import checksum
from ..resumable_trainer import Stateful, disk_errors_named
from ..resume import last_whole_checkpoint, what_is_missing
from ..row_scores import RowScores
from ..row_statistics import RowStatistics
from ..row_trainer import RowTrainer


@dataclass
class StagedConfig(MethodConfig):
    """Arguments that all methods with several stages have.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> StagedConfig(output_dir="out").same_steps
        True
    """

    same_steps: bool = field(
        default=True,
        metadata={
            "help": "Retrain on as many examples, and so for about as many steps, as training on all rows would "
            "take, instead of for as many epochs: the fewer rows are kept, the more epochs."
        },
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a margin history is asked for: the stages see different rows."""
        super().check_fields()
        if self.margin_history:
            raise InputError("margin_history=True is not supported by methods with several stages: leave it out")


class Selection(NamedTuple):
    """Which rows the last run trains on, and how the rows were judged.

    Attributes:
        kept: `[num_rows]` bool.
        scores: `[num_rows]`, lower where the label looks more wrong; NaN where a row has none.
        is_issue: `[num_rows]` bool, or None if the method does not say which labels are wrong.

    Example:
        >>> Selection(torch.tensor([True, False]), torch.tensor([0.5, -0.5]), None).is_issue is None
        True
    """

    kept: Tensor
    scores: Tensor
    is_issue: Tensor | None


class _Scored(NamedTuple):
    """A scoring run that is done: its trainer, without networks, and what it took."""

    scorer: RowTrainer
    seconds: float
    steps: int


class StagedTrainer(RowTrainer):
    """Base of the methods that train, score the rows, select some, and retrain on them.

    A method says how many scoring runs there are ([`number_of_scorers`]), how each is made ([`make_scorer`]) and what
    is selected ([`select`]). The table of label issues is about all rows, as the scoring runs saw them; `weight` is 0
    for a row that was left out of the last run.

    `train` returns the metrics of the last run, except that `train_runtime` and `train_steps` count all stages;
    `train_runtime_stage_1`, `train_steps_stage_1` and so on are those of the scoring runs. As in Trainer, a runtime is
    that since the stage was last resumed; steps are never lost.

    Args:
        model: not supported: every stage starts from fresh weights.
        args: the method's configuration.
        *trainer_args: further positional arguments of `Trainer`.
        **trainer_kwargs: further arguments of `Trainer`; `model_init` is required.

    Raises:
        InputError: no `model_init` is given, or checkpoints at a signal are asked for.

    Example:
        >>> trainer = CartographyTrainer(model_init=load, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: StagedConfig
    train_dataset: Any
    config_class: type[StagedConfig] = StagedConfig

    def __init__(
        self, model: Any = None, args: TrainingArguments | None = None, *trainer_args: Any, **trainer_kwargs: Any
    ) -> None:
        if model is not None:
            raise InputError(
                f"{type(self).__name__} trains more than one model: pass model_init, a function that returns a fresh "
                "one, instead of model"
            )
        super().__init__(model, args, *trainer_args, **trainer_kwargs)
        if self.args.enable_jit_checkpoint:  # a stage would end early, and the next one go on as if it was done
            raise InputError(
                "enable_jit_checkpoint=True is not supported by methods with several stages: leave it out, and set "
                "save_strategy"
            )
        self.selection: Selection = None  # type: ignore[assignment]  # until training
        self._scored: RowStatistics = None  # type: ignore[assignment]  # until training

    # ---- What a method says ----

    @property
    @abstractmethod
    def number_of_scorers(self) -> int:
        """How many scoring runs come before the last one."""

    @abstractmethod
    def make_scorer(self, number: int, **arguments: Any) -> RowTrainer:
        """Return the trainer of a scoring run.

        Args:
            number: which run, from 1.
            **arguments: what trainers of all runs get: `args` (to be changed as needed), `model_init`,
                `train_dataset`, `data_collator`, `processing_class`, `optimizer_cls_and_kwargs`.
        """

    @abstractmethod
    def select(self, scorers: list[RowTrainer]) -> Selection:
        """Return which rows to retrain on.

        Args:
            scorers: the trainers of the scoring runs, with what they know of each row.
        """

    def statistics_of(self, scorers: list[RowTrainer]) -> RowStatistics:
        """Return what the table of label issues shows: here what the first scoring run has seen."""
        return scorers[0].row_statistics

    # ---- Stages ----

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Run all stages.

        Args:
            resume_from_checkpoint: True goes on where the last run was killed, in whichever stage; a folder goes on
                from that checkpoint of the last stage, and needs the outcomes of the stages before it.
            *args: further positional arguments of `Trainer.train`.
            **kwargs: further arguments of `Trainer.train`.

        Raises:
            InputError: there is nothing to resume from, or what there is does not fit.
            CheckpointError: a checkpoint or an outcome could not be written.
        """
        if (args and args[0] is not None) or kwargs.get("trial") is not None:
            raise InputError("hyper-parameter search over a method with several stages is not supported")
        self.args.check_fields()  # before anything is removed
        folders = [Path(self.args.output_dir) / f"stage-{number + 1}" for number in range(self.number_of_scorers)]
        if resume_from_checkpoint is True:
            self.check_resumable(self.args.output_dir)
        elif not resume_from_checkpoint:
            self._clear()
        self.model.to("cpu")  # it only takes room until the last stage makes it anew
        spent = [self._score(number, folder, resume_from_checkpoint) for number, folder in enumerate(folders, start=1)]
        scorers = [each.scorer for each in spent]
        self.selection = self.select(scorers)
        self._scored = self.statistics_of(scorers)
        self._check_selection(self.selection.kept)
        if resume_from_checkpoint is True:
            whole = [path for path in checkpoints(self.args.output_dir) if what_is_missing(path) is None]
            resume_from_checkpoint = str(whole[0]) if whole else None
        with self._restricted_to(self.selection.kept):
            outcome = super().train(resume_from_checkpoint, *args, **kwargs)
        metrics = dict(outcome.metrics)
        for number, stage in enumerate(spent, start=1):
            metrics |= {f"train_runtime_stage_{number}": stage.seconds, f"train_steps_stage_{number}": stage.steps}
        metrics["train_runtime"] += sum(stage.seconds for stage in spent)
        metrics["train_steps"] = outcome.global_step + sum(stage.steps for stage in spent)
        return TrainOutput(outcome.global_step, outcome.training_loss, metrics)

    @classmethod
    def check_resumable(cls, output_dir: str | Path) -> None:
        """Raise `InputError` unless a run in this folder can go on, in whichever stage."""
        begun = [path for path in stages(output_dir) if not is_earlier(path)]
        if not any((path / STATE_FILE).is_file() or checkpoints(path) for path in begun):
            last = last_whole_checkpoint(output_dir)
            raise InputError(
                f"cannot resume from {last}: the training that began last in {output_dir} has no stages, so it is of "
                "another method. Give that, or leave resume_from_checkpoint out"
            )

    def _clear(self) -> None:
        """Remove what an earlier run has left: going on with it by mistake would mix two runs."""
        if self.args.should_save:
            set_aside(checkpoints(self.args.output_dir))
            for folder in stages(self.args.output_dir):
                shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _foreign_stages(self) -> list[Path]:
        return []  # this trainer's own are done when its last stage begins

    def _score(self, number: int, folder: Path, resume: str | bool | None) -> _Scored:
        """Return a scoring run's trainer when it is done, be it now or in an earlier run."""
        scorer = self.make_scorer(
            number,
            args=self._scorer_arguments(folder),
            model_init=self.model_init,
            train_dataset=self.train_dataset,
            data_collator=self.data_collator,
            processing_class=self.processing_class,
            optimizer_cls_and_kwargs=self.optimizer_cls_and_kwargs,
        )
        show_with(scorer, displays_of(self))
        if resume and (folder / STATE_FILE).is_file():
            check_state(folder, scorer.facts(), scorer.dataset_fingerprint())
            scorer.reset_rows()
            return _Scored(scorer, *_load(folder, _row_state(scorer)))
        if resume and resume is not True:
            raise InputError(
                f"cannot resume from {resume}: stage {number} before it is not done ({folder} has no {STATE_FILE}). "
                "Resume with resume_from_checkpoint=True"
            )
        whole = [path for path in checkpoints(folder) if what_is_missing(path) is None] if resume else []
        started = time.perf_counter()
        outcome = scorer.train(resume_from_checkpoint=str(whole[0]) if whole else None)
        done = _Scored(scorer, time.perf_counter() - started, outcome.global_step)
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            cost = {"spent": {"cost": torch.tensor([done.seconds, done.steps], dtype=torch.float64)}}
            states = {name: part.state_dict() for name, part in _row_state(scorer).items()}
            with disk_errors_named(f"the outcome of stage {number} in {folder}", folder):
                save_state(folder, {**states, **cost}, scorer.facts(), scorer.dataset_fingerprint())
            for path in checkpoints(folder):
                shutil.rmtree(path, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        _forget_networks(scorer)
        return done

    def _scorer_arguments(self, folder: Path) -> StagedConfig:
        """Return the arguments of a scoring run: those of the last one, without evaluation and reports."""
        args = copy.copy(self.args)
        args.output_dir = str(folder)
        args.eval_strategy, args.do_eval, args.eval_on_start = IntervalStrategy.NO, False, False
        args.weight_averaging = 0.0  # its networks are only watched
        args.load_best_model_at_end, args.push_to_hub, args.report_to = False, False, []
        if args.save_strategy == SaveStrategy.BEST:
            args.save_strategy = SaveStrategy.EPOCH
        return args

    # ---- The last stage ----

    def _check_selection(self, kept: Tensor) -> None:
        labels = self._scored.labels.cpu()
        if not bool(kept.any()):
            raise InputError(
                "every row was judged mislabelled, so there is nothing left to train on: select more rows, or train "
                "the scoring runs longer"
            )
        lost = sorted(set(labels[labels >= 0].tolist()) - set(labels[kept].tolist()))
        if lost:
            names = names_of_labels(self.model, self.num_labels) or [str(label) for label in range(self.num_labels)]
            shown = ", ".join(names[label] for label in lost[:5]) + (", ..." if len(lost) > 5 else "")  # noqa: PLR2004
            warnings.warn(
                f"no row of {len(lost)} labels was selected ({shown}): the last run cannot learn them", stacklevel=3
            )

    @contextmanager
    def _restricted_to(self, kept: Tensor) -> Iterator[None]:
        """Train on the selected rows only, for as many steps as asked for."""
        dataset, epochs = self.train_dataset, self.args.num_train_epochs
        rows = torch.nonzero(kept).flatten().tolist()
        self.train_dataset = dataset.select(rows) if isinstance(dataset, Dataset) else Subset(dataset, rows)
        if self.args.same_steps:
            self.args.num_train_epochs = epochs * len(dataset) / len(rows)
        try:
            yield
        finally:
            self.train_dataset, self.args.num_train_epochs = dataset, epochs
            self._trained_on = dataset  # the table is about all rows
            self._fingerprint = None
            self._check_train_dataset()  # the user's row ids are again those of all rows
            self.trained_row_ids = self._user_row_ids

    def facts(self) -> dict[str, int | str]:
        """Return what must be the same when a run is resumed; the rows selected are among it."""
        chosen = {} if self.selection is None else {"checksum_of_selection": checksum({"kept": self.selection.kept})}
        return {**chosen, **super().facts()}

    def row_scores(self) -> RowScores:
        """Return how the scoring runs judge the rows, and weight 0 for those that were left out."""
        kept = self.selection.kept
        return RowScores(self.selection.scores, kept.float(), is_issue=self.selection.is_issue)

    def label_issues(self) -> Any:
        """Return what the scoring runs have shown of each row; see [`RowTrainer.label_issues`]."""
        last, self.row_statistics = self.row_statistics, self._scored
        try:
            return super().label_issues()
        finally:
            self.row_statistics = last


def _row_state(scorer: RowTrainer) -> dict[str, Stateful]:
    return {name: part for name, part in scorer.stateful_parts().items() if name != "auxiliary"}


def _load(folder: Path, parts: dict[str, Stateful]) -> tuple[float, int]:
    state = load_state(folder, {*parts, "spent"})
    for name, part in parts.items():
        part.load_state_dict(state[name])
    seconds, steps = state["spent"]["cost"].tolist()
    return seconds, int(steps)


def _forget_networks(scorer: RowTrainer) -> None:
    """Give the memory of a scoring run's networks back; what it knows of the rows stays."""
    scorer.accelerator.free_memory()
    scorer.model = scorer.model_wrapped = scorer.optimizer = scorer.lr_scheduler = None
