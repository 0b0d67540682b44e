"""TermMeans: numbers of each step, averaged for the log."""

from typing import Any

import torch
from torch import Tensor

_AT_ONCE = 64  # numbers summed by one operation, in place of one for each


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
        self._values: dict[str, list[Tensor]] = {}
        self._steps = 0

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def count_step(self) -> None:
        """Note that another training step begins."""
        self._steps += 1

    def add(self, name: str, value: Tensor) -> None:
        """Add a number of this step: a tensor without dimensions, or `[D]`, one for each device of DataParallel."""
        values = self._values.setdefault(name, [])
        values.append(value.detach().float() if value.dim() == 0 else value.detach().float().mean())
        if len(values) >= _AT_ONCE:
            self._values[name] = [_sum(values)]

    def take(self, accelerator: Any) -> dict[str, float]:
        """Return the means over steps and processes, by name, and start anew."""
        means = torch.stack([_sum(values) for values in self._values.values()]) / max(self._steps, 1)
        means = accelerator.reduce(means, "mean").tolist()
        named = {name: round(mean, 6) for name, mean in zip(self._values, means, strict=True)}
        self._values, self._steps = {}, 0
        return named


def _sum(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum()
