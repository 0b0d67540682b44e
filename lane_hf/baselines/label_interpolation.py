r"""Label interpolation (DULC): mix the given label with the classifier's own sharpened prediction.

    loss = mean_i  CE( a_i sharpen(p_i) + (1 - a_i) onehot(y_i),  p_i )          sharpen(p) = p^(1/T) / sum_k p_k^(1/T)
    a_i = (1 - beta) J_i + gamma beta,        beta = a (1 - t / N_d) up to t = N_d, 0 after it
    JSD(y, p) = 1/2 p_y log2 p_y - 1/2 (1 + p_y) log2(1 + p_y) + 1               J_i: min-max normalised in each label

JSD is the Jensen-Shannon divergence between the label and the prediction, from 0 where the classifier is sure of the
given label to 1 where it rules it out. Normalised among the rows with the same given label, it says how much a row's
label may give way to the prediction; labels that are learned late are not given up for that. beta draws all rows to a
common mixture while the classifier is young. No gradient flows through target and `a_i`.

Source: Xu et al., "Revisiting Interpolation for Noisy Label Correction", AAAI 2025. Its code and its appendix, which
has most of the values, were not available: `a = 0.4` and `gamma = 0.5` are those that the range [0.2, 0.8] of `a_i` in
its text implies, `T = 0.5` is usual for sharpening, and that beta falls over half of training is our choice.

Adapted to text: the warm-up is one epoch. There is no pass over the training set to find JSD: it is that of the row's
previous visit in training, and the range within each label is taken once, at the first step of each epoch, over the
rows seen so far. (A row that is visited twice in an epoch may leave that range, and is clamped to it.) A row that was
never seen has `J_i = 0`, as have all rows of a label in which they do not differ. `t / N_d` moves with every step, not
with every epoch. The paper's mixup and its contrastive term are left out: they belong to image pipelines, and need two
augmented views. If rows do come with views, the target is made of the row itself, and the views learn it, as there the
strong view learns the target of the weak one; in the warm-up all of them learn the given label.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..buffer import check_state
from ..errors import InputError
from ..method_config import MethodConfig, check_range
from ..resumable_trainer import Stateful
from ..row_table import RowTable
from ..soft_targets import interpolated_targets
from ..weighting import weighted_mean
from .base import BaselineTrainer, Batch


def label_divergence(given_probs: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence in bits between labels and predictions.

    Args:
        given_probs: `[B]` probabilities of the given labels.

    Returns:
        `[B]` in [0, 1], falling with the probability.

    Example:
        >>> label_divergence(torch.tensor([0.0, 0.5, 1.0]))
        tensor([1.0000, 0.3113, 0.0000])
    """
    p = given_probs
    bits = torch.special.xlogy(p, p) - torch.special.xlogy(1 + p, 1 + p)
    return (bits / (2 * math.log(2)) + 1).clamp(0, 1)


def uniform_share(progress: float, start: float, decay: float) -> float:
    """Return beta: `start` at the beginning of training, falling to 0 at `progress = decay`, then 0.

    Example:
        >>> [round(uniform_share(progress, 0.4, 0.5), 2) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.4, 0.2, 0.0, 0.0]
    """
    return start * (1 - progress / decay) if progress < decay else 0.0


class LabelDivergences(RowTable):
    """The divergence of each row at its last visit, and its range among the rows with each given label.

    It takes one float32 a row and two a label.

    Args:
        num_rows: number of rows of the training set.
        num_labels: number of labels.
        device: where the state lies.

    Attributes:
        epoch: the epoch in which the ranges were taken; -1 before.

    Example:
        >>> divergences = LabelDivergences(num_rows=3, num_labels=2)
        >>> divergences.update(torch.tensor([0, 1, 2]), torch.tensor([1.0, 0.0, 0.5]))
        >>> divergences.take_ranges(torch.tensor([0, 0, 0]), epoch=1)
        >>> divergences.normalised(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]))
        tensor([0.0000, 1.0000, 0.3113])
    """

    def __init__(self, num_rows: int, num_labels: int, device: torch.device | str | None = None) -> None:
        super().__init__(num_rows, fill=-1.0, device=device)  # probability of the given label; -1 if never seen
        # The last slot is no label: rows that do not count are taken for it.
        self._low = torch.full((num_labels + 1,), torch.inf, device=device)
        self._high = torch.full((num_labels + 1,), -torch.inf, device=device)
        self.epoch = -1

    @torch.no_grad()
    def update(self, row_ids: Tensor, given_probs: Tensor) -> None:
        """Take in a batch.

        Args:
            row_ids: `[B]` row ids; -1 is padding. Of a row that comes twice only the first entry counts.
            given_probs: `[B]` probabilities of the given labels; NaN is left out.
        """
        self.values[self.slots(row_ids, torch.isfinite(given_probs))] = given_probs.to(self.values)

    @torch.no_grad()
    def take_ranges(self, labels: Tensor, epoch: int) -> None:
        """Take the range of the divergences among the rows with each given label.

        Args:
            labels: `[num_rows]` given labels; -1 leaves a row out.
            epoch: the epoch that begins.
        """
        probs, labels = self.rows, labels.to(self.values.device, torch.int64)
        at = torch.where((probs >= 0) & (labels >= 0), labels, len(self._low) - 1)
        divergences = label_divergence(probs.clamp_min(0))
        self._low.fill_(torch.inf).scatter_reduce_(0, at, divergences, "amin")
        self._high.fill_(-torch.inf).scatter_reduce_(0, at, divergences, "amax")
        self.epoch = epoch

    def normalised(self, row_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the divergences of rows within the range of their labels.

        Args:
            row_ids: `[B]` row ids; -1 is padding.
            labels: `[B]` given labels.

        Returns:
            `[B]` in [0, 1]; 0 for rows never seen, for padding, and where the range is a point.
        """
        probs, at = self.of(row_ids), labels.to(self.values.device, torch.int64)
        low, width = self._low[at], self._high[at] - self._low[at]
        usable = (probs >= 0) & (width > 0)
        shares = (label_divergence(probs.clamp_min(0)) - low) / torch.where(usable, width, 1.0)
        return torch.where(usable, shares, 0.0).clamp(0, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        state = {name: tensor.to("cpu", copy=True) for name, tensor in self._state().items()}
        return {**state, "epoch": torch.tensor(self.epoch)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows or labels.
        """
        check_state(state, self.state_dict(), "LabelDivergences")
        for name, tensor in self._state().items():
            tensor.copy_(state[name])
        self.epoch = int(state["epoch"])

    def _state(self) -> dict[str, Tensor]:
        return {"probs": self.rows, "low": self._low[:-1], "high": self._high[:-1]}


@dataclass
class LabelInterpolationConfig(MethodConfig):
    """Arguments of [`LabelInterpolationTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> LabelInterpolationConfig(output_dir="out").interpolation_temperature
        0.5
    """

    interpolation_temperature: float = field(
        default=0.5, metadata={"help": "Temperature T that sharpens predictions in the targets, in [0.01, 1]."}
    )
    interpolation_a: float = field(
        default=0.4, metadata={"help": "beta at the start: how far all rows share one mixture, in [0, 1]."}
    )
    interpolation_gamma: float = field(
        default=0.5, metadata={"help": "Share of the prediction in that common mixture, in [0, 1]."}
    )
    interpolation_decay: float = field(
        default=0.5, metadata={"help": "Share of training, from its beginning, over which beta falls to 0."}
    )
    interpolation_warmup: float = field(
        default=1.0, metadata={"help": "Epochs (fractions allowed) of plain cross-entropy at the start."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_range("interpolation_temperature", self.interpolation_temperature, 0.01, 1)
        for name in ("interpolation_a", "interpolation_gamma", "interpolation_decay"):
            check_range(name, getattr(self, name), 0, 1)
        if not 0 <= self.interpolation_warmup < math.inf:
            raise InputError(
                f"interpolation_warmup must be a number of epochs, at least 0, got {self.interpolation_warmup}"
            )


class LabelInterpolationTrainer(BaselineTrainer):
    """Fine-tune with labels that give way to the classifier's predictions.

    Arguments are those of [`RowTrainer`], with a [`LabelInterpolationConfig`]. Rows are ranked by the average of
    1 - JSD over their visits: how far the classifier agrees with their given label. Logged besides Trainer's own:
    `interpolation/mean_share`, the mean of `a_i`, which is 0 during the warm-up.

    Attributes:
        divergences: the [`LabelDivergences`]; None before training.

    Example:
        >>> trainer = LabelInterpolationTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: LabelInterpolationConfig
    method_name = "label-interpolation"
    config_class = LabelInterpolationConfig
    has_own_score = True
    divergences: LabelDivergences = None  # type: ignore[assignment]  # until training

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader[Any], *args: Any, **kwargs: Any
    ) -> Any:
        warmup, epochs = self.args.interpolation_warmup, self.epochs_of(max_steps, train_dataloader)
        if warmup >= epochs:
            warnings.warn(
                f"interpolation_warmup={warmup:g} covers all {epochs:g} epochs: no label is ever interpolated. Train "
                "longer, or lower interpolation_warmup",
                stacklevel=2,
            )
        return super()._prepare_for_training(max_steps, train_dataloader, *args, **kwargs)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy with interpolated labels, in the warm-up with the given ones."""
        views = self.views_per_row
        own = slice(None, None, views)
        shares = self._shares(batch.rows.ids[own], batch.labels[own]).to(batch.logits.device)
        self._record(batch)
        is_warmup = (self.state.epoch or 0.0) < self.args.interpolation_warmup
        self.log_term("interpolation/mean_share", shares.mean() * (not is_warmup))
        if is_warmup:
            return batch.mean(F.cross_entropy(batch.logits, batch.labels, reduction="none"))
        temperature = self.args.interpolation_temperature
        targets = interpolated_targets(batch.logits[own], batch.labels[own], shares, temperature)
        losses = F.cross_entropy(batch.logits, targets.repeat_interleave(views, dim=0), reduction="none")
        # A row that is not finite has no target for its views.
        counted = batch.finite * batch.finite[own].repeat_interleave(views)
        if views > 1:
            counted = counted.reshape(-1, views)[:, 1:].reshape(-1)
            losses = losses.reshape(-1, views)[:, 1:].reshape(-1)
        return weighted_mean(losses, counted)

    def _shares(self, row_ids: Tensor, labels: Tensor) -> Tensor:
        """Return `a_i` of rows, from what was known of them before this step."""
        epoch = math.floor((self.state.epoch or 0.0) + 1e-6)
        if epoch > self.divergences.epoch:
            self.divergences.take_ranges(self.row_statistics.labels, epoch)
        beta = uniform_share(self.progress, self.args.interpolation_a, self.args.interpolation_decay)
        return (1 - beta) * self.divergences.normalised(row_ids, labels) + self.args.interpolation_gamma * beta

    @torch.no_grad()
    def _record(self, batch: Batch) -> None:
        own = slice(None, None, self.views_per_row)
        probs = batch.logits.softmax(dim=1).gather(1, batch.labels[:, None]).squeeze(1)
        probs = torch.where(batch.finite > 0, probs, torch.nan)
        self.divergences.update(*self.gather((batch.rows.ids[own], probs[own]), batch.rows))
        self.record_scores(batch, 1 - label_divergence(probs))

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.divergences = LabelDivergences(len(self.train_dataset), self.num_labels, self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "divergences": self.divergences}
