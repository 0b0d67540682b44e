r"""Early-learning regularization (ELR): keep the classifier near what it believed of each row before it memorised.

    t_i <- beta t_i + (1 - beta) p_i / sum_k p_i[k]                       t_i = 0 at first
    loss = mean_i  -log softmax(z_i)[y_i] + lambda log(1 - <p_i, t_i>)

with `p_i` the probabilities of row i, clamped to [1e-4, 1 - 1e-4]. The target `t_i` is updated before it is used in
the same step, and no gradient flows through it. The second term falls as `p_i` agrees with `t_i`; its gradient makes
up for that of a wrong label once the classifier has first learned the right one.

Source: Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020, and its code;
`lambda = 3` and `beta = 0.7` are its values for CIFAR-10. Adapted to text: nothing but the choice of beta. Fine-tuning
visits a row 3 to 10 times, and of a target that starts at zero the share `beta^visits` is missing; with its value for
CIFAR-100, 0.9, that would be 73% after 3 visits.

The targets are N x K float32 numbers, the one state of this package that grows with the number of labels: it is what
the method needs.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..margins import at_least_float32
from ..method_config import MethodConfig
from ..resumable_trainer import Stateful
from ..row_ids import PADDING_ID
from ..row_scores import RowScores
from ..row_table import RowTable
from .base import BaselineTrainer, Batch

_LEAST = 1e-4


def clamped_probabilities(logits: Tensor) -> Tensor:
    """Return the softmax of `[B, K]` logits, clamped to [1e-4, 1 - 1e-4] and not normalised again.

    Example:
        >>> clamped_probabilities(torch.tensor([[50.0, 0.0]]))
        tensor([[9.9990e-01, 1.0000e-04]])
    """
    return at_least_float32(logits).softmax(dim=1).clamp(_LEAST, 1 - _LEAST)


def early_learning_term(probs: Tensor, targets: Tensor) -> Tensor:
    """Compute `log(1 - <p, t>)`.

    Args:
        probs: `[B, K]` clamped probabilities.
        targets: `[B, K]` targets; no gradient flows into them.

    Returns:
        `[B]`, at least log(1e-4).

    Example:
        >>> early_learning_term(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
        tensor([-0.6931])
    """
    return (1 - (probs * targets.detach()).sum(dim=1)).clamp_min(_LEAST).log()


class TemporalTargets(RowTable):
    """What the classifier has made of each row so far: an exponential average of its probabilities.

    It takes `num_rows x num_labels` float32. Rows never seen, and padding, have zeros.

    Args:
        num_rows: number of rows of the training set.
        num_labels: number of labels.
        beta: share of the old target in the new one, in [0, 1).
        device: where the state lies.

    Example:
        >>> targets = TemporalTargets(num_rows=2, num_labels=2, beta=0.5)
        >>> targets.update(torch.tensor([1]), torch.tensor([[0.8, 0.2]]))
        >>> targets.of(torch.tensor([0, 1]))
        tensor([[0.0000, 0.0000],
                [0.4000, 0.1000]])
    """

    def __init__(self, num_rows: int, num_labels: int, beta: float, device: torch.device | str | None = None) -> None:
        super().__init__(num_rows, (num_labels,), device=device)
        self.beta = beta

    @torch.no_grad()
    def update(self, row_ids: Tensor, probs: Tensor) -> None:
        """Take in the probabilities of a batch; they are normalised here.

        Args:
            row_ids: `[B]` row ids; -1 is padding. Of a row that comes twice only the first entry counts.
            probs: `[B, K]` clamped probabilities.
        """
        at = self.slots(row_ids)
        new = (probs / probs.sum(dim=1, keepdim=True)).to(self.values)
        self.values[at] = self.beta * self.values[at] + (1 - self.beta) * new

    def agreement(self, labels: Tensor) -> Tensor:
        """Return the share of each row's target that lies on a label.

        Args:
            labels: `[num_rows]` labels; anything where a row was never seen.

        Returns:
            `[num_rows]`, NaN for rows never seen. Rows with different numbers of visits can be compared: the missing
            `beta^visits` of a target is divided out.
        """
        return self.rows.gather(1, labels.clamp_min(0)[:, None]).squeeze(1) / self.rows.sum(dim=1)


@dataclass
class ElrConfig(MethodConfig):
    """Arguments of [`ElrTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> ElrConfig(output_dir="out").elr_beta
        0.7
    """

    elr_beta: float = field(
        default=0.7, metadata={"help": "Share of the old target of a row in the new one at each visit, in [0, 1)."}
    )
    elr_lambda: float = field(default=3.0, metadata={"help": "Weight of the regularization, at least 0."})

    def check_fields(self) -> None:
        """Raise `InputError` if a field is out of range."""
        super().check_fields()
        if not 0 <= self.elr_beta < 1:
            raise InputError(f"elr_beta must be in [0, 1), got {self.elr_beta}: with 1 no target ever changes")
        if not 0 <= self.elr_lambda < math.inf:
            raise InputError(f"elr_lambda must be a finite number, at least 0, got {self.elr_lambda}")


class ElrTrainer(BaselineTrainer):
    """Fine-tune with early-learning regularization.

    Arguments are those of [`RowTrainer`], with an [`ElrConfig`]. Rows are ranked by the share of their target that
    lies on their given label. The views of a row are compared with the row's target, which the row itself makes.

    Attributes:
        targets: the [`TemporalTargets`]; None before training.

    Example:
        >>> trainer = ElrTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: ElrConfig
    method_name = "elr"
    config_class = ElrConfig
    targets: TemporalTargets = None  # type: ignore[assignment]  # until training

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy with the regularization; the targets are updated before."""
        own = slice(None, None, self.views_per_row)
        probs = clamped_probabilities(batch.logits)
        ids = torch.where(batch.finite > 0, batch.rows.ids, PADDING_ID)[own]
        self.targets.update(self.gather_entries(ids, batch.rows), self.gather_entries(probs.detach()[own], batch.rows))
        targets = self.targets.of(batch.rows.ids).to(probs.device)
        losses = F.cross_entropy(batch.logits, batch.labels, reduction="none")
        return batch.mean(losses + self.args.elr_lambda * early_learning_term(probs, targets))

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.targets = TemporalTargets(len(self.train_dataset), self.num_labels, self.args.elr_beta, self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "targets": self.targets}

    def row_scores(self) -> RowScores:
        """Return the share of each row's target that lies on its given label."""
        scores = self.targets.agreement(self.row_statistics.labels)
        return RowScores(scores, torch.ones_like(scores))
