r"""Noise adaptation layer (NSE): learn how labels were confused together with the classifier.

    p~(j | x) = sum_i p_i(x) theta_ij            loss = mean  -log p~(y | x)

with p the classifier's probabilities of the true label and theta_ij the probability that label i was given as label j.

    simple:   theta_ij    = softmax_j(b_ij)
    complex:  theta_ij(x) = softmax_j(u_ij . h(x) + b_ij)          h = the classifier's embedding, u = 0 at first

The layer is used in training only: evaluation and the saved model have the classifier alone. During the warm-up the
classifier learns with plain cross-entropy. In the second half of it the labels given where it predicts each label are
counted, C_ij = number of rows with argmax p = i and y = j, and theta starts from there,

    b_ij = log((C_ij + K t_ij) / (sum_j C_ij + K)),      t_ii = 1 - initial_noise,  t_ij = initial_noise / (K - 1)

so that a label which is hardly predicted yet starts from `initial_noise`. The start matters: with the true labels
renamed in both p and theta the loss would be the same.

Source: Goldberger & Ben-Reuven, "Training deep neural-networks using a noise adaptation layer", ICLR 2017, and the
second author's code (udibr/noisy_labels), which trains a whole baseline first and counts its predictions.

Adapted to fine-tuning: the baseline is an epoch of the same run, and counts begin in its middle, because what a new
head predicts says nothing of the labels; the counts are smoothed, so that no entry of theta starts near zero, where it
has next to no gradient (there 1e-8 is added). The layer has its own learning rate, because at that of a
pretrained encoder it would stay where it started. In the complex layer no gradient flows into the embedding, unlike in
the paper: an encoder that learns to say which labels are wrong fits them as surely as one that learns the labels.
B x K x K numbers are computed in each step; the complex layer has K x K x d parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..buffer import check_state
from ..errors import InputError
from ..heads import hidden_size
from ..margins import finite_rows
from ..method_config import MethodConfig, check_choice
from ..networks import OnTop
from ..resumable_trainer import Stateful
from ..row_scores import RowScores
from ..step_rows import StepRows
from .base import BaselineTrainer, Batch


def initial_theta(num_labels: int, noise: float) -> Tensor:
    """Return `[K, K]` probabilities of each given label where a share of labels is wrong, whatever the true one is.

    Example:
        >>> initial_theta(3, 0.2)
        tensor([[0.8000, 0.1000, 0.1000],
                [0.1000, 0.8000, 0.1000],
                [0.1000, 0.1000, 0.8000]])
    """
    return torch.full((num_labels, num_labels), noise / (num_labels - 1)).fill_diagonal_(1 - noise)


class NoiseLayer(OnTop):
    """Turns probabilities of the true label into probabilities of the given label.

    Args:
        num_labels: number of labels.
        initial_noise: probability of a wrong label at the start, spread evenly over the other labels.
        hidden_size: size of the embedding, for the complex layer; None is the simple one.

    Example:
        >>> layer = NoiseLayer(2, initial_noise=0.2)
        >>> layer(torch.tensor([[100.0, 0.0]]))[0].exp()
        tensor([[0.8000, 0.2000]], grad_fn=<ExpBackward0>)
    """

    def __init__(self, num_labels: int, initial_noise: float = 0.2, hidden_size: int | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(initial_theta(num_labels, initial_noise).log())
        self.needs_embeddings = hidden_size is not None
        if hidden_size is not None:
            self.weight = nn.Parameter(torch.zeros(num_labels, num_labels, hidden_size))

    def forward(self, logits: Tensor, embeddings: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the probabilities of the given label.

        Args:
            logits: `[B, K]` scores of the true label. Rows that hold NaN or infinity count as zeros.
            embeddings: `[B, d]`, for the complex layer.

        Returns:
            `[B, K]` float32 log-probabilities of each label being given, and `[B, K]`, without gradient, those of each
            label being given where it is true (`log theta_ii`).
        """
        with torch.autocast(logits.device.type, enabled=False):
            log_true = finite_rows(logits)[0].log_softmax(dim=1)
            scores = self.bias.float()[None]
            if self.needs_embeddings:
                own = finite_rows(cast(Tensor, embeddings).detach())[0]
                scores = scores + torch.einsum("bd,ijd->bij", own, self.weight.float())
            log_theta = scores.log_softmax(dim=2)
            log_given = torch.logsumexp(log_true[:, :, None] + log_theta, dim=1)
        return log_given, log_theta.detach().diagonal(dim1=1, dim2=2).expand_as(log_true)

    def read(self, outputs: dict[str, Tensor], stride: int) -> Tensor:
        """Return the log-probabilities of the given labels; leave those of right ones in `outputs["log_kept"]`."""
        embeddings = outputs["embeddings"][::stride] if self.needs_embeddings else None
        log_given, outputs["log_kept"] = self(outputs["logits"][::stride], embeddings)
        return log_given

    @torch.no_grad()
    def start_from(self, log_theta: Tensor) -> None:
        """Set `b` to `[K, K]` log-probabilities."""
        values = log_theta.to(self.bias.device, self.bias.dtype)
        if hasattr(self.bias, "placements"):  # sharded by FSDP
            from torch.distributed.tensor import distribute_tensor

            values = distribute_tensor(values, self.bias.device_mesh, self.bias.placements)  # type: ignore[attr-defined]
        self.bias.copy_(values)


class Confusion:
    """How often each label was given where the classifier predicted each label.

    Args:
        num_labels: number of labels.
        initial_noise: share of wrong labels where nothing was predicted.
        device: where the state lies.

    Attributes:
        is_used: whether the noise layer has been started from it.

    Example:
        >>> confusion = Confusion(2)
        >>> confusion.add(torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]))
        >>> confusion.log_theta().exp()
        tensor([[0.7200, 0.2800],
                [0.2000, 0.8000]], dtype=torch.float64)
    """

    def __init__(self, num_labels: int, initial_noise: float = 0.2, device: torch.device | str | None = None) -> None:
        self._counts = torch.zeros(num_labels, num_labels, dtype=torch.float64, device=device)
        self._start = initial_theta(num_labels, initial_noise).to(self._counts)
        self.is_used = False

    @torch.no_grad()
    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Take in a step: `[B]` predicted labels, -1 in rows that do not count, and `[B]` given labels."""
        known = torch.arange(len(self._counts), device=self._counts.device)
        is_seen, is_given = (
            (each.to(known.device)[:, None] == known).to(self._counts) for each in (predicted, labels)
        )
        self._counts += is_seen.T @ is_given

    def log_theta(self) -> Tensor:
        """Return the logarithms of the shares `[K, K]` in each row, smoothed by K rows of `initial_noise`."""
        number = len(self._counts)
        return ((self._counts + number * self._start) / (self._counts.sum(dim=1, keepdim=True) + number)).log()

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        return {"counts": self._counts.to("cpu", copy=True), "is_used": torch.tensor(self.is_used)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of labels.
        """
        check_state(state, self.state_dict(), "Confusion")
        self._counts.copy_(state["counts"])
        self.is_used = bool(state["is_used"])


@dataclass
class NoiseLayerConfig(MethodConfig):
    """Arguments of [`NoiseLayerTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> NoiseLayerConfig(output_dir="out").noise_layer
        'simple'
    """

    noise_layer: Literal["simple", "complex"] = field(
        default="simple",
        metadata={"help": "Noise that depends on the label only ('simple') or on the row as well ('complex')."},
    )
    noise_layer_warmup: float = field(
        default=1.0,
        metadata={"help": "Epochs of plain fine-tuning, which tell where the layer starts; 0 for initial_noise."},
    )
    initial_noise: float = field(
        default=0.2,
        metadata={
            "help": "Share of wrong labels that the layer starts from without warm-up, and for labels that are hardly "
            "predicted in it; in (0, 0.5)."
        },
    )
    noise_layer_learning_rate: float = field(
        default=1e-2, metadata={"help": "Learning rate of the layer; scheduled like that of the classifier."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_choice("noise_layer", self.noise_layer, ("simple", "complex"))
        if not 0 <= self.noise_layer_warmup < math.inf:
            raise InputError(f"noise_layer_warmup must be a number of epochs, at least 0: {self.noise_layer_warmup}")
        if not 0 < self.initial_noise < 0.5:  # noqa: PLR2004 -- of two labels
            raise InputError(
                f"initial_noise must be in (0, 0.5), got {self.initial_noise}: without noise nothing is learned, and "
                "with more the wrong labels may be taken for the right ones"
            )
        if not 0 < self.noise_layer_learning_rate < math.inf:
            raise InputError(f"noise_layer_learning_rate must be above 0, got {self.noise_layer_learning_rate}")


class NoiseLayerTrainer(BaselineTrainer):
    """Fine-tune with a noise adaptation layer on the classifier.

    Arguments are those of [`RowTrainer`], with a [`NoiseLayerConfig`]. Rows are ranked by the probability that their
    given label is the true one, `p_y theta_yy / sum_i p_i theta_iy`, averaged over their visits after the warm-up; by
    their margin if training ends in the warm-up.

    Attributes:
        confusion: the [`Confusion`] of the warm-up; None before training.

    Example:
        >>> trainer = NoiseLayerTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> trainer.auxiliary_model.bias.softmax(dim=1)  # theta of the simple layer  # doctest: +SKIP
    """

    args: NoiseLayerConfig
    method_name = "noise-layer"
    config_class = NoiseLayerConfig
    has_own_score = True
    warmup = ("noise_layer_warmup", "the noise layer is never used")
    auxiliary_model: NoiseLayer
    confusion: Confusion = None  # type: ignore[assignment]  # until training

    @property
    def auxiliary_stride(self) -> int:
        """The layer sees every entry of a batch, views as well."""
        return 1

    @property
    def kind_of_second(self) -> str:
        """Which noise layer it is."""
        return self.args.noise_layer

    def make_second_network(self, classifier: nn.Module) -> NoiseLayer:
        """Return a layer that starts from `initial_noise`."""
        size = hidden_size(classifier) if self.args.noise_layer == "complex" else None
        return NoiseLayer(self.num_labels, self.args.initial_noise, size)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create Trainer's optimizer, with the layer in a group of its own: another rate, and no weight decay."""
        optimizer = super().create_optimizer(model)
        parameters = list(self.auxiliary_model.parameters())
        layer = {id(parameter) for parameter in parameters}
        groups = optimizer.param_groups
        if not any({id(parameter) for parameter in group["params"]} == layer for group in groups):
            for group in groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in layer]
            rate = self.args.noise_layer_learning_rate
            optimizer.add_param_group({"params": parameters, "lr": rate, "weight_decay": 0.0})
        return optimizer

    @property
    def _is_warmup(self) -> bool:
        return (self.state.epoch or 0.0) < self.args.noise_layer_warmup

    def training_loss(self, model: nn.Module, inputs: dict[str, Any], rows: StepRows) -> tuple[Tensor, Any]:
        """Return the loss of a training batch; before the first after the warm-up, start the layer from its counts."""
        if self.args.noise_layer_warmup > 0 and not self._is_warmup and not self.confusion.is_used:
            self.auxiliary_model.start_from(self.confusion.log_theta())
            self.confusion.is_used = True
        return super().training_loss(model, inputs, rows)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the layer's probabilities, in the warm-up that of the classifier's."""
        log_given = batch.outputs["auxiliary_logits"]
        if self._is_warmup:
            if (self.state.epoch or 0.0) >= self.args.noise_layer_warmup / 2:
                own = slice(None, None, self.views_per_row)
                predicted = torch.where(batch.finite > 0, batch.logits.argmax(dim=1), -1)[own]
                (everyone,) = self.gather((predicted,), batch.rows)
                self.confusion.add(everyone, batch.step_labels)
            losses = F.cross_entropy(batch.logits, batch.labels, reduction="none")
            # Data parallelism waits for the gradient of every parameter.
            return batch.mean(losses) + 0 * log_given.sum()
        at = batch.labels[:, None]
        losses = -log_given.gather(1, at).squeeze(1)
        log_right = batch.logits.log_softmax(dim=1) + batch.outputs["log_kept"]
        self.record_scores(batch, (log_right.gather(1, at).squeeze(1) + losses).exp())
        return batch.mean(losses)

    def reset_rows(self) -> None:
        """Start the per-row state anew."""
        super().reset_rows()
        self.confusion = Confusion(self.num_labels, self.args.initial_noise, self.state_device)

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        return {**super().stateful_parts(), "confusion": self.confusion}

    def row_scores(self) -> RowScores:
        """Return how likely each given label is the true one; NaN for rows that were only seen in the warm-up."""
        scores = torch.where(self.scores.count > 0, self.scores.average(), torch.nan)
        if bool(scores.isnan().all()):
            scores = self.row_statistics.average_margin()
        return RowScores(scores, torch.ones_like(scores))
