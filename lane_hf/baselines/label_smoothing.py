r"""Label smoothing: cross-entropy with a target that leaves a share of the probability to all labels.

    loss = mean_i  -(1 - s) log p_i[y_i] - s / K sum_k log p_i[k]

Under uniform noise the right amount of smoothing is the noise itself: Lukasik et al. show that it then does about what
correcting the loss by the transition matrix does. `s = 0.1` is the usual value.

Sources: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7; Lukasik et al., "Does label
smoothing mitigate label noise?", ICML 2020. Nothing had to be adapted to text.
"""

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from ..method_config import MethodConfig, check_range
from .base import BaselineTrainer, Batch


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Compute the cross-entropy with smoothed targets.

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.
        smoothing: share of the uniform distribution in the target, in [0, 1].

    Returns:
        `[B]` float32.

    Example:
        >>> import torch
        >>> smoothed_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), 0.1)
        tensor([0.6931])
    """
    return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


@dataclass
class LabelSmoothingConfig(MethodConfig):
    """Arguments of [`LabelSmoothingTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> LabelSmoothingConfig(output_dir="out").smoothing
        0.1
    """

    smoothing: float = field(
        default=0.1, metadata={"help": "Share of the uniform distribution in the target, in [0, 1]."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if the share is out of range."""
        super().check_fields()
        check_range("smoothing", self.smoothing, 0, 1)


class LabelSmoothingTrainer(BaselineTrainer):
    """Fine-tune with smoothed labels.

    Arguments are those of [`RowTrainer`], with a [`LabelSmoothingConfig`]. Rows are ranked by their average margin.

    Example:
        >>> trainer = LabelSmoothingTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: LabelSmoothingConfig
    method_name = "label-smoothing"
    config_class = LabelSmoothingConfig

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy with smoothed targets."""
        return batch.mean(smoothed_cross_entropy(batch.logits, batch.labels, self.args.smoothing))
