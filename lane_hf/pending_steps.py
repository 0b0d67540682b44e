"""PendingSteps: what steps bring for rows, kept until many steps can be taken in at once.

Taking in a batch is some eighty operations on vectors as long as the batch, whose time is that of calling them. For
sixty-four batches it is the same eighty.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .row_ids import has_repeats

_MOST_STEPS = 64
_MOST_ENTRIES = 2**14  # so that what is taken in at once stays small beside the state of the rows


class PendingSteps:
    """Collects columns of values, the first of which are row ids, and hands them over together.

    What is taken in is the same as step by step, to the last bit, if that holds for steps that have no row in common:
    steps that do are handed over one by one. The tensors are kept as they are: nobody may change them afterwards.

    Example:
        >>> pending = PendingSteps()
        >>> pending.add(torch.tensor([0, 2]), torch.tensor([0.5, 1.5]))
        False
        >>> pending.add(torch.tensor([1]), torch.tensor([2.5]))
        False
        >>> pending.settle(lambda ids, values: print(ids.tolist(), values.tolist()))
        [0, 2, 1] [0.5, 1.5, 2.5]
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, ...]] = []
        self._entries = 0

    def add(self, *columns: Tensor) -> bool:
        """Keep a step.

        Args:
            *columns: `[B]` each; the row ids first.

        Returns:
            Whether so much is kept by now that it must be settled.
        """
        self._steps.append(columns)
        self._entries += len(columns[0])
        return len(self._steps) >= _MOST_STEPS or self._entries >= _MOST_ENTRIES

    def settle(self, take_in: Callable[..., None]) -> None:
        """Hand over all steps that are kept, together if no row comes twice, and keep none.

        Args:
            take_in: is called with the columns. Whether a row comes twice is asked of the device, which makes the host
                wait for it once for all steps that are kept.
        """
        steps = self._steps
        self.clear()
        if len(steps) > 1:
            together = [torch.cat(columns) for columns in zip(*steps, strict=True)]
            if not has_repeats(together[0]):
                take_in(*together)
                return
        for columns in steps:
            take_in(*columns)

    def clear(self) -> None:
        """Forget what is kept."""
        self._steps, self._entries = [], 0
