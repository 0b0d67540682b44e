"""BaselineTrainer: what the methods that change the loss have in common."""

import math
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..buffer import AlmBuffer
from ..joint_trainer import JointTrainer
from ..margins import finite_rows
from ..resumable_trainer import Stateful
from ..row_scores import RowScores
from ..row_statistics import Observation
from ..step_rows import StepRows
from ..weighting import weighted_mean


class Batch(NamedTuple):
    """A training batch after the forward pass.

    Attributes:
        logits: `[B, K]` float32 scores of the classifier; zeros in rows that were NaN or infinite.
        labels: `[B]` given labels.
        finite: `[B]` float32, 0 in rows that were NaN or infinite.
        rows: which rows they are.
        outputs: what the networks returned: `embeddings` `[B, d]`, `auxiliary_logits`, if the method has them.
        step_labels: labels of the rows (not views) of all processes in this step.
    """

    logits: Tensor
    labels: Tensor
    finite: Tensor
    rows: StepRows
    outputs: dict[str, Tensor]
    step_labels: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Average `[B]` losses over the batch, without rows that were not finite."""
        return weighted_mean(losses, self.finite)


class BaselineTrainer(JointTrainer):
    """A [`RowTrainer`] with another loss: the base of the methods that train once.

    A method overrides [`loss_of`]. If it judges rows by something else than their margin, it sets `has_own_score` and
    calls [`record_scores`] in each step. Same constructor as [`RowTrainer`]; `args` is the method's own configuration
    or plain `TrainingArguments`, which get the method's defaults.

    Example:
        >>> class Focal(BaselineTrainer):  # doctest: +SKIP
        ...     def loss_of(self, batch):
        ...         log_p = batch.logits.log_softmax(dim=1).gather(1, batch.labels[:, None]).squeeze(1)
        ...         return batch.mean(-((1 - log_p.exp()) ** 2) * log_p)
    """

    has_own_score: bool = False
    """Whether rows are ranked by what [`record_scores`] is given, instead of their margin."""

    warmup: tuple[str, str] | None = None
    """Option for how many epochs of plain cross-entropy come first, and what never happens if no others follow."""

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader[Any], *args: Any, **kwargs: Any
    ) -> Any:
        if self.warmup is not None:
            option, consequence = self.warmup
            length, epochs = getattr(self.args, option), self.epochs_of(max_steps, train_dataloader)
            if length >= epochs:
                warnings.warn(
                    f"{option}={length:g} covers all {epochs:g} epochs: {consequence}. Train longer, or lower "
                    f"{option}",
                    stacklevel=2,
                )
        return super()._prepare_for_training(max_steps, train_dataloader, *args, **kwargs)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the method's loss, a scalar mean over the entries of the batch."""
        raise NotImplementedError

    def training_loss(self, model: nn.Module, inputs: dict[str, Any], rows: StepRows) -> tuple[Tensor, Any]:
        """Return the method's loss of a training batch and what the networks returned."""
        labels = self._labels_of(inputs)
        outputs = self.run(model, {name: value for name, value in inputs.items() if name not in self.label_columns()})
        own = slice(None, None, self.views_per_row)
        observed = self.row_statistics.observe(rows.ids[own], labels[own], self.logits_of_rows(outputs, own))
        observation = Observation(*self.gather(observed, rows))
        self.record(observation)
        logits, finite = finite_rows(outputs["logits"])
        loss = self.loss_of(Batch(logits, labels, finite, rows, outputs, observation.labels))
        self.log_term("loss_method", loss)
        return loss, outputs

    def run(self, model: nn.Module, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return what the networks make of a batch without labels; methods that override this run them once too."""
        outputs: dict[str, Tensor] = model(**inputs)
        return outputs

    def logits_of_rows(self, outputs: dict[str, Tensor], own: slice) -> Tensor:
        """Return the scores that the rows themselves, not their views, are judged by."""
        return outputs["logits"].detach()[own]

    @property
    def progress(self) -> float:
        """How much of training is done, from 0 to 1."""
        return self.state.global_step / max(self.state.max_steps, 1)

    def is_within(self, share: float) -> bool:
        """Return whether training is within its first `share`, prolonged to the end of an epoch.

        What a method does next rests on what it saw of each row: after a part of an epoch, of some rows only. A share
        that reaches into the last epoch is not prolonged: nothing would come after it.
        """
        epochs = self.state.num_train_epochs
        whole = math.ceil(share * epochs - 1e-6)
        return (self.state.epoch or 0.0) < whole if whole < epochs else self.progress < share

    @torch.no_grad()
    def record_scores(self, batch: Batch, scores: Tensor) -> None:
        """Average what the method makes of each row over the visits of the row.

        Args:
            batch: the batch.
            scores: `[B]`, lower where the label looks more wrong; those of views, and of rows whose logits were not
                finite, are left out.
        """
        own = slice(None, None, self.views_per_row)
        scores = torch.where(batch.finite > 0, scores.detach().float(), torch.nan)
        self.scores.update(*self.gather((batch.rows.ids[own], scores[own]), batch.rows))

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        if self.has_own_score:
            self.scores = AlmBuffer(len(self.train_dataset), self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        parts = super().stateful_parts()
        if self.scores is not None:
            parts["scores"] = self.scores
        return parts

    def row_scores(self) -> RowScores:
        """Return how the method judges the rows: by its own score, or by their average margin."""
        if self.scores is None:
            return super().row_scores()
        scores = self.scores.average()
        return RowScores(scores, torch.ones_like(scores))

    scores: AlmBuffer = None  # type: ignore[assignment]  # until training, and without a score of its own
