r"""DivideMix: two networks tell each other which labels to trust, and learn the others like unlabelled examples.

After a warm-up of plain cross-entropy, for each network n, with m the other one:

    w = P(low loss) of the row under a mixture of two Gaussians on the losses of m       (co-divide; labelled: w > 1/2)
    labelled:    t = sharpen(w onehot(y) + (1 - w) p_n)                                   (co-refine)
    unlabelled:  t = sharpen((p_n + p_m) / 2)                                             (co-guess)
    loss_n = CE of mixtures whose first example is labelled
           + lambda_u(progress) mean squared error of the others  + KL(prior || mean prediction)

Mixtures are those of `lane_hf.mixup`, over labelled and unlabelled examples together, of the features that the head
reads. The last term keeps the predictions from collapsing onto a few labels.

Source: Li et al., "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020, and its code; T =
0.5, Beta(4, 4) and lambda_u = 25 are its values.

Adapted to text: features are mixed, as pixels there; predictions are those of the training pass (dropout is the
augmentation), so that a step costs one pass of each network; losses are those of the training passes; one batch holds
both kinds of rows, in the shares that they have in the data; both networks learn in the same step; the warm-up is one
epoch (more, and a pretrained encoder memorises), and lambda_u rises over 30% of training after it. The prior is that
of the given labels, where the code has the uniform one: text data sets have rare labels.
"""

import math
import warnings
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..feature_model import FeatureModel
from ..margins import finite_rows
from ..networks import JointModel
from ..resumable_trainer import Stateful
from ..soft_targets import sharpen
from .base import Batch
from .clean_split import CLEAN, CleanSplit
from .label_prior import LabelPrior
from .mixmatch import Examples, mixmatch_loss
from .mixmatch_config import MixMatchConfig
from .pair import PairTrainer

_TEMPERATURE = 0.5


@dataclass
class DivideMixConfig(MixMatchConfig):
    """Arguments of [`DivideMixTrainer`].

    Example:
        >>> DivideMixConfig(output_dir="out").mixmatch_warmup
        1.0
    """


class DivideMixTrainer(PairTrainer):
    """Fine-tune with DivideMix.

    Arguments are those of [`RowTrainer`], with a [`DivideMixConfig`]. Rows are ranked by the negative loss of both
    networks, averaged over visits. Logged besides Trainer's own: `divide_mix/labelled`, the share of labelled rows in
    the batches, over both networks.

    Attributes:
        splits: the [`CleanSplit`] of each network; None before training.

    Example:
        >>> trainer = DivideMixTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: DivideMixConfig
    method_name = "divide-mix"
    config_class = DivideMixConfig
    has_own_score = True
    warmup = ("mixmatch_warmup", "no label is ever doubted")
    splits: tuple[CleanSplit, CleanSplit] = None  # type: ignore[assignment]  # until training
    prior: LabelPrior = None  # type: ignore[assignment]  # until training
    _warned: bool = False

    def joint_of(self, classifier: nn.Module) -> JointModel:
        """Return the module that runs both networks and returns their features."""
        return FeatureModel(classifier, self.auxiliary_model, self.num_labels)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of both networks' losses."""
        self.prior.update(batch.step_labels)
        other_logits, other_finite = finite_rows(batch.outputs["auxiliary_logits"])
        logits, usable = (batch.logits, other_logits), batch.finite * other_finite
        losses = [F.cross_entropy(each, batch.labels, reduction="none") for each in logits]
        epoch = self.state.epoch or 0.0
        is_warmup = epoch < self.args.mixmatch_warmup
        if not is_warmup:
            self._refit(math.floor(epoch + 1e-6))
        # Each network is told by the other, and what is told comes from before this step.
        clean = [
            split.probability(batch.rows.ids, batch.labels).to(batch.logits.device) for split in self.splits[::-1]
        ]
        self._record(batch, losses, usable)
        self.log_term("divide_mix/labelled", torch.stack([(each > CLEAN).float().mean() for each in clean]).mean())
        if is_warmup:
            return (sum(losses) * usable).mean()
        probs = [each.detach().softmax(dim=1) for each in logits]
        guessed = sharpen((probs[0] + probs[1]) / 2, _TEMPERATURE)
        weight_u = self.args.weight_u(self.progress, self.state.num_train_epochs)
        total = batch.logits.new_zeros(())
        for name, own, weight in zip(("features", "auxiliary_features"), probs, clean, strict=True):
            onehot = F.one_hot(batch.labels, self.num_labels).to(own.dtype)
            refined = sharpen(weight[:, None] * onehot + (1 - weight)[:, None] * own, _TEMPERATURE)
            labelled = weight > CLEAN
            examples = Examples(
                batch.outputs[name], torch.where(labelled[:, None], refined, guessed), labelled, usable > 0
            )
            head = partial(self.joint_model.logits_of, name=name)
            total = total + mixmatch_loss(head, examples, self.args.mixup_alpha, weight_u, self.prior.shares())
        return total

    def _record(self, batch: Batch, losses: list[Tensor], usable: Tensor) -> None:
        own = slice(None, None, self.views_per_row)
        both = [torch.where(usable > 0, loss.detach(), torch.nan) for loss in losses]
        ids, *values = self.gather((batch.rows.ids[own], *(loss[own] for loss in both)), batch.rows)
        for split, value in zip(self.splits, values, strict=True):
            split.update(ids, value)
        self.record_scores(batch, -(both[0] + both[1]) / 2)

    def _refit(self, epoch: int) -> None:
        if epoch <= self.splits[0].epoch:
            return
        for split in self.splits:
            split.refit(self.row_statistics.labels, epoch)
        if not all(split.finds_clean_rows for split in self.splits) and not self._warned:
            self._warned = True
            warnings.warn("DivideMix finds no clean row: all labels are used as they are (said once)", stacklevel=2)

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        rows = len(self.train_dataset)
        self.splits = (CleanSplit(rows, 0, self.state_device), CleanSplit(rows, 0, self.state_device))
        self.prior = LabelPrior(self.num_labels, self.state_device)
        self._warned = False

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        splits = {"split": self.splits[0], "split_of_auxiliary": self.splits[1]}
        return {**super().stateful_parts(), **splits, "label_prior": self.prior}
