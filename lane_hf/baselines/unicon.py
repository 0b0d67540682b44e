r"""UNICON: pick as many rows of every label as look clean overall, and learn the others like unlabelled examples.

At the start of each epoch after the warm-up, with p the mean prediction of both networks at the row's last visit:

    d_i = JSD(p_i, onehot(y_i)) in bits;   thr = mean d;   if thr > d_u: thr <- thr - (thr - min d) / tau
    R = share of rows with d < thr;   labelled: of each label the R N / K rows of smallest d

Then for each network, with m the other one:

    labelled:    t = sharpen(w onehot(y) + (1 - w) p_n),  w = 1 if d < 1/2 else 1 - d
    unlabelled:  t = sharpen((p_n + p_m) / 2)
    loss_n = MixMatch with these targets + lambda_c NT-Xent between two views of the unlabelled rows

Choosing label by label keeps labels that are learned late, which one threshold would leave without rows.

Source: Karim et al., "UNICON: Combating Label Noise Through Uniform Selection and Contrastive Learning", CVPR 2022,
and its code; d_u = 0.7, tau = 5, T = 0.5, Beta(4, 4), lambda_u = 30, lambda_c = 0.025 and temperature 0.05 are its
values.

Departures: the code takes JSD in nats, which never exceed 0.693, so that its threshold is never lowered; here it is in
bits. Where a label has fewer rows than its share, it gives all it has; the code counts its first row again. JSD is
that of the last training pass. MixMatch mixes the features that the head reads, of the first view of a row if rows
come with views (its strong augmentation), else of the row; the contrastive term, which needs two views, is left out
where there are fewer, and compares features without a projection. The prior is that of the given labels, not the
uniform one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..buffer import check_state
from ..contrastive import supervised_contrastive_loss
from ..feature_model import FeatureModel
from ..margins import finite_rows
from ..method_config import check_range
from ..networks import JointModel
from ..resumable_trainer import Stateful
from ..row_table import RowTable
from ..soft_targets import sharpen
from .base import Batch
from .label_interpolation import label_divergence
from .label_prior import LabelPrior
from .mixmatch import Examples, mixmatch_loss
from .mixmatch_config import MixMatchConfig
from .pair import PairTrainer

_TEMPERATURE = 0.5
_MOST_DIVERGENT = 0.7  # d_u, in bits
_LOWERING = 5.0  # tau
_CONTRASTIVE_TEMPERATURE = 0.05


def uniform_selection(divergences: Tensor, labels: Tensor, num_labels: int) -> Tensor:
    """Pick the rows that look clean, as many of each label.

    Args:
        divergences: `[N]` in bits; NaN for rows never seen, which are not picked.
        labels: `[N]` given labels.
        num_labels: number of labels.

    Returns:
        `[N]` bool. Every label that has a row seen gets at least one.

    Example:
        >>> uniform_selection(torch.tensor([0.1, 0.2, 0.9, 0.6]), torch.tensor([0, 0, 0, 1]), num_labels=2)
        tensor([ True, False, False,  True])
    """
    seen = ~divergences.isnan()
    known = divergences[seen].double()
    if len(known) == 0:
        return torch.zeros_like(seen)
    threshold = known.mean()
    if threshold > _MOST_DIVERGENT:
        threshold = threshold - (threshold - known.min()) / _LOWERING
    share = (known < threshold).double().mean()
    used = max(1, len(torch.unique(labels[seen])))  # a classifier may have labels that no row has
    each = max(1, round(float(share) * len(known) / used))
    # By label, and within a label by divergence: the place in its label decides.
    order = torch.argsort(divergences.nan_to_num(math.inf), stable=True)
    order = order[torch.argsort(labels[order], stable=True)]
    counts = torch.bincount(labels, minlength=num_labels)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - starts[labels[order]]
    return (place < each) & seen


class UniformSplit:
    """The divergence of each row at its last visit, and which rows are labelled in this epoch.

    Args:
        num_rows: number of rows of the training set.
        num_labels: number of labels.
        device: where the state lies.

    Attributes:
        epoch: the epoch in which rows were picked; -1 before, when all are labelled.
    """

    def __init__(self, num_rows: int, num_labels: int, device: torch.device | str | None = None) -> None:
        self._divergences = RowTable(num_rows, fill=torch.nan, device=device)
        self._labelled = RowTable(num_rows, fill=1.0, device=device)
        self._num_labels = num_labels
        self.epoch = -1

    @torch.no_grad()
    def update(self, row_ids: Tensor, divergences: Tensor) -> None:
        """Take in a batch: `[B]` row ids, -1 for padding, and `[B]` divergences; NaN is left out."""
        at = self._divergences.slots(row_ids, torch.isfinite(divergences))
        self._divergences.values[at] = divergences.to(self._divergences.values)

    @torch.no_grad()
    def pick(self, labels: Tensor, epoch: int) -> None:
        """Pick the rows that are labelled in an epoch: `[num_rows]` given labels, -1 where unknown. O(data set)."""
        # In main memory, where sums have one order: every process must pick the same rows.
        labels = labels.cpu()
        divergences = torch.where(labels >= 0, self._divergences.rows.cpu(), torch.nan)
        picked = uniform_selection(divergences, labels.clamp_min(0), self._num_labels)
        self._labelled.rows.copy_(picked)
        self.epoch = epoch

    def of(self, row_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return which rows are labelled, `[B]` bool, and how far their labels are believed, `[B]` in [0, 1]."""
        divergences = self._divergences.of(row_ids).nan_to_num(0.0)
        return self._labelled.of(row_ids) > 0, torch.where(divergences < 0.5, 1.0, 1 - divergences)  # noqa: PLR2004

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        tables = {"divergences": self._divergences, "labelled": self._labelled}
        return {name: table.state_dict()["rows"] for name, table in tables.items()} | {
            "epoch": torch.tensor(self.epoch)
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows.
        """
        check_state(state, self.state_dict(), "UniformSplit")
        self._divergences.load_state_dict({"rows": state["divergences"]})
        self._labelled.load_state_dict({"rows": state["labelled"]})
        self.epoch = int(state["epoch"])


@dataclass
class UniconConfig(MixMatchConfig):
    """Arguments of [`UniconTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> UniconConfig(output_dir="out").lambda_u
        30.0
    """

    lambda_u: float = field(default=30.0, metadata={"help": "Weight of the unlabelled part that is reached."})
    lambda_c: float = field(default=0.025, metadata={"help": "Weight of the contrastive term between two views."})

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_range("lambda_c", self.lambda_c, 0, 1e6)


class UniconTrainer(PairTrainer):
    """Fine-tune with UNICON.

    Arguments are those of [`RowTrainer`], with a [`UniconConfig`]. Rows are ranked by 1 - JSD, averaged over visits.
    Logged besides Trainer's own: `unicon/labelled`, the share of labelled rows in the batches.

    Attributes:
        split: the [`UniformSplit`]; None before training.

    Example:
        >>> trainer = UniconTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: UniconConfig
    method_name = "unicon"
    config_class = UniconConfig
    has_own_score = True
    warmup = ("mixmatch_warmup", "no label is ever doubted")
    split: UniformSplit = None  # type: ignore[assignment]  # until training
    prior: LabelPrior = None  # type: ignore[assignment]  # until training

    def joint_of(self, classifier: nn.Module) -> JointModel:
        """Return the module that runs both networks and returns their features."""
        return FeatureModel(classifier, self.auxiliary_model, self.num_labels)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of both networks' losses."""
        self.prior.update(batch.step_labels)
        other_logits, other_finite = finite_rows(batch.outputs["auxiliary_logits"])
        logits, usable = (batch.logits, other_logits), batch.finite * other_finite
        epoch = self.state.epoch or 0.0
        is_warmup = epoch < self.args.mixmatch_warmup
        if not is_warmup and math.floor(epoch + 1e-6) > self.split.epoch:
            self.split.pick(self.row_statistics.labels, math.floor(epoch + 1e-6))
        own = slice(None, None, self.views_per_row)
        labelled, belief = (each.to(usable.device) for each in self.split.of(batch.rows.ids[own]))
        probs = [each.detach().softmax(dim=1)[own] for each in logits]
        self._record(batch, (probs[0] + probs[1]) / 2, usable)
        self.log_term("unicon/labelled", labelled.float().mean())
        if is_warmup:
            losses = sum(F.cross_entropy(each, batch.labels, reduction="none") for each in logits)
            return (losses * usable).mean()
        guessed = sharpen((probs[0] + probs[1]) / 2, _TEMPERATURE)
        onehot = F.one_hot(batch.labels[own], self.num_labels).to(guessed.dtype)
        total = batch.logits.new_zeros(())
        for name, predicted in zip(("features", "auxiliary_features"), probs, strict=True):
            refined = sharpen(belief[:, None] * onehot + (1 - belief)[:, None] * predicted, _TEMPERATURE)
            targets = torch.where(labelled[:, None], refined, guessed)
            total = total + self._loss_of_network(batch, name, targets, labelled, usable)
        return total

    def _loss_of_network(self, batch: Batch, name: str, targets: Tensor, labelled: Tensor, usable: Tensor) -> Tensor:
        views = self.views_per_row
        features = batch.outputs[name].reshape(len(targets), views, -1)
        whole = usable.reshape(-1, views).amin(dim=1) > 0
        strong = features[:, min(1, views - 1)]  # the first view, or the row itself where there is none
        head = partial(self.joint_model.logits_of, name=name)
        weight_u = self.args.weight_u(self.progress, self.state.num_train_epochs)
        examples = Examples(strong, targets, labelled, whole)
        loss = mixmatch_loss(head, examples, self.args.mixup_alpha, weight_u, self.prior.shares())
        if views < 3:  # noqa: PLR2004 -- the row and two views
            return loss
        # Each row is a label of its own: its other view is the only positive. Labelled rows count as zeros.
        chosen = torch.where((whole & ~labelled)[:, None, None], features[:, 1:3].float(), 0.0)
        rows = torch.arange(len(targets), device=strong.device)
        pairs = torch.cat([chosen[:, 0], chosen[:, 1]])
        contrast = supervised_contrastive_loss(pairs, torch.cat([rows, rows]), _CONTRASTIVE_TEMPERATURE)
        return loss + self.args.lambda_c * contrast

    def _record(self, batch: Batch, probs: Tensor, usable: Tensor) -> None:
        own = slice(None, None, self.views_per_row)
        given = probs.gather(1, batch.labels[own][:, None]).squeeze(1)
        divergences = torch.where(usable[own] > 0, label_divergence(given), torch.nan)
        self.split.update(*self.gather((batch.rows.ids[own], divergences), batch.rows))
        self.record_scores(batch, (1 - divergences).repeat_interleave(self.views_per_row))

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.split = UniformSplit(len(self.train_dataset), self.num_labels, self.state_device)
        self.prior = LabelPrior(self.num_labels, self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "split": self.split, "label_prior": self.prior}
