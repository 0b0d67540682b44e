r"""WeightAverage: the average of a network's weights over the later part of its training.

After each update n = 1, 2, ... the average a of the weights w moves by

    a <- a + rate (w - a),    rate = max(1 / n, every / span)

so it is a plain mean at first, and later one that forgets exponentially: a step that lies `span` steps back counts 1/e
times as much as the last one.

Sources: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992;
Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017; on noisy labels: Liu et al., "Early-Learning
Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020 (ELR+).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .errors import InputError

_UPDATES_IN_A_SPAN = 64  # each costs a pass over all weights


class WeightAverage:
    """The running average of the trainable weights of a network, and of its floating-point buffers.

    It can be put into the network and taken out again; meanwhile the weights that are trained are kept. Averages are
    float32 (float64 for such weights), whatever the network's type.

    Args:
        network: the network; it is not changed until the average is put into it.
        span: how many optimizer steps back a step counts 1/e times as much as the last one.
        before: called before weights are read or written, by engines that hold them elsewhere meanwhile.

    Example:
        >>> layer = torch.nn.Linear(1, 1, bias=False)
        >>> average = WeightAverage(layer, span=10)
        >>> for value in (1.0, 2.0, 3.0):
        ...     _ = layer.weight.data.fill_(value)
        ...     average.update()
        >>> with average.shown():
        ...     print(layer.weight.item())
        2.0
        >>> layer.weight.item()
        3.0
    """

    def __init__(self, network: nn.Module, span: float, before: Callable[[], None] | None = None) -> None:
        self._network, self._before = network, before
        self.every = max(1, int(span / _UPDATES_IN_A_SPAN))
        """An update is due once in so many optimizer steps."""
        self._least_rate = min(1.0, self.every / max(span, 1.0))
        self._count = 0
        self._average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] | None = None  # while the average is in the network
        # Buffers that are not saved are constants, or scratch whose shape may change.
        self._saved = set(network.state_dict())

    @property
    def has_begun(self) -> bool:
        """Whether there is an average of anything yet."""
        return self._count > 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; costs O(weights), without waiting for the device."""
        self._count += 1
        weights = self._weights()
        if not self._average:
            self._average = {name: _at_least_float32(weight).clone() for name, weight in weights.items()}
            return
        rate = max(1 / self._count, self._least_rate)
        for name, weight in weights.items():
            average = self._average[name]
            average.lerp_(weight.to(average.dtype), rate)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the average into the network, and afterwards the weights that are trained back, bit for bit.

        Inside of itself, and before the first update, it changes nothing.
        """
        if self._trained is not None or not self.has_begun:
            yield
            return
        self._trained = {name: weight.clone() for name, weight in self._weights().items()}
        try:
            self.settle()
            yield
        finally:
            _copy_into(self._weights(), self._trained)
            self._trained = None

    def settle(self) -> None:
        """Put the average into the network for good; without an update nothing is changed."""
        if self.has_begun:
            _copy_into(self._weights(), self._average)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights that are trained; to be called while the average is shown, and saved with the network.

        Averages of float32 weights are the network's weights then. Those of narrower ones lose digits there, and are
        returned as well. Sharded tensors are put together, so all processes must call it.
        """
        state = {"count": torch.tensor(self._count)}
        trained = self._trained or {}
        state |= {f"trained/{name}": _whole(tensor) for name, tensor in trained.items()}
        narrow = [name for name, tensor in trained.items() if tensor.dtype != self._average[name].dtype]
        return state | {f"average/{name}": _whole(self._average[name]) for name in narrow}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from such a state, when the network holds the average that was saved with it.

        Raises:
            InputError: the state is that of other weights.
        """
        count = int(state["count"])
        weights = self._weights()
        prefix = "trained/"
        trained = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if count and trained.keys() != weights.keys():
            raise InputError("the weights that are averaged are not those of the network: train the same ones")
        self._count, self._average = count, {}
        if count:
            self._average = {name: _at_least_float32(weight).clone() for name, weight in weights.items()}
            for name, average in self._average.items():
                if f"average/{name}" in state:
                    _copy_into({name: average}, {name: _like(average, state[f"average/{name}"])})
            _copy_into(weights, {name: _like(weight, trained[name]) for name, weight in weights.items()})

    def _weights(self) -> dict[str, Tensor]:
        """Return what is averaged, as it is in the network: engines may put other tensors into its place."""
        if self._before is not None:
            self._before()
        parameters = {name: each.detach() for name, each in self._network.named_parameters() if each.requires_grad}
        buffers = {name: each for name, each in self._network.named_buffers() if name in self._saved}
        return parameters | {name: each for name, each in buffers.items() if each.is_floating_point()}


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@torch.no_grad()
def _copy_into(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(sources[name])


def _whole(tensor: Any) -> Tensor:
    """Return a tensor, put together from its shards if it is sharded."""
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _like(tensor: Any, whole: Tensor) -> Tensor:
    """Return a whole tensor as the other one is: on its device, and sharded if that is."""
    whole = whole.to(tensor.device)
    if not hasattr(tensor, "full_tensor"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, tensor.device_mesh, tensor.placements)
