"""RowTrainer: a Trainer that knows which row of the training set each example is."""

import copy
import inspect
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from .averaging_trainer import AveragingTrainer
from .checks import (
    check_label_column,
    check_map_style,
    check_row_id_column,
    check_sharing,
    check_task,
    refuse_loss,
    warn_of_arguments,
)
from .errors import InputError
from .heads import base_classifier, names_of_labels
from .margin_history import HistoryCallback
from .method_config import MethodConfig
from .networks import OwnState, num_labels_of
from .replaced import replaced
from .replicas import check_replicas, checksum, checksum_of_text
from .resumable_trainer import Stateful
from .row_data import ROW_ID, RowCollator, RowDataset, with_integer_labels
from .row_scores import RowScores
from .row_statistics import Observation, RowStatistics
from .sampling import EpochCallback, by_epoch, innermost_sampler
from .step_rows import StepRows, pop_rows, without_fillers
from .term_means import TermMeans
from .weight_average import WeightAverage

if TYPE_CHECKING:
    from .report.label_issues import LabelIssues

_COMMON_LABEL_NAMES = ("labels", "label", "label_ids")


class RowTrainer(AveragingTrainer):
    """Ordinary fine-tuning that also records the margin of every training row.

    Drop-in for `transformers.Trainer` on single-label classifiers: the same constructor, the same steps, and
    afterwards [`label_issues`] says which labels look wrong. It is the base of [`LaneTrainer`] and of the baselines,
    and gives them row ids, per-row state in checkpoints, logging of loss terms, and a loss that gradient accumulation
    scales like one large batch. (Trainer scales the loss of models such as BERT `gradient_accumulation_steps` times
    too large.)

    A column `row_id` of unique integers, if the training set has one, names the rows in the table.

    Args:
        model: the classifier, as for `Trainer`.
        args: a [`MethodConfig`], or `TrainingArguments`.
        *trainer_args: further positional arguments of `Trainer`.
        **trainer_kwargs: further arguments of `Trainer`.

    Raises:
        InputError: the task or the training set is not supported, `compute_loss_func` or label smoothing is given.

    Example:
        >>> trainer = RowTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> trainer.label_issues().head()  # doctest: +SKIP
    """

    args: MethodConfig
    _signature_columns: Any
    method_name: str = "plain"
    """What `--method` calls it."""
    config_class: type[MethodConfig] = MethodConfig
    """The arguments that a method takes; plain `TrainingArguments` get its defaults."""

    def __init__(
        self, model: Any = None, args: TrainingArguments | None = None, *trainer_args: Any, **trainer_kwargs: Any
    ) -> None:
        config = self.config_class
        args = config(output_dir="tmp_trainer") if args is None else config.from_training_arguments(args)
        given = inspect.signature(Trainer.__init__).bind_partial(self, model, args, *trainer_args, **trainer_kwargs)
        check_map_style(given.arguments.get("train_dataset"))  # before Trainer asks for max_steps instead
        super().__init__(model, args, *trainer_args, **trainer_kwargs)
        if self.compute_loss_func is not None:
            refuse_loss("compute_loss_func is not supported: this trainer computes its own loss")
        if self.label_smoother is not None:
            raise InputError(
                "label_smoothing_factor is not supported: it changes the margins that rows are judged by. Set it to 0"
            )
        warn_of_arguments(self.args)
        # A mean over each micro-batch, which Trainer then divides by their number.
        self.model_accepts_loss_kwargs = False
        self.num_labels = num_labels_of(self.model)
        check_task(getattr(base_classifier(self.model), "config", None), self.num_labels)
        self._user_row_ids: np.ndarray | None = None
        if self.train_dataset is not None:
            self._check_train_dataset()
        self.row_statistics: RowStatistics = None  # type: ignore[assignment]  # until training
        self._terms = TermMeans()
        self._share, self._rows_per_epoch, self._epoch = 1.0, 0, 0
        self._sampler: Any = None
        self._trained_on: Any = None
        self._warned_of_skipped = False
        self._rows: RowDataset | None = None
        self.trained_row_ids: np.ndarray | None = None
        """`[N]` the user's names of the rows that were trained on last."""
        self._history = HistoryCallback(self)
        self.add_callback(EpochCallback(self.set_epoch))
        self.add_callback(self._history)

    # ---- Rows: the training batches carry the number of each row ----

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return Trainer's loader with one more entry in each batch: `row_id`."""
        if self.train_dataset is None:
            return super().get_train_dataloader()
        self._check_train_dataset()
        dataset, collator = self.train_dataset, self.data_collator
        if hasattr(dataset, "column_names") and hasattr(dataset, "remove_columns"):
            dataset = self._remove_unused_columns(dataset, description="training")
        elif self.views_per_row > 1:
            collator = copy.copy(collator)
            collator.collator = self._get_collator_with_removed_columns(collator.collator, description="training")
        else:
            collator = self._get_collator_with_removed_columns(collator, description="training")
        self._rows = RowDataset(dataset)
        row_collator = RowCollator(collator, self.label_columns(), self.num_labels)
        with replaced(self, "data_collator", row_collator):
            loader = self._get_dataloader(
                dataset=self._rows,
                description="Training",
                batch_size=self._train_batch_size,
                # Length grouping reads the user's own data set.
                sampler_fn=lambda _: self._sampler_of_rows(),
                is_training=True,
            )
        self._sampler = innermost_sampler(loader)
        return loader

    def _sampler_of_rows(self) -> Any:
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        sampler = by_epoch(self._get_train_sampler(self.train_dataset), seed)
        self._rows_per_epoch = len(self.train_dataset if sampler is None else sampler)
        return sampler

    @property
    def views_per_row(self) -> int:
        """How many entries of a training batch belong to each row: 1, or more with a `ViewsCollator`."""
        return 1 + getattr(self.data_collator, "num_views", 0)

    def set_epoch(self, epoch: int) -> None:
        """Tell the training rows and their sampler which epoch begins."""
        self._epoch = epoch
        if self._rows is not None:
            self._rows.set_epoch(epoch)
        if hasattr(self._sampler, "set_epoch"):
            self._sampler.set_epoch(epoch)

    def _set_signature_columns_if_needed(self) -> None:
        is_first_time = self._signature_columns is None
        super()._set_signature_columns_if_needed()
        if is_first_time:
            self._signature_columns += getattr(self.data_collator, "columns", [])

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # With length grouping Trainer evaluates in a shuffled order, and predictions would not line up with the rows.
        with replaced(self.args, "train_sampling_strategy", "random"):
            return super()._get_eval_sampler(eval_dataset)

    def _check_train_dataset(self) -> None:
        dataset = self.train_dataset
        check_map_style(dataset)
        if self.args.train_sampling_strategy == "batch_rebalance":
            raise InputError(
                "train_sampling_strategy='batch_rebalance' gives the processes batches of different sizes, which "
                "cannot be gathered: use 'group_by_length' or 'random'"
            )
        if self.accelerator.num_processes > 1:
            check_sharing(self.args, self.views_per_row)
        self._user_row_ids = None
        if hasattr(dataset, "column_names"):  # else batches are checked as they come
            raw = dataset.with_format("numpy") if hasattr(dataset, "with_format") else dataset
            if ROW_ID in dataset.column_names:
                self._user_row_ids = check_row_id_column(raw[ROW_ID][:])
            check_label_column(dataset, raw, self.label_columns(), self.num_labels, self.args.remove_unused_columns)

    def label_columns(self) -> list[str]:
        """Return the names under which the training set may hold labels."""
        return list(dict.fromkeys([*self.label_names, *_COMMON_LABEL_NAMES]))

    def _labels_of(self, inputs: dict[str, Any]) -> Tensor:
        return next(inputs[name] for name in self.label_columns() if name in inputs)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Fetch the batches of one optimizer step, without rows that only fill up the last one."""
        batches, num_items = super().get_batch_samples(*args, **kwargs)
        processes = self.accelerator.num_processes
        if processes > 1 and batches and self.accelerator.gradient_state.end_of_dataloader:
            at_once = self._train_batch_size * (1 if self.args.accelerator_config.split_batches else processes)
            real_rows = self._rows_per_epoch % at_once
            if real_rows and not self.args.dataloader_drop_last and ROW_ID in batches[-1]:
                batches[-1] = without_fillers(batches[-1], self.args.process_index, real_rows, self.views_per_row)
        return batches, num_items

    # ---- The loss ----

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the model's own loss and, while training, record what it shows of each row."""
        if not model.training:
            inputs = with_integer_labels(inputs, self.label_columns())
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if ROW_ID not in inputs:
            raise InputError(
                f"a training batch has no {ROW_ID!r}: get_train_dataloader was overridden. Override the sampler or "
                "the collator instead, or call super().get_train_dataloader()"
            )
        rows = pop_rows(inputs, self.args.process_index, self.accelerator.num_processes)
        self._share, self._has_computed_loss = rows.share, True
        loss, outputs = self.training_loss(model, inputs, rows)
        loss = loss * rows.share
        return (loss, outputs) if return_outputs else loss

    def training_loss(self, model: nn.Module, inputs: dict[str, Any], rows: StepRows) -> tuple[Tensor, Any]:
        """Return the loss of a training batch, a mean over its entries, and the outputs of the model.

        Methods override this: here it is the model's own loss, and what it shows of each row is recorded.

        Args:
            model: the wrapped model.
            inputs: the batch, without row ids.
            rows: which rows they are.
        """
        labels = self._labels_of(inputs)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[1]
        own = slice(None, None, self.views_per_row)  # margins come from the rows themselves, not from their views
        observation = self.row_statistics.observe(rows.ids[own], labels[own], logits.detach()[own])
        self.record(Observation(*self.gather(observation, rows)))
        # Of a compiled model it may lie where CUDA graphs write the loss of the next step.
        self.log_term("loss_ce", loss.detach().clone() if self.args.torch_compile else loss)
        return loss, outputs

    def record(self, observation: Observation) -> None:
        """Take in what a step shows of its rows, those of all processes."""
        self.row_statistics.record(observation)
        self._history.record(self._epoch, observation.row_ids, observation.margins)

    def gather(self, columns: Sequence[Tensor], rows: StepRows) -> tuple[Tensor, ...]:
        """Gather `[B]` tensors over all processes, in one message.

        Args:
            columns: one value a row of this process in each.
            rows: which rows they are.

        Returns:
            Tensors of the same types, with the rows of all processes, each real row of the step once.
        """
        if rows.processes == 1:
            return tuple(columns)
        # float64 holds every row id and label exactly.
        together = self.gather_entries(torch.stack([column.double() for column in columns], dim=1), rows)
        return tuple(gathered.to(column.dtype) for gathered, column in zip(together.T, columns, strict=True))

    def gather_entries(self, values: Tensor, rows: StepRows) -> Tensor:
        """Gather `[B, ...]` values over all processes; no gradient flows through it."""
        if rows.processes == 1:
            return values
        return rows.real(self.accelerator.gather(rows.pad(values.detach().contiguous())))

    # ---- Logging ----

    def log_term(self, name: str, value: Tensor) -> None:
        """Note a number of this step; its mean over steps and processes appears in Trainer's next log."""
        self._terms.add(name, value if self._share == 1 else value.detach() * self._share)

    def numbers_of_rows(self) -> dict[str, Tensor]:
        """Return numbers of all rows as they stand, the same in every process, for the log; methods override this."""
        return {}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add terms noted since the last log, and numbers of all rows as they stand, to Trainer's training logs."""
        if "loss" in logs and len(self._terms) > 0:
            now = {name: round(float(value), 6) for name, value in self.numbers_of_rows().items()}
            logs = {**logs, **self._terms.take(self.accelerator), **now}
            self._warn_of_skipped_rows()
            if self.args.check_replicas:
                self._check_replicas()
        super().log(logs, start_time)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Do Trainer's step and count it, for the means in the log."""
        self._terms.count_step()
        self._has_computed_loss = False
        loss = super().training_step(*args, **kwargs)
        if not self._has_computed_loss:
            refuse_loss("compute_loss was overridden and does not call super().compute_loss(): no row is recorded")
        return loss

    def skipped_rows(self) -> int:
        """Return how many rows were left out of the record because their logits were NaN or infinite."""
        return 0 if self.row_statistics is None else int(self.row_statistics.skipped)

    def _warn_of_skipped_rows(self) -> None:
        if not self._warned_of_skipped and self.skipped_rows() > 0:
            self._warned_of_skipped = True
            warnings.warn(
                f"the model gave NaN or infinite logits for {self.skipped_rows()} rows so far: they are left out of "
                "the margins (this is said once). Lower the learning rate, or train in bf16 or fp32 instead of fp16",
                stacklevel=2,
            )

    # ---- State in checkpoints ----

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "rows": self.row_statistics}

    def reset_rows(self) -> None:
        """Start the per-row state anew; called whenever a training run starts."""
        self.row_statistics = RowStatistics(len(self.train_dataset), self.num_labels, self.state_device)
        self._trained_on = self.train_dataset  # the user may give another one before asking for the table
        self._terms = TermMeans()
        self.trained_row_ids = self._user_row_ids

    @property
    def state_device(self) -> torch.device:
        """Where per-row state lies: with the model, except on devices without float64."""
        return torch.device("cpu") if self.args.device.type == "mps" else self.args.device

    def _check_replicas(self) -> None:
        parts = self.stateful_parts().items()
        states = {name: part.state_dict() for name, part in parts if not isinstance(part, (OwnState, WeightAverage))}
        check_replicas({name: checksum(state) for name, state in states.items()}, self.accelerator)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        self.args.check_fields()  # a search sets fields, and so do users between two runs
        if self.args.check_replicas:
            facts = self.dataset_fingerprint().items()
            sums = {f"the training set ({name})": checksum_of_text(str(value)) for name, value in facts}
            check_replicas(sums, self.accelerator)
        # A first start, a restart after running out of memory, a search trial and a resumed run all pass here.
        self.reset_rows()
        return super()._prepare_for_training(*args, **kwargs)

    def facts(self) -> dict[str, int | str]:
        """Return what must be the same when a run is resumed: of the method, and what rows come in which step."""
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        facts: dict[str, int | str] = {"method": self.method_name, "number_of_labels": self.num_labels, "seed": seed}
        if not args.auto_find_batch_size:  # then it is found
            facts["rows_per_step"] = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        return facts

    # ---- The table ----

    def label_issues(self) -> "LabelIssues":
        """Return what training has shown of each row, most suspicious first.

        Returns:
            [`LabelIssues`], a `pandas.DataFrame` with one line per training row and names of labels where the model's
            configuration has them. `score` is what the method ranks the rows by (here the average margin); `alm` is
            the plain margin for methods without a label-aware one; `weight` is that in the cross-entropy as the
            averages now stand. Rows never seen come last. Of a column `text` it has the first 1,000 characters.

        Raises:
            InputError: nothing has been trained yet, or nothing since a search for hyperparameters.
        """
        from .report.label_issues import LabelIssues
        from .report.table import build_table, excerpts

        if self.row_statistics is None:
            raise InputError("there is no table before training: call train() first")
        if self.model is None:  # the rows were seen by the last trial, not by the best one
            raise InputError("hyperparameter_search keeps no model: set the best settings in args, and train() again")
        names = names_of_labels(self.model, self.num_labels)
        table = build_table(
            self.row_statistics,
            self.row_scores(),
            row_ids=self.trained_row_ids,
            label_names=names,
            texts=excerpts(self._trained_on),
        )
        return LabelIssues(table, names, self._trained_on)

    def row_scores(self) -> RowScores:
        """Return how the method judges the rows; methods override this: here by their average margin."""
        margins = self.row_statistics.average_margin()
        return RowScores(margins, torch.ones_like(margins))
