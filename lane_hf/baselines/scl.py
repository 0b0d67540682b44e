r"""Supervised contrastive learning (SCL): cross-entropy, and embeddings of equal labels pulled together.

    loss = (1 - l) mean_i -log p_i[y_i]  +  l SCL
    SCL  = mean_i  -1/|P_i| sum_{j in P_i} log( exp(h_i.h_j / t) / sum_{k != i} exp(h_i.h_k / t) )

with `h` the normalised embedding that the classifier's head reads and `P_i` the other entries of the batch with the
label of i. An entry without such others counts in the mean and adds nothing.

Source: Gunel et al., "Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning", ICLR 2021 (its code
is not public); `l = 0.9` and `t = 0.3` are the values that it recommends for few rows. The contrastive loss is that of
Khosla et al., NeurIPS 2020. The method is one for text already: nothing had to be adapted. If the training set comes
with views, the views of a row are positives of it, as augmented examples are in the second paper.
"""

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from ..contrastive_step import ContrastiveBatch, contrastive_term
from ..method_config import check_range
from .base import BaselineTrainer, Batch
from .contrastive_config import ContrastiveConfig


@dataclass
class SclConfig(ContrastiveConfig):
    """Arguments of [`SclTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> SclConfig(output_dir="out").scl_weight
        0.9
    """

    scl_weight: float = field(
        default=0.9,
        metadata={"help": "Share of the contrastive term in the loss, in [0, 1]; the rest is cross-entropy."},
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field is out of range."""
        super().check_fields()
        check_range("scl_weight", self.scl_weight, 0, 1)


class SclTrainer(BaselineTrainer):
    """Fine-tune with cross-entropy and a supervised contrastive term.

    Arguments are those of [`RowTrainer`], with an [`SclConfig`]. Rows are ranked by their average margin. Logged
    besides Trainer's own: `loss_ce` and `loss_contrastive`.

    Example:
        >>> trainer = SclTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: SclConfig
    method_name = "scl"
    config_class = SclConfig
    needs_embeddings = True

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mix of mean cross-entropy and contrastive term."""
        loss_ce = batch.mean(F.cross_entropy(batch.logits, batch.labels, reduction="none"))
        loss_contrastive = contrastive_term(
            self,
            ContrastiveBatch(batch.outputs["embeddings"], batch.labels, None, batch.rows),
            kind="scl",
            temperature=self.args.temperature,
            across=self.args.gather_across_devices,
        )
        self.log_term("loss_ce", loss_ce)
        self.log_term("loss_contrastive", loss_contrastive)
        return (1 - self.args.scl_weight) * loss_ce + self.args.scl_weight * loss_contrastive
