r"""Peer loss: punish agreement with labels that were paired with rows at random.

    loss = mean_i  l(p_i, y_i) - alpha l(p_n1, y_n2),          l(p, y) = -log(p[y] + 1e-5)

with n1 and n2 drawn independently of each other. Blind agreement, which noise rewards as well, cancels out. `l` is
bounded by 11.5, as in the published code: with plain cross-entropy the second term would have no lower bound. The loss
may be negative.

No second batch is needed. `peer_mode="closed_form"` takes the mean over all pairs of a row and the labels seen so far,

    mean_i  sum_c prior_c l(p_i, c),                            prior = shares of the labels,

which is what random pairs give on average, with less variance; it is also the regularizer of CORES (Cheng et al.,
ICLR 2021). `peer_mode="pairs"` pairs the rows of the batch with its labels at random, as published.

Source: Liu & Guo, "Peer Loss Functions: Learning from Noisy Labels without Knowing Noise Rates", ICML 2020, and its
code. Adapted to text: there alpha is 0 for 20 of 300 epochs and then rises, in the end to 5 and more; here it is 0 for
a tenth of training and rises to 1 over the next three tenths, because fine-tuning for a few epochs leaves no time to
recover from a loss that mostly punishes.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from ..margins import at_least_float32
from ..method_config import MethodConfig, check_choice, check_range
from ..resumable_trainer import Stateful
from .base import BaselineTrainer, Batch
from .label_prior import LabelPrior

_BOUND = 1e-5  # keeps the loss below -log(1e-5) = 11.5


def bounded_log_probs(logits: Tensor) -> Tensor:
    """Return `log(softmax(z) + 1e-5)` of `[B, K]` logits, float32 unless they are float64.

    Example:
        >>> bounded_log_probs(torch.tensor([[1e4, 0.0]]))[0, 1]
        tensor(-11.5129)
    """
    return (at_least_float32(logits).softmax(dim=1) + _BOUND).log()


def bounded_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `-log(p[y] + 1e-5)`: `[B]` for `[B, K]` logits and `[B]` labels.

    Example:
        >>> bounded_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.6931])
    """
    return -bounded_log_probs(logits).gather(1, labels[:, None]).squeeze(1)


def expected_peer_term(logits: Tensor, prior: Tensor) -> Tensor:
    """Return the bounded cross-entropy with a label drawn at random.

    Args:
        logits: `[B, K]` scores.
        prior: `[K]` probability of each label.

    Returns:
        `[B]`: `-sum_c prior_c log(p[c] + 1e-5)`.

    Example:
        >>> expected_peer_term(torch.zeros(1, 2), torch.tensor([0.9, 0.1]))
        tensor([0.6931])
    """
    return -(bounded_log_probs(logits) * prior.to(logits)).sum(dim=1)


def peer_weight(progress: float, alpha: float, warmup: float, ramp: float) -> float:
    """Return the weight of the peer term: 0 during the warm-up, then rising linearly.

    Args:
        progress: how much of training is done, from 0 to 1.
        alpha: the weight that is reached.
        warmup: share of training with weight 0.
        ramp: share of training over which the weight then rises; 0 is at once.

    Example:
        >>> [peer_weight(progress, 1.0, warmup=0.25, ramp=0.5) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if progress < warmup:
        return 0.0
    return alpha if progress >= warmup + ramp else alpha * (progress - warmup) / ramp


@dataclass
class PeerLossConfig(MethodConfig):
    """Arguments of [`PeerLossTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> PeerLossConfig(output_dir="out").peer_mode
        'closed_form'
    """

    peer_mode: Literal["closed_form", "pairs"] = field(
        default="closed_form",
        metadata={"help": "Peer term: 'closed_form', the mean over all labels, or 'pairs', drawn from the batch."},
    )
    peer_alpha: float = field(
        default=1.0, metadata={"help": "Weight of the peer term that is reached, at least 0; above 1 it may collapse."}
    )
    peer_warmup: float = field(default=0.1, metadata={"help": "Share of training without the peer term."})
    peer_ramp: float = field(
        default=0.3, metadata={"help": "Share of training over which its weight then rises; 0 is at once."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_choice("peer_mode", self.peer_mode, ("closed_form", "pairs"))
        check_range("peer_warmup", self.peer_warmup, 0, 1)
        check_range("peer_ramp", self.peer_ramp, 0, 1)
        if not 0 <= self.peer_alpha < math.inf:
            raise InputError(f"peer_alpha must be a finite number, at least 0, got {self.peer_alpha}")


class PeerLossTrainer(BaselineTrainer):
    """Fine-tune with the peer loss.

    Arguments are those of [`RowTrainer`], with a [`PeerLossConfig`]. Rows are ranked by the average of their negative
    peer loss, in closed form and at full weight: how much better than a random label the given one is.

    Attributes:
        prior: the [`LabelPrior`]; None before training.

    Example:
        >>> trainer = PeerLossTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: PeerLossConfig
    method_name = "peer-loss"
    config_class = PeerLossConfig
    has_own_score = True
    prior: LabelPrior = None  # type: ignore[assignment]  # until training

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean peer loss; the label shares are updated before."""
        args = self.args
        self.prior.update(batch.step_labels)
        losses = bounded_cross_entropy(batch.logits, batch.labels)
        expected = expected_peer_term(batch.logits, self.prior.shares())
        self.record_scores(batch, args.peer_alpha * expected - losses)
        peers = expected
        if args.peer_mode == "pairs":
            # A mean over pairs does not depend on their order, so one of the two draws can stay as it is.
            others = torch.randperm(len(batch.labels), device=batch.labels.device)
            peers = bounded_cross_entropy(batch.logits, batch.labels[others])
        alpha = peer_weight(self.progress, args.peer_alpha, args.peer_warmup, args.peer_ramp)
        return batch.mean(losses - alpha * peers)

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.prior = LabelPrior(self.num_labels, self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "label_prior": self.prior}
