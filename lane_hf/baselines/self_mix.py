r"""SelfMix: one network, a mixture that tells which labels to trust, and mixup on what its head reads.

    score_i = -p_i[y_i] + log sum_k exp p_i[k]          (cross-entropy of the softmax: bounded, unlike the loss)
    clean_i = P(low score | score_i) under two Gaussians, fitted once an epoch;   trusted: clean_i > 1/2
    t_i = onehot(y_i) of trusted rows, sharpen of the mean prediction of two dropout views of the others
    loss = CE of mixed features with mixed targets
         + lambda_p mean(-min_k log p_k)                       over both views of the rows that are not trusted
         + lambda_r mean((KL(p || p') + KL(p' || p)) / 2)      between their two views

Both means are over the rows of the batch that are not trusted, however few. Plain cross-entropy comes first, for a
third of training, and until an epoch ends: the first mixture is fitted to scores of one whole pass. The lambda_p term
holds on to the least likely label: it works as a smoothing.

Source: Qiao et al., "SelfMix: Robust Learning Against Textual Label Noise with Self-Mixup Training", EMNLP 2022, and
its code; a text method (features = [CLS]). lambda_p = 0.2, T = 0.5, Beta(0.75, 0.75) are its values; lambda_r is 0.3
there, of a sum over 16 rows that are not trusted, hence 4.8 of a mean.

Departures: scores are those of the training passes, and predictions those of the dropout views themselves, where the
code makes passes of their own in evaluation mode; trusted rows and the others come from one batch, in the shares that
they have in the data, where the code draws 16 of each; with `class_reg` a mixture is fitted to each label, where the
code normalises scores by label and fits one. If a fit trusts no row at all, all are trusted, with a warning.
"""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..feature_model import FeatureModel
from ..method_config import MethodConfig, check_range
from ..mixup import draw_mixing
from ..networks import JointModel
from ..resumable_trainer import Stateful
from ..soft_targets import sharpen, soft_cross_entropy
from .base import BaselineTrainer, Batch
from .clean_split import CLEAN, CleanSplit
from .dropout_views import run_twice

_TEMPERATURE = 0.5


def bounded_score(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy of the softmax, as if probabilities were logits.

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.

    Returns:
        `[B]` float32, between `log(e + K - 1) - 1` and `log(e + K - 1)`.

    Example:
        >>> bounded_score(torch.tensor([[100.0, 0.0], [0.0, 100.0]]), torch.tensor([0, 0]))
        tensor([0.3133, 1.3133])
    """
    return F.cross_entropy(logits.float().softmax(dim=1), labels, reduction="none")


def least_likely_term(log_probs: Tensor) -> Tensor:
    """Return `-min_k log p_k` of `[B, K]` log-probabilities: `[B]`."""
    return -log_probs.amin(dim=1)


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of both Kullback-Leibler divergences of two `[B, K]` log-probabilities: `[B]`.

    Example:
        >>> symmetric_divergence(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.5, 0.5]]).log())
        tensor([0.])
    """
    return ((first.exp() - second.exp()) * (first - second)).sum(dim=1) / 2


@dataclass
class SelfMixConfig(MethodConfig):
    """Arguments of [`SelfMixTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> SelfMixConfig(output_dir="out").selfmix_warmup
        0.3333333333333333
    """

    selfmix_warmup: float = field(
        default=1 / 3,
        metadata={"help": "Share of training with plain cross-entropy, prolonged to the end of an epoch."},
    )
    class_reg: bool = field(default=False, metadata={"help": "Fit a mixture to the rows of each label."})
    mixup_alpha: float = field(default=0.75, metadata={"help": "Parameter of the Beta distribution, above 0."})
    lambda_p: float = field(default=0.2, metadata={"help": "Weight of the term of the least likely label."})
    lambda_r: float = field(default=4.8, metadata={"help": "Weight of the consistency of two dropout views."})

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_range("selfmix_warmup", self.selfmix_warmup, 0, 1)
        check_range("mixup_alpha", self.mixup_alpha, 0, 1e3, open_low=True)
        check_range("lambda_p", self.lambda_p, 0, 1e6)
        check_range("lambda_r", self.lambda_r, 0, 1e6)


class SelfMixTrainer(BaselineTrainer):
    """Fine-tune with SelfMix.

    Arguments are those of [`RowTrainer`], with a [`SelfMixConfig`]. Rows are ranked by their negative score, averaged
    over visits. Logged besides Trainer's own: `self_mix/trusted`, the share of trusted rows in the batches.

    Attributes:
        split: the [`CleanSplit`]; None before training.

    Example:
        >>> trainer = SelfMixTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: SelfMixConfig
    method_name = "self-mix"
    config_class = SelfMixConfig
    has_own_score = True
    split: CleanSplit = None  # type: ignore[assignment]  # until training
    _warned: bool = False

    def joint_of(self, classifier: nn.Module) -> JointModel:
        """Return the module that runs the classifier and returns its features."""
        return FeatureModel(classifier, None, self.num_labels)

    @property
    def _is_warmup(self) -> bool:
        return self.is_within(self.args.selfmix_warmup)

    def run(self, model: nn.Module, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return what the classifier makes of the batch; after the warm-up, of two dropout views of it."""
        return super().run(model, inputs) if self._is_warmup else run_twice(super().run, model, inputs)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the loss of the warm-up, or of SelfMix."""
        own = slice(None, None, self.views_per_row)
        scores = bounded_score(batch.logits.detach(), batch.labels)
        trusted = self._trusted(batch.rows.ids, batch.labels)
        ids, values = self.gather((batch.rows.ids[own], self._finite(batch, scores)[own]), batch.rows)
        self.split.update(ids, values)
        self.record_scores(batch, -scores)
        self.log_term("self_mix/trusted", trusted.float().mean())
        if self._is_warmup:
            return batch.mean(F.cross_entropy(batch.logits, batch.labels, reduction="none"))
        return self._self_mix(batch, trusted)

    def _finite(self, batch: Batch, values: Tensor) -> Tensor:
        return torch.where(batch.finite > 0, values, torch.nan)

    def _self_mix(self, batch: Batch, trusted: Tensor) -> Tensor:
        second = batch.outputs["second_logits"].float()
        usable = (batch.finite > 0) & torch.isfinite(second).all(dim=1)
        second = torch.where(usable[:, None], second, 0.0)
        views = [logits.log_softmax(dim=1) for logits in (batch.logits, second)]
        guessed = sharpen((views[0].exp() + views[1].exp()).detach() / 2, _TEMPERATURE)
        onehot = F.one_hot(batch.labels, self.num_labels).to(guessed.dtype)
        targets = torch.where(trusted[:, None], onehot, guessed)
        mixing = draw_mixing(usable, self.args.mixup_alpha)
        features = torch.where(usable[:, None], batch.outputs["features"].float(), 0.0)
        logits = self.joint_model.logits_of(mixing.of(features))
        losses = soft_cross_entropy(logits, mixing.of(targets))
        least = (least_likely_term(views[0]) + least_likely_term(views[1])) / 2
        regularisers = self.args.lambda_p * least + self.args.lambda_r * symmetric_divergence(*views)
        doubted = usable & ~trusted
        of_doubted = torch.where(doubted, regularisers, 0.0).sum() / doubted.sum().clamp_min(1)
        return torch.where(usable, losses, 0.0).mean() + of_doubted

    def _trusted(self, row_ids: Tensor, labels: Tensor) -> Tensor:
        """Return which rows are trusted, `[B]` bool: by their last visit and the mixture of this epoch."""
        epoch = math.floor((self.state.epoch or 0.0) + 1e-6)
        if not self._is_warmup and epoch > self.split.epoch:
            self.split.refit(self.row_statistics.labels, epoch)
            if not self.split.finds_clean_rows and not self._warned:
                self._warned = True
                warnings.warn("SelfMix trusts no row: all labels are used as they are (said once)", stacklevel=2)
        return (self.split.probability(row_ids, labels) > CLEAN).to(labels.device)

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        groups = self.num_labels if self.args.class_reg else 0
        self.split = CleanSplit(len(self.train_dataset), groups, self.state_device)
        self._warned = False

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "split": self.split}
