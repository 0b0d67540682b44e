"""FeatureModel: networks that also return what their layer of the logits reads.

Methods that mix examples (mixup) do so just before that layer: it works with every backbone, has no padding to think
of, and costs no second pass through the encoder.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .heads import logit_layers
from .networks import JointModel, embeddings

Look = Callable[[nn.Linear, Tensor], None]


@contextmanager
def looking(network: nn.Module, layers: tuple[nn.Linear, ...], inputs: dict[str, Any], look: Look) -> Iterator[None]:
    """Let a function see what the layer of the logits reads, while the layer runs.

    Args:
        network: the classifier.
        layers: what [`logit_layers`] found in it: where PEFT keeps the original head beside a copy, one of them runs.
        inputs: the batch.
        look: called with the layer that runs and its features `[B, d]`; of a head that reads every token, those of the
            token whose logits count.
    """

    def hook(layer: Any, arguments: tuple[Tensor, ...]) -> None:
        features = arguments[0]
        if features.dim() == 3:  # noqa: PLR2004 -- [B, tokens, d]: the head of a decoder reads every token
            features = embeddings(network, {"hidden_states": (features,)}, inputs)
        look(layer, features)

    hooks = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


class FeatureModel(JointModel):
    """One or two classifiers that also return their features, with gradients.

    Args:
        model: the classifier.
        auxiliary: a second classifier, or None.
        num_labels: number of labels.

    Raises:
        InputError: the layer of the logits cannot be found, or an adapter lies on it.
    """

    def __init__(self, model: nn.Module, auxiliary: nn.Module | None, num_labels: int) -> None:
        super().__init__(model, auxiliary)
        # In tuples they are not registered a second time.
        self._layers = tuple(logit_layers(model, num_labels))
        self._auxiliary_layers = () if auxiliary is None else tuple(logit_layers(auxiliary, num_labels))
        self._ran: dict[str, nn.Linear] = {}

    def forward(self, classifier_only: bool = False, **inputs: Any) -> Any:
        """Run the networks.

        Returns:
            What [`JointModel`] returns, and `features` and, with a second network, `auxiliary_features`, `[B, d]`
            each. The classifier alone returns what it always does.
        """
        if classifier_only:
            return self.model(**inputs)
        features: dict[str, Tensor] = {}

        def keep(name: str) -> Look:
            def look(layer: nn.Linear, seen: Tensor) -> None:
                self._ran[name], features[name] = layer, seen

            return look

        with looking(self.model, self._layers, inputs, keep("features")):
            if self.auxiliary is None:
                return {**super().forward(**inputs), **features}
            with looking(self.auxiliary, self._auxiliary_layers, inputs, keep("auxiliary_features")):
                return {**super().forward(**inputs), **features}

    def logits_of(self, features: Tensor, name: str = "features") -> Tensor:
        """Return the float32 logits `[B, K]` that the layer which ran last makes of features `[B, d]`.

        Args:
            features: such as were returned, or mixtures of them.
            name: "features" for the classifier's layer, "auxiliary_features" for that of the second network.
        """
        layer = self._ran[name]
        return F.linear(features.to(layer.weight.dtype), layer.weight, layer.bias).float()
