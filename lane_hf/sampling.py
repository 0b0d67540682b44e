"""The order in which an epoch visits the rows: a function of the seed and the epoch, and of nothing else.

A sampler that draws from the global random state, as Transformers' length grouping does, gives processes different
orders once anything else has drawn a different number of random numbers in them: rows are then visited twice or not at
all. And a run that is resumed in the middle of an epoch would go on in another order than it began.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler, Sampler
from transformers import TrainerCallback


class EpochSampler(Sampler[int]):
    """A sampler that draws from a generator of its own, seeded anew for each epoch.

    Args:
        sampler: a sampler with an attribute `generator`.
        seed: seed of epoch 0.

    Example:
        >>> sampler = EpochSampler(RandomSampler(range(100)), seed=1)
        >>> first = list(sampler)
        >>> list(sampler) == first
        True
        >>> sampler.set_epoch(1)
        >>> list(sampler) == first
        False
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(self.sampler)


def by_epoch(sampler: Any, seed: int) -> Any:
    """Return the sampler, as an [`EpochSampler`] if it would draw from the global random state.

    `RandomSampler` stays as it is: Accelerate seeds it by epoch.
    """
    is_global = hasattr(sampler, "generator") and sampler.generator is None
    return EpochSampler(sampler, seed) if is_global and not isinstance(sampler, RandomSampler) else sampler


def innermost_sampler(loader: DataLoader[Any]) -> Any:
    """Return the sampler under the batch samplers that Accelerate wraps around each other.

    Accelerate tells it the epoch only where it finds it: not if the first batches are skipped on several processes.
    """
    sampler: Any = loader.batch_sampler
    while hasattr(sampler, "batch_sampler"):
        sampler = sampler.batch_sampler
    return getattr(sampler, "sampler", None)


class EpochCallback(TrainerCallback):
    """Passes the number of each epoch on when it begins.

    Args:
        set_epoch: called with the number of the epoch, from 0.
    """

    def __init__(self, set_epoch: Callable[[int], None]) -> None:
        self._set_epoch = set_epoch
        self._next: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count anew."""
        self._next = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell which epoch begins; a resumed run begins in the middle of one."""
        # Counted, since one that a callback has ended early leaves `state.epoch` where it is.
        epoch = math.floor((state.epoch or 0) + 1e-6) if self._next is None else self._next
        self._next = epoch + 1
        self._set_epoch(epoch)
