"""TermMeans: numbers of each step, averaged for the log."""

from typing import Any

import torch
from torch import Tensor


class TermMeans:
    """Sums of the terms of a loss since the last log; adding never makes the host wait for the device.

    Example:
        >>> means = TermMeans()
        >>> means.count_step()
        >>> means.add("loss_ce", torch.tensor(0.5))
        >>> list(means)
        ['loss_ce']
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def __iter__(self) -> Any:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    def count_step(self) -> None:
        """Note that another training step begins."""
        self._steps += 1

    def add(self, name: str, value: Tensor) -> None:
        """Add a number of this step."""
        value = value.detach().float()
        self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def take(self, accelerator: Any) -> dict[str, float]:
        """Return the means over steps and processes, by name, and start anew."""
        means = torch.stack(list(self._sums.values())) / max(self._steps, 1)
        means = accelerator.reduce(means, "mean").tolist()
        named = {name: round(mean, 6) for name, mean in zip(self._sums, means, strict=True)}
        self._sums, self._steps = {}, 0
        return named
