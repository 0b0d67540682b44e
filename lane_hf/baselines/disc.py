r"""DISC: thresholds of each row's own tell clean rows from hard ones, and rows whose label can be mended.

At the start of each epoch, from the row's last visit, with p the prediction of a weak and q that of a strong view, and
thresholds tau as they were before that visit:

    clean C      p[y] > tau_p and q[y] > tau_q
    hard H       exactly one of the two
    purified P   neither, but max (p + q) / 2 > min((tau_p + tau_q) / 2 + sigma, 0.99); its label is then the argmax
    then tau_p <- m tau_p + (1 - m) max p, and likewise tau_q

    loss = |C|/B (CE_p + CE_q) over C + lambda_h |H|/B (GCE_p + GCE_q) over H
         + CE of mixtures of p's features over C, H and P, with the mended labels, + the same of q's

A network is soon sure of easy rows: they get high thresholds, so that they are not clean merely for being easy.

Source: Li et al., "DISC: Learning from Noisy Labels via Dynamic Instance-Specific Selection and Correction", CVPR
2023, and its code; sigma = 0.5, GCE with q = 0.7 and Beta(5, 5) are its values.

Adapted to text: the strong view is the first view if rows come with views, else a second dropout pass of the row.
Mixtures are of the features that the head reads. Thresholds start at 0 and are averages over few epochs: with the
code's m = 0.99 they would hardly leave 0, so m is 0.9 and the average is bias-corrected (divided by 1 - m^visits).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..buffer import check_state
from ..feature_model import FeatureModel
from ..method_config import MethodConfig, check_range
from ..mixup import draw_mixing
from ..networks import JointModel
from ..resumable_trainer import Stateful
from ..row_table import RowTable
from ..soft_targets import soft_cross_entropy
from .base import BaselineTrainer, Batch
from .dropout_views import run_twice
from .gce import generalized_cross_entropy

_GCE_Q = 0.7
_SUREST = 0.99  # no threshold of purification lies higher


class Subsets(NamedTuple):
    """What rows are taken for; `[B]` each.

    Attributes:
        clean: bool.
        hard: bool.
        purified: bool.
        labels: int64: mended labels of purified rows, given labels of the others.
    """

    clean: Tensor
    hard: Tensor
    purified: Tensor
    labels: Tensor


def subsets(visit: Tensor, thresholds: Tensor, labels: Tensor, best: Tensor, sigma: float) -> Subsets:
    """Tell clean, hard and purified rows.

    Args:
        visit: `[B, 3]`: probability of the given label in the weak and in the strong view, and the greatest mean
            probability of both views.
        thresholds: `[B, 2]` thresholds of both views.
        labels: `[B]` given labels.
        best: `[B]` the label of that greatest mean probability.
        sigma: how far above the thresholds a mended label must be.

    Example:
        >>> visit, thresholds = torch.tensor([[0.9, 0.8, 0.9], [0.1, 0.1, 0.9]]), torch.full((2, 2), 0.3)
        >>> subsets(visit, thresholds, torch.tensor([0, 0]), torch.tensor([0, 1]), sigma=0.5).labels
        tensor([0, 1])
    """
    above = visit[:, :2] > thresholds
    clean, hard = above.all(dim=1), above[:, 0] ^ above[:, 1]
    needed = (thresholds.mean(dim=1) + sigma).clamp_max(_SUREST)
    purified = (visit[:, 2] > needed) & ~clean & ~hard
    return Subsets(clean, hard, purified, torch.where(purified, best, labels))


class InstanceThresholds:
    """What each row showed at its last visit, its thresholds, and what it is taken for: 11 numbers a row.

    Args:
        num_rows: number of rows of the training set.
        momentum: m of the thresholds, in [0, 1).
        sigma: how far above the thresholds a mended label must be.
        device: where the state lies.

    Attributes:
        epoch: the epoch in which the subsets were told; -1 before.
    """

    def __init__(self, num_rows: int, momentum: float, sigma: float, device: torch.device | str | None = None) -> None:
        self._momentum, self._sigma = momentum, sigma
        # Of the last visit: p[y], q[y], max (p + q) / 2, its label, max p, max q.
        self._visits = RowTable(num_rows, (6,), fill=torch.nan, device=device)
        # Sums of both thresholds before bias correction, and how often they were updated.
        self._thresholds = RowTable(num_rows, (3,), device=device)
        # clean 0, hard 1, purified 2, none 3; and the label to learn, -1 for the given one.
        self._kinds = RowTable(num_rows, (2,), fill=-1.0, device=device)
        self.epoch = -1

    @torch.no_grad()
    def update(self, row_ids: Tensor, visits: Tensor) -> None:
        """Take in a batch: `[B]` row ids, -1 for padding, and `[B, 6]` numbers; what is not finite is left out."""
        at = self._visits.slots(row_ids, torch.isfinite(visits).all(dim=1))
        self._visits.values[at] = visits.to(self._visits.values)

    @torch.no_grad()
    def tell(self, labels: Tensor, epoch: int) -> None:
        """Tell the subsets, then move the thresholds; O(data set), at the start of an epoch.

        Args:
            labels: `[num_rows]` given labels, -1 where unknown.
            epoch: the epoch that begins.
        """
        visits, state = self._visits.rows, self._thresholds.rows
        seen = ~visits[:, 0].isnan()
        correction = 1 - self._momentum ** state[:, 2:].clamp_min(1)
        best = visits[:, 3].nan_to_num(-1).long()
        told = subsets(visits[:, :3], state[:, :2] / correction, labels.to(visits.device), best, self._sigma)
        kind = torch.where(told.clean, 0.0, torch.where(told.hard, 1.0, torch.where(told.purified, 2.0, 3.0)))
        mended = torch.where(told.purified, visits[:, 3], -1.0)
        self._kinds.rows.copy_(torch.where(seen[:, None], torch.stack([kind, mended], dim=1), -1.0))
        moved = self._momentum * state[:, :2] + (1 - self._momentum) * visits[:, 4:]
        state.copy_(torch.where(seen[:, None], torch.cat([moved, state[:, 2:] + 1], dim=1), state))
        self.epoch = epoch

    def of(self, row_ids: Tensor, labels: Tensor) -> Subsets:
        """Return what rows `[B]` are taken for; rows never seen, and all before the first epoch, are clean."""
        kind, mended = self._kinds.of(row_ids).unbind(dim=1)
        labels = labels.to(kind.device)
        return Subsets(kind <= 0, kind == 1, kind == 2, torch.where(mended >= 0, mended.long(), labels))  # noqa: PLR2004

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        tables = {name: table.state_dict()["rows"] for name, table in self._tables().items()}
        return {**tables, "epoch": torch.tensor(self.epoch)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows.
        """
        check_state(state, self.state_dict(), "InstanceThresholds")
        for name, table in self._tables().items():
            table.load_state_dict({"rows": state[name]})
        self.epoch = int(state["epoch"])

    def _tables(self) -> dict[str, RowTable]:
        return {"visits": self._visits, "thresholds": self._thresholds, "kinds": self._kinds}


@dataclass
class DiscConfig(MethodConfig):
    """Arguments of [`DiscTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> DiscConfig(output_dir="out").disc_warmup
        1.0
    """

    disc_warmup: float = field(default=1.0, metadata={"help": "Epochs of plain cross-entropy of both views."})
    disc_momentum: float = field(default=0.9, metadata={"help": "m: share of the old threshold in the new one."})
    disc_sigma: float = field(
        default=0.5, metadata={"help": "How far above its thresholds a row must be for its label to be mended."}
    )
    lambda_h: float = field(default=1.0, metadata={"help": "Weight of the hard rows."})
    mixup_alpha: float = field(default=5.0, metadata={"help": "Parameter of the Beta distribution, above 0."})

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_range("disc_warmup", self.disc_warmup, 0, 1e6)
        check_range("disc_momentum", self.disc_momentum, 0, 0.999)
        check_range("disc_sigma", self.disc_sigma, 0, 1)
        check_range("lambda_h", self.lambda_h, 0, 1e6)
        check_range("mixup_alpha", self.mixup_alpha, 0, 1e3, open_low=True)


class DiscTrainer(BaselineTrainer):
    """Fine-tune with DISC.

    Arguments are those of [`RowTrainer`], with a [`DiscConfig`]. Rows are ranked by the mean probability of their
    given label in both views, averaged over visits. Logged besides Trainer's own: `disc/clean`, `disc/hard` and
    `disc/purified`, the shares of these rows in the batches.

    Attributes:
        thresholds: the [`InstanceThresholds`]; None before training.

    Example:
        >>> trainer = DiscTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: DiscConfig
    method_name = "disc"
    config_class = DiscConfig
    has_own_score = True
    warmup = ("disc_warmup", "no row is ever sorted by its thresholds")
    thresholds: InstanceThresholds = None  # type: ignore[assignment]  # until training

    def joint_of(self, classifier: nn.Module) -> JointModel:
        """Return the module that runs the classifier and returns its features."""
        return FeatureModel(classifier, None, self.num_labels)

    def run(self, model: nn.Module, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return what the classifier makes of the batch, of two dropout passes of it where rows have no views."""
        return super().run(model, inputs) if self.views_per_row > 1 else run_twice(super().run, model, inputs)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the loss of the warm-up, or of DISC."""
        epoch = math.floor((self.state.epoch or 0.0) + 1e-6)
        if epoch > self.thresholds.epoch:
            self.thresholds.tell(self.row_statistics.labels, epoch)
        own = slice(None, None, self.views_per_row)
        ids, labels = batch.rows.ids[own], batch.labels[own]
        weak, strong = self._views(batch, "logits", batch.logits)
        usable = batch.finite[own] * torch.isfinite(strong).all(dim=1)
        if self.views_per_row > 1:
            usable = usable * batch.finite[1 :: self.views_per_row]
        strong = torch.where(usable[:, None] > 0, strong.float(), 0.0)
        told = Subsets(*(each.to(labels.device) for each in self.thresholds.of(ids, labels)))
        self._record(batch, (weak, strong), labels, usable)
        for name in ("clean", "hard", "purified"):
            self.log_term(f"disc/{name}", getattr(told, name).float().mean())
        ce = sum(F.cross_entropy(logits, labels, reduction="none") for logits in (weak, strong))
        if (self.state.epoch or 0.0) < self.args.disc_warmup:
            return (ce * usable).mean()
        gce = sum(generalized_cross_entropy(logits, labels, _GCE_Q) for logits in (weak, strong))
        loss = ((ce * told.clean + self.args.lambda_h * gce * told.hard) * usable).mean()
        chosen = (told.clean | told.hard | told.purified) & (usable > 0)
        for features in self._views(batch, "features", batch.outputs["features"]):
            loss = loss + self._mixed(features, told.labels, chosen)
        return loss

    def _views(self, batch: Batch, name: str, first: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weak and the strong view's values: the row and its first view, or two dropout passes."""
        views = self.views_per_row
        return (first[::views], first[1::views]) if views > 1 else (first, batch.outputs[f"second_{name}"])

    def _mixed(self, features: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        mixing = draw_mixing(chosen, self.args.mixup_alpha)
        logits = self.joint_model.logits_of(mixing.of(torch.where(chosen[:, None], features.float(), 0.0)))
        targets = mixing.of(F.one_hot(labels, self.num_labels).to(logits.dtype))
        losses = torch.where(chosen, soft_cross_entropy(logits, targets), 0.0)
        return losses.sum() / chosen.sum().clamp_min(1)

    @torch.no_grad()
    def _record(self, batch: Batch, views: tuple[Tensor, Tensor], labels: Tensor, usable: Tensor) -> None:
        p, q = (logits.softmax(dim=1) for logits in views)
        given = [probs.gather(1, labels[:, None]).squeeze(1) for probs in (p, q)]
        mean, best = ((p + q) / 2).max(dim=1)
        shown = torch.stack([*given, mean, best.float(), p.amax(dim=1), q.amax(dim=1)], dim=1)
        shown = torch.where(usable[:, None] > 0, shown, torch.nan)
        own = slice(None, None, self.views_per_row)
        self.thresholds.update(
            self.gather_entries(batch.rows.ids[own], batch.rows), self.gather_entries(shown, batch.rows)
        )
        self.record_scores(batch, shown[:, :2].mean(dim=1).repeat_interleave(self.views_per_row))

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        options = (self.args.disc_momentum, self.args.disc_sigma, self.state_device)
        self.thresholds = InstanceThresholds(len(self.train_dataset), *options)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "thresholds": self.thresholds}
