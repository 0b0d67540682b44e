r"""Generalized cross-entropy (GCE): a loss between cross-entropy and the mean absolute error.

    loss = mean_i  (1 - p_i[y_i]^q) / q                      q -> 0: cross-entropy;  q = 1: 1 - p_i[y_i]

Its gradient is that of cross-entropy times `p_i[y_i]^q`: the less the classifier believes in a label, the less the
label teaches. So a row's weight, averaged over its visits, is also its score.

Source: Zhang & Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", NeurIPS
2018; `q = 0.7` as there. Its truncated variant, which prunes rows once per epoch, is not included. Nothing had to be
adapted to text. Probabilities below 1e-7 count as 1e-7, as in other code that uses this loss (DISC, CVPR 2023): such
rows get no gradient, where the formula gives them next to none.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..margins import at_least_float32
from ..method_config import MethodConfig, check_range
from .base import BaselineTrainer, Batch

_LEAST_LOG_PROBABILITY = math.log(1e-7)


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """Compute the generalized cross-entropy.

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.
        q: in (0, 1].

    Returns:
        `[B]` in [0, 1 / q], float32 unless the logits are float64. Value and gradient are finite for finite logits.

    Example:
        >>> generalized_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), q=1.0)
        tensor([0.5000])
    """
    # expm1 keeps the digits that `1 - p^q` would lose for a small q.
    return -torch.expm1(q * _given_log_probs(logits, labels)) / q


@torch.no_grad()
def gce_weights(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """Return `p[y]^q`, by which the gradient differs from that of cross-entropy: `[B]` in (0, 1].

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.
        q: in (0, 1].

    Example:
        >>> gce_weights(torch.zeros(1, 4), torch.tensor([0]), q=0.5)
        tensor([0.5000])
    """
    return torch.exp(q * _given_log_probs(logits, labels))


def _given_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    log_probs = at_least_float32(logits).log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    return log_probs.clamp_min(_LEAST_LOG_PROBABILITY)


@dataclass
class GceConfig(MethodConfig):
    """Arguments of [`GceTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> GceConfig(output_dir="out").gce_q
        0.7
    """

    gce_q: float = field(
        default=0.7, metadata={"help": "Between cross-entropy (towards 0) and mean absolute error (1), in (0, 1]."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if q is out of range."""
        super().check_fields()
        check_range("gce_q", self.gce_q, 0, 1, open_low=True)


class GceTrainer(BaselineTrainer):
    """Fine-tune with the generalized cross-entropy.

    Arguments are those of [`RowTrainer`], with a [`GceConfig`]. Rows are ranked by their average `p[y]^q`.

    Example:
        >>> trainer = GceTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: GceConfig
    method_name = "gce"
    config_class = GceConfig
    has_own_score = True

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean generalized cross-entropy; record the weights of the rows."""
        weights = gce_weights(batch.logits, batch.labels, self.args.gce_q)
        self.record_scores(batch, weights)
        return batch.mean(generalized_cross_entropy(batch.logits, batch.labels, self.args.gce_q))
