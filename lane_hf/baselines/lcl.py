r"""Label-aware contrastive loss (LCL): a second network says which labels are easily confused.

    loss = (1 - l) CE(classifier)  +  l LCL  +  (1 - l) CE(auxiliary)
    LCL  = mean_i  -1/|P_i| sum_{j in P_i} w_i[y_i] log( exp(h_i.h_j / t) / sum_{k != i} w_i[y_k] exp(h_i.h_k / t) )

with `h` the normalised embedding that the classifier's head reads, `P_i` the other entries of the batch with the label
of i, and `w_i` the softmax of the auxiliary network's logits for i: entries of labels that it takes for likely are
pushed away harder. The auxiliary network is a copy of the classifier with a fresh head; the contrastive term trains it
as well. Views of a row, if there are any, go through both networks and are positives of it.

Source: Suresh & Ong, "Not All Negatives are Equal: Label-Aware Contrastive Loss for Fine-grained Text Classification",
EMNLP 2021, and its code (varsha33/LCL_loss); `l = 0.5` and `t = 0.3` are its values. As in the code, and unlike in the
paper's Eq. 3, `w_i[y_i]` stands outside the logarithm. The method is one for text already. What differs: the code
clips the gradients of the two networks separately, Trainer clips them together; and an entry without positives adds
nothing, where the code, which gives every row one view, would divide by zero.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional as F

from ..contrastive_step import ContrastiveBatch, contrastive_term
from ..margins import finite_rows
from ..method_config import check_range
from ..networks import make_auxiliary
from ..weighting import weighted_mean
from .base import BaselineTrainer, Batch
from .contrastive_config import ContrastiveConfig


@dataclass
class LclConfig(ContrastiveConfig):
    """Arguments of [`LclTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> LclConfig(output_dir="out").lcl_weight
        0.5
    """

    lcl_weight: float = field(
        default=0.5,
        metadata={"help": "Share l of the contrastive term, in [0, 1]; each network's cross-entropy counts 1 - l."},
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field is out of range."""
        super().check_fields()
        check_range("lcl_weight", self.lcl_weight, 0, 1)


class LclTrainer(BaselineTrainer):
    """Fine-tune with the label-aware contrastive loss, and a second network beside the classifier.

    Arguments are those of [`RowTrainer`], with an [`LclConfig`]. Rows are ranked by their average margin. Logged
    besides Trainer's own: `loss_ce`, `loss_aux` and `loss_contrastive`.

    Example:
        >>> trainer = LclTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: LclConfig
    method_name = "lcl"
    config_class = LclConfig
    needs_embeddings = True

    @property
    def auxiliary_stride(self) -> int:
        """The auxiliary network sees every entry of a batch, views as well."""
        return 1

    def make_second_network(self, classifier: nn.Module) -> nn.Module | None:
        """Return a copy of the classifier with a fresh head."""
        share_frozen = not self.is_fsdp_enabled
        return make_auxiliary(classifier, "full", self.num_labels, self.args.seed + 1, share_frozen=share_frozen)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mix of both networks' mean cross-entropy and the contrastive term."""
        loss_ce = batch.mean(F.cross_entropy(batch.logits, batch.labels, reduction="none"))
        auxiliary_logits, finite = finite_rows(batch.outputs["auxiliary_logits"])
        loss_aux = weighted_mean(F.cross_entropy(auxiliary_logits, batch.labels, reduction="none"), finite)
        loss_contrastive = contrastive_term(
            self,
            ContrastiveBatch(batch.outputs["embeddings"], batch.labels, auxiliary_logits.softmax(dim=1), batch.rows),
            kind="lcl",
            temperature=self.args.temperature,
            across=self.args.gather_across_devices,
        )
        for name, term in (("loss_ce", loss_ce), ("loss_aux", loss_aux), ("loss_contrastive", loss_contrastive)):
            self.log_term(name, term)
        share = self.args.lcl_weight
        return (1 - share) * (loss_ce + loss_aux) + share * loss_contrastive
