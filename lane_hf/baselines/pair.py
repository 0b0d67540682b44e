"""PairTrainer: what the methods with two equal classifiers have in common."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..method_config import MethodConfig
from ..networks import make_auxiliary, run_network
from .base import BaselineTrainer


@dataclass
class PairConfig(MethodConfig):
    """Arguments that all methods with two classifiers have.

    Example:
        >>> PairConfig(output_dir="out").average_logits
        False
    """

    average_logits: bool = field(
        default=False,
        metadata={
            "help": "Evaluate and predict with the average of both networks' logits, as the papers do; costs a second "
            "forward pass. The saved model is the first network alone."
        },
    )


class PairTrainer(BaselineTrainer):
    """Base of the methods in which two classifiers teach each other.

    The second network is a copy of the classifier with a fresh head, so that the two differ from the first step on
    (dropout keeps them apart). Both are in one module, one optimizer and one backward pass; their gradients are
    clipped each for itself, so that neither takes the other's share. `trainer.model` is the first network.

    A method overrides `loss_of(batch)`, in which `batch.logits` are those of the first network and
    `batch.outputs["auxiliary_logits"]` those of the second.

    Example:
        >>> trainer = CoTeachingTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: PairConfig
    auxiliary_model: nn.Module
    config_class: type[PairConfig] = PairConfig

    @property
    def auxiliary_stride(self) -> int:
        """The second network sees every entry of a batch."""
        return 1

    def make_second_network(self, classifier: nn.Module) -> nn.Module | None:
        """Return a copy of the classifier with a fresh head."""
        share_frozen = not self.is_fsdp_enabled
        return make_auxiliary(classifier, "full", self.num_labels, self.args.seed + 1, share_frozen=share_frozen)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """Clip the gradients of each network for itself; returns the norm of both together."""
        if self.is_fsdp_enabled:  # sharded, the networks are known to the engine as one
            return super()._clip_grad_norm(model)
        networks = (self.model, self.auxiliary_model)
        # Accelerate's own function does this each time it is called, and gradients can be unscaled once a step.
        self.accelerator.unscale_gradients()
        norms = [nn.utils.clip_grad_norm_(net.parameters(), self.args.max_grad_norm) for net in networks]
        return torch.stack([torch.as_tensor(norm) for norm in norms]).norm()

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Evaluate the first network, or both."""
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        if not self.args.average_logits or self.auxiliary_model is None or not isinstance(logits, Tensor):
            return loss, logits, labels
        other = self.auxiliary_model
        was_training = other.training
        other.eval()
        batch = {
            name: value for name, value in self._prepare_inputs(inputs).items() if name not in self.label_columns()
        }
        with torch.no_grad(), self.accelerator.autocast():
            theirs = run_network(other, batch)["logits"]
        other.train(was_training)
        logits = (logits + theirs.float()) / 2
        if loss is not None:  # that of what is predicted, not of the first network
            loss = F.cross_entropy(logits, labels)
        return loss, logits, labels
