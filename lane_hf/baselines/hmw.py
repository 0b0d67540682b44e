r"""Hyperspherical margin weighting (HMW): weigh rows by the angles between their feature and the labels' directions.

    d_k = (1 - cos(f, W_k)) / 2          f = what the layer of the logits reads, W_k = its weights for label k
    d_1 = the smallest d_k of the labels k != y;   d_K = mean of the next max(int((K - 2) rho), 1) after it
    w^(r) = 1/2 [ sigmoid(a (d_1 - d_y)) + exp(b (d_1 - d_K)) ]                     the slice of epoch r
    w = sum_r exp(s_r) w^(r) / sum_r exp(s_r),    s_r = 1 + cos(pi r / T)           over the visits so far
    loss = mean_i w_i CE_i                                                          plain CE during the warm-up

The first term of a slice falls where another label is nearer than the given one. The second is near 1 where two other
labels are about equally near, as for rows that are hard to learn but right. Early epochs count up to e^2 times as much
as late ones, in which wrong labels are memorised. Each row's weight in a step includes the slice of that step; the
loss is divided by the number of rows, not by the sum of the weights; no gradient flows through the weights.

Source: Zhang et al., "Learning with Noisy Labels Using Hyperspherical Margin Weighting", AAAI 2024, and its code
(Zhangshuojackpot/HMW); a = b = 100, rho = 0.01 and T = number of epochs are its values.

Adapted to text: the warm-up is a tenth of training, there 10 to 30 of 250 epochs, and goes on until an epoch ends, so
that no row is weighed when it is first seen. A head may have a bias, which the cosine ignores. Of a head that reads
every token the one counts whose logits are taken. With two labels there is no third for the second term, and the
slice is the first alone. Views of a row share the weight that the row itself has. The authors' code takes the
cross-entropy in training of logits of length 1 (`normalize_logits=True`), which bounds the probability of a label,
for instance by 0.09 with 30 labels. How that goes with a fine-tuning of a few epochs, which starts from a new head,
is not known from the paper: the default leaves the logits as they are.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..feature_model import looking
from ..heads import logit_layers
from ..margins import at_least_float32
from ..method_config import MethodConfig, check_range
from ..networks import JointModel
from ..resumable_trainer import Stateful
from ..row_scores import RowScores
from ..row_table import RowTable
from .base import BaselineTrainer, Batch


def unit_rows(values: Tensor) -> Tensor:
    """Scale the rows of a matrix to length 1; rows of zeros stay zeros.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    norms = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return values / torch.where(norms > 0, norms, 1.0)


@torch.no_grad()
def hyperspherical_distances(features: Tensor, directions: Tensor) -> Tensor:
    """Compute `(1 - cos) / 2` between features and the labels' directions.

    Args:
        features: `[B, d]`.
        directions: `[K, d]`.

    Returns:
        `[B, K]` in [0, 1], float32 unless they are float64; 0.5 for a feature of zeros. No gradient flows through it.

    Example:
        >>> hyperspherical_distances(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
        tensor([[0.0000, 0.5000, 1.0000]])
    """
    with torch.autocast(features.device.type, enabled=False):
        units = unit_rows(at_least_float32(features))
        cosine = units @ unit_rows(at_least_float32(directions)).to(units.dtype).T
    return ((1 - cosine) / 2).clamp(0, 1)


@torch.no_grad()
def margin_slice(distances: Tensor, labels: Tensor, a: float = 100.0, b: float = 100.0, rho: float = 0.01) -> Tensor:
    """Compute what one visit says of how right the given labels are.

    Args:
        distances: `[B, K]` distances to the labels' directions.
        labels: `[B]` given labels.
        a: sharpness of the comparison with the given label.
        b: sharpness of the comparison among the other labels.
        rho: share of the labels that the nearest other one is compared with.

    Returns:
        `[B]` in [0, 1]. No gradient flows through it.

    Example:
        >>> margin_slice(torch.tensor([[0.50, 0.51, 0.51], [0.51, 0.50, 0.52]]), torch.tensor([0, 0]))
        tensor([0.8655, 0.2021])
    """
    num_labels = distances.shape[1]
    given = distances.gather(1, labels[:, None]).squeeze(1)
    others = distances.scatter(1, labels[:, None], torch.inf)
    compared = min(max(int((num_labels - 2) * rho), 1), num_labels - 2)
    nearest = others.topk(1 + compared, dim=1, largest=False).values
    first = nearest[:, 0]
    against_given = torch.sigmoid(a * (first - given))
    if compared == 0:
        return against_given
    # Rounding of the mean must not make the exponent positive.
    gap = (nearest[:, 1:].mean(dim=1) - first).clamp_min(0)
    return (against_given + torch.exp(-b * gap)) / 2


def annealing_factor(epoch: int, epochs: int) -> float:
    """Return `exp(1 + cos(pi r / T))`, the weight of the slices of epoch r, counted from 0, of T.

    Example:
        >>> [round(annealing_factor(epoch, 4), 2) for epoch in range(4)]
        [7.39, 5.51, 2.72, 1.34]
    """
    return math.exp(1 + math.cos(math.pi * epoch / epochs))


class AnnealedWeights(RowTable):
    """The weighted average of the slices of each row: two float32 numbers a row.

    Args:
        num_rows: number of rows of the training set.
        device: where the state lies.

    Example:
        >>> weights = AnnealedWeights(num_rows=2)
        >>> weights.update(torch.tensor([0]), torch.tensor([0.5]), factor=3.0)
        >>> weights.update(torch.tensor([0]), torch.tensor([0.1]), factor=1.0)
        >>> weights.weights(torch.tensor([0, 1]))
        tensor([0.4000, 1.0000])
    """

    def __init__(self, num_rows: int, device: torch.device | str | None = None) -> None:
        super().__init__(num_rows, (2,), device=device)  # weighted sum, and sum of the weights

    @torch.no_grad()
    def update(self, row_ids: Tensor, slices: Tensor, factor: float) -> None:
        """Take in the slices of a batch.

        Args:
            row_ids: `[B]` row ids; -1 is padding. Of a row that comes twice only the first entry counts.
            slices: `[B]`; NaN is left out.
            factor: weight of these slices, above 0.
        """
        at = self.slots(row_ids, torch.isfinite(slices))
        weighted = torch.stack([factor * slices, torch.full_like(slices, factor)], dim=1)
        self.values[at] += weighted.to(self.values)

    def weights(self, row_ids: Tensor | None = None) -> Tensor:
        """Return the weights of rows, or of all: `[B]` in [0, 1]; 1 for rows never seen and for padding."""
        total, mass = (self.rows if row_ids is None else self.of(row_ids)).unbind(dim=1)
        return torch.where(mass > 0, total / torch.where(mass > 0, mass, 1.0), 1.0).clamp_max(1)


class HypersphereModel(JointModel):
    """A classifier that also returns how far its features lie from the labels' directions.

    The distances are taken while the layer of the logits runs: elsewhere a sharded engine has only parts of its
    weights.

    Args:
        model: the classifier.
        num_labels: number of labels.

    Raises:
        InputError: the layer of the logits cannot be found, or an adapter lies on it.
    """

    def __init__(self, model: nn.Module, num_labels: int) -> None:
        super().__init__(model, None)
        # In a tuple they are not registered a second time. Where PEFT keeps the original head beside a copy, only one
        # of the two runs.
        self._layers = tuple(logit_layers(model, num_labels))

    def forward(self, classifier_only: bool = False, **inputs: Any) -> Any:
        """Run the classifier; unless it is wanted alone, the result has `distances` `[B, K]` too."""
        if classifier_only:
            return self.model(**inputs)
        distances: list[Tensor] = []

        def look(layer: nn.Linear, features: Tensor) -> None:
            distances.append(hyperspherical_distances(features.detach(), layer.weight.detach()))

        with looking(self.model, self._layers, inputs, look):
            result = super().forward(**inputs)
        return {**result, "distances": distances[-1]}


@dataclass
class HmwConfig(MethodConfig):
    """Arguments of [`HmwTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> HmwConfig(output_dir="out").hmw_a
        100.0
    """

    hmw_a: float = field(default=100.0, metadata={"help": "Sharpness of the comparison with the given label."})
    hmw_b: float = field(default=100.0, metadata={"help": "Sharpness of the comparison among the other labels."})
    hmw_rho: float = field(
        default=0.01,
        metadata={"help": "Share of the labels that the nearest other one is compared with; at least one."},
    )
    hmw_warmup: float = field(
        default=0.1,
        metadata={
            "help": "Share of training with plain cross-entropy, in [0, 1), prolonged to the end of an epoch; slices "
            "are recorded."
        },
    )
    normalize_logits: bool = field(
        default=False,
        metadata={"help": "Scale the logits of each row to length 1 in the training loss (the authors' code)."},
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        for name in ("hmw_a", "hmw_b"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InputError(f"{name} must be a finite number above 0, got {value}")
        check_range("hmw_rho", self.hmw_rho, 0, 1)
        if not 0 <= self.hmw_warmup < 1:
            raise InputError(f"hmw_warmup must be in [0, 1), got {self.hmw_warmup}: with 1 no weight is ever used")


class HmwTrainer(BaselineTrainer):
    """Fine-tune with hyperspherical margin weights.

    Arguments are those of [`RowTrainer`], with an [`HmwConfig`]. Rows are ranked by their weight. Logged besides
    Trainer's own: `hmw/mean_weight` of the batches, also during the warm-up, in which the loss does not use them.

    Attributes:
        annealed_weights: the [`AnnealedWeights`]; None before training.

    Example:
        >>> trainer = HmwTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: HmwConfig
    method_name = "hmw"
    config_class = HmwConfig
    annealed_weights: AnnealedWeights = None  # type: ignore[assignment]  # until training

    def joint_of(self, classifier: nn.Module) -> JointModel:
        """Return the module that runs the classifier and looks at what its last layer reads."""
        return HypersphereModel(classifier, self.num_labels)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean weighted cross-entropy; the slices of the batch are taken into the weights before."""
        args, views = self.args, self.views_per_row
        own = slice(None, None, views)
        ids = batch.rows.ids[own]
        distances = batch.outputs["distances"][own]
        slices = margin_slice(distances, batch.labels[own], args.hmw_a, args.hmw_b, args.hmw_rho)
        slices = torch.where(batch.finite[own] > 0, slices, torch.nan)
        epoch = math.floor((self.state.epoch or 0) + 1e-6)
        factor = annealing_factor(epoch, max(self.state.num_train_epochs, 1))
        all_ids, all_slices = self.gather((ids, slices), batch.rows)
        self.annealed_weights.update(all_ids, all_slices, factor)
        weights = self.annealed_weights.weights(ids).to(batch.logits.device)
        self.log_term("hmw/mean_weight", weights.mean())
        logits = unit_rows(batch.logits) if args.normalize_logits else batch.logits
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        return batch.mean(losses if self.is_within(args.hmw_warmup) else losses * weights.repeat_interleave(views))

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.annealed_weights = AnnealedWeights(len(self.train_dataset), self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "annealed_weights": self.annealed_weights}

    def row_scores(self) -> RowScores:
        """Return the weights of the rows, by which they are ranked too; 1 for rows never seen."""
        weights = self.annealed_weights.weights()
        return RowScores(weights, weights)
