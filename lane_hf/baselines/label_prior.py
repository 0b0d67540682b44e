"""LabelPrior: how often each label is given."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..buffer import check_state


class LabelPrior:
    """Share of each given label among those seen so far.

    Args:
        num_labels: number of labels.
        device: where the state lies.

    Example:
        >>> prior = LabelPrior(2)
        >>> prior.update(torch.tensor([0, 1, 1, 1]))
        >>> prior.shares()
        tensor([0.2500, 0.7500])
    """

    def __init__(self, num_labels: int, device: torch.device | str | None = None) -> None:
        self._counts = torch.zeros(num_labels, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, labels: Tensor) -> None:
        """Take in the labels `[B]` of a step."""
        at = labels.to(self._counts.device, torch.int64)
        self._counts.index_add_(0, at, torch.ones_like(at, dtype=torch.float64))

    def shares(self) -> Tensor:
        """Return the shares: `[K]` float32; zeros before the first label."""
        return (self._counts / self._counts.sum().clamp_min(1)).float()

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        return {"counts": self._counts.to("cpu", copy=True)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of labels.
        """
        check_state(state, {"counts": self._counts}, "LabelPrior")
        self._counts.copy_(state["counts"])
