r"""Co-teaching: two networks, each of which learns the rows that the other finds easy.

    R = 1 - tau min(t / T_k, 1)                                   share of a step's rows that are kept
    S_1, S_2 = the R B rows of smallest CE of network 1, 2
    loss = mean_{S_2} CE_1 + mean_{S_1} CE_2                      each learns what the other has chosen

Networks fit right labels before wrong ones, so rows of small loss are probably right. One network that chooses for
itself would repeat its own mistakes; two of them correct each other.

Source: Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", NeurIPS 2018,
and its code.

Adapted to fine-tuning: the share forgotten rises over 30% of training (`T_k`), there over 10 of 200 epochs. The rows
of all processes are ranked together. The paper takes the noise rate tau as known. Here `forget_rate` may be left out:
it is then estimated at the start of each epoch but the first, as the average probability that a label is wrong under a
mixture of two Gaussians on the averaged margins of the rows with that label.
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
from ..margins import finite_rows
from ..method_config import check_range
from ..mixture import fit_mixture, label_probability
from ..resumable_trainer import Stateful
from ..row_ids import PADDING_ID
from ..row_statistics import RowStatistics
from .base import Batch
from .pair import PairConfig, PairTrainer


def kept_rows(losses: Tensor, share: float) -> Tensor:
    """Mark the rows of smallest loss.

    Args:
        losses: `[B]`; infinite for rows that are never kept.
        share: which share of the finite ones is kept, in [0, 1]; rounded up, so that at least one is.

    Returns:
        `[B]` bool. Of equal losses the earlier rows are kept.

    Example:
        >>> kept_rows(torch.tensor([0.5, 0.1, 0.9, torch.inf]), 0.5)
        tensor([ True,  True, False, False])
    """
    order = torch.argsort(losses, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(losses), device=losses.device))
    finite = torch.isfinite(losses)
    # A little less than the product, so that 0.1 * 30 = 3.0000000000000004 is three.
    return (rank < torch.ceil(share * finite.sum() - 1e-6).clamp_min(1)) & finite


def estimated_noise_rate(rows: RowStatistics) -> float:
    """Estimate the share of wrong labels from averaged margins.

    Args:
        rows: what training has shown of each row.

    Returns:
        The average of 1 - P(label is right) over the rows seen, in [0, 1]; 0 if none was.

    Example:
        >>> estimated_noise_rate(RowStatistics(num_rows=3, num_labels=2))
        0.0
    """
    seen = (rows.visits > 0).cpu()
    if not bool(seen.any()):
        return 0.0
    # In main memory, where sums have one order: every process must get the same rate.
    margins, labels = rows.average_margin().cpu()[seen], rows.labels.cpu()[seen]
    mixture = fit_mixture(margins, labels, int(labels.max()) + 1, always_pooled=False)
    return float(1 - label_probability(margins, mixture, labels).double().mean())


class ForgetRate:
    """The noise rate tau, as given or as last estimated.

    Args:
        given: the rate; None estimates it.

    Attributes:
        value: the rate that holds now, 0 before the first estimate.
        epoch: the epoch of the last estimate; -1 before.

    Example:
        >>> ForgetRate(0.4).value
        0.4
    """

    def __init__(self, given: float | None) -> None:
        self.is_given = given is not None
        self.value = 0.0 if given is None else given
        self.epoch = -1

    def refresh(self, rows: RowStatistics, epoch: int) -> None:
        """Estimate the rate anew at the first step of each epoch but the first; costs O(data set)."""
        if not self.is_given and epoch >= 1 and epoch > self.epoch:
            self.value, self.epoch = estimated_noise_rate(rows), epoch

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors."""
        return {"value": torch.tensor(self.value, dtype=torch.float64), "epoch": torch.tensor(self.epoch)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned; a rate that is given stays.

        Raises:
            ValueError: the state has other keys.
        """
        check_state(state, self.state_dict(), "ForgetRate")
        if not self.is_given:
            self.value, self.epoch = float(state["value"]), int(state["epoch"])


@dataclass
class CoTeachingConfig(PairConfig):
    """Arguments of [`CoTeachingTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> CoTeachingConfig(output_dir="out").forget_ramp
        0.3
    """

    forget_rate: float | None = field(
        default=None,
        metadata={"help": "Share of the labels that are wrong, in [0, 1). Default: estimated from the margins."},
    )
    forget_ramp: float = field(
        default=0.3, metadata={"help": "Share of training over which the share of forgotten rows rises."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        if self.forget_rate is not None:
            check_range("forget_rate", self.forget_rate, 0, 0.999)
        check_range("forget_ramp", self.forget_ramp, 0, 1)


class CoTeachingTrainer(PairTrainer):
    """Fine-tune two classifiers that choose rows for each other.

    Arguments are those of [`RowTrainer`], with a [`CoTeachingConfig`]. Rows are ranked by the negative loss of both
    networks, averaged over visits. Logged besides Trainer's own: `co_teaching/forget_rate` (tau).

    Attributes:
        forget_rate: the [`ForgetRate`]; None before training.

    Example:
        >>> trainer = CoTeachingTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: CoTeachingConfig
    method_name = "co-teaching"
    config_class = CoTeachingConfig
    has_own_score = True
    forget_rate: ForgetRate = None  # type: ignore[assignment]  # until training

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader[Any], *args: Any, **kwargs: Any
    ) -> Any:
        if self.args.forget_rate is None and self.epochs_of(max_steps, train_dataloader) <= 1:
            warnings.warn(
                "forget_rate is estimated after the first epoch, and there is no other: no row is ever left out. "
                "Train longer, or give forget_rate",
                stacklevel=2,
            )
        return super()._prepare_for_training(max_steps, train_dataloader, *args, **kwargs)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of both networks' mean loss on the rows that the other has chosen."""
        self.forget_rate.refresh(self.row_statistics, math.floor((self.state.epoch or 0.0) + 1e-6))
        ramp = 1.0 if self.args.forget_ramp == 0 else min(self.progress / self.args.forget_ramp, 1.0)
        share = 1 - self.forget_rate.value * ramp
        self.log_term("co_teaching/forget_rate", torch.tensor(self.forget_rate.value, device=batch.logits.device))
        other_logits, other_finite = finite_rows(batch.outputs["auxiliary_logits"])
        losses = torch.stack(
            [F.cross_entropy(logits, batch.labels, reduction="none") for logits in (batch.logits, other_logits)]
        )
        usable = (batch.finite * other_finite > 0) & (batch.rows.ids != PADDING_ID)
        self.record_scores(batch, torch.where(usable, -losses.mean(dim=0), torch.nan))
        everyone = self.gather_entries(torch.where(usable, losses.detach(), torch.inf).T.contiguous(), batch.rows)
        # A row of one process counts by its rank among those of all.
        start = self.args.process_index * batch.rows.size
        own = slice(start, start + len(batch.labels))
        total = torch.zeros((), device=batch.logits.device)
        for learner, chooser in ((0, 1), (1, 0)):
            kept = kept_rows(everyone[:, chooser], share)
            mask = kept[own] if batch.rows.own else torch.zeros_like(usable)
            # The mean over what is kept in the whole step, in units of this process's mean over its entries.
            scale = batch.rows.total / kept.sum().clamp_min(1)
            total = total + scale * torch.where(mask, losses[learner], 0.0).sum() / max(batch.rows.own, 1)
        return total

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.forget_rate = ForgetRate(self.args.forget_rate)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "forget_rate": self.forget_rate}
