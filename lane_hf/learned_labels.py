r"""Which labels has the classifier learned to give?

A doubt about a label means little while the classifier does not give that label to anything: then all its rows look
wrong, those that are right too, and weighted down they are never learned. So doubts count only as far as a label is
learned: with shares over all rows,

    learned_y = min(1, share of rows that are predicted as y / share of rows whose label y is believed, at least one),
    w_i <- 1 - learned_y (1 - w_i)        for the rows i with the given label y.

Rare labels need it most. Of 10,000 comments with 40% wrong labels, a label with 40 rows has 150 wrong ones; without
this it was given up (measured in docs/explanation/paper-and-defaults.md).

Source: this package.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .buffer import check_state
from .pending_steps import PendingSteps
from .row_ids import PADDING_ID
from .row_statistics import Observation


class LearnedLabels:
    """Counts predictions of each label, by epoch.

    Args:
        num_labels: number K of labels.
        device: where the state lies.

    Example:
        >>> learned = LearnedLabels(num_labels=2)
        >>> learned.predicted().tolist()
        [0.0, 0.0]
    """

    def __init__(self, num_labels: int, device: torch.device | str | None = None) -> None:
        # One slot more than labels, for what does not count: nothing has to be selected, nobody waits for the device.
        self._now = torch.zeros(num_labels + 1, dtype=torch.float64, device=device)
        self._before = torch.zeros_like(self._now)
        self._epoch = 0
        self._pending = PendingSteps()

    def count(self, observation: Observation, epoch: float) -> None:
        """Count the predictions of a step, gathered over all processes.

        Args:
            observation: what the step shows of its rows; padding and rows that are not finite do not count. Its
                tensors are kept until they are counted: do not change them afterwards.
            epoch: how far training is, in epochs.
        """
        if math.floor(epoch) > self._epoch:
            self._settle()
            self._before, self._now = self._now, torch.zeros_like(self._now)
            self._epoch = math.floor(epoch)
        seen = (observation.row_ids, observation.margins, observation.labels, observation.runner_up)
        if self._pending.add(*seen):
            self._settle()

    @torch.no_grad()
    def _settle(self) -> None:
        self._pending.settle(self._take_in)

    def _take_in(self, row_ids: Tensor, margins: Tensor, labels: Tensor, runner_up: Tensor) -> None:
        # As argmax has it: of equal logits the first label is the prediction.
        is_given = (margins > 0) | ((margins == 0) & (labels < runner_up))
        counts = (row_ids != PADDING_ID) & torch.isfinite(margins)
        at = torch.where(counts, torch.where(is_given, labels, runner_up), len(self._now) - 1).to(self._now.device)
        self._now.index_add_(0, at, torch.ones_like(at, dtype=torch.float64))

    def predicted(self) -> Tensor:
        """Return how often each label was predicted in the last whole epoch, or in the first as far as it went.

        Returns:
            `[K]` float64, in main memory.
        """
        self._settle()
        now, before = self._now[:-1].cpu(), self._before[:-1].cpu()
        return now if bool(now.sum() >= before.sum()) else before

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        self._settle()
        counts = {"now": self._now.to("cpu", copy=True), "before": self._before.to("cpu", copy=True)}
        return {**counts, "epoch": torch.tensor(self._epoch)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of labels.
        """
        check_state(state, self.state_dict(), "LearnedLabels")
        self._pending.clear()
        self._now, self._before = (state[name].to(self._now.device, copy=True) for name in ("now", "before"))
        self._epoch = int(state["epoch"])


def learned_shares(predicted: Tensor, weights: Tensor, labels: Tensor, visits: Tensor | None = None) -> Tensor:
    """Return how far each label is learned, as at the top of this file.

    Args:
        predicted: `[K]` how often each label was predicted.
        weights: `[N]` how far the label of each row is believed, in [0, 1].
        labels: `[N]` given labels.
        visits: `[N]` how often each row was visited. A sampler that shows the rows of rare labels more often has more
            of them predicted, too. Where no two differ by more than one, as when each row is visited once an epoch,
            they count alike.

    Returns:
        `[K]` float32 in [0, 1]; 1 for labels that no row has, and if nothing was predicted.

    Example:
        >>> learned_shares(torch.tensor([3.0, 1.0]), torch.ones(4), torch.tensor([0, 0, 1, 1]))
        tensor([1.0000, 0.5000])
    """
    predicted = predicted.double()
    weights = weights.double()
    if visits is not None and len(visits) and visits.max() > visits.min() + 1:
        weights = weights * (visits / visits.double().mean())
    believed = torch.zeros_like(predicted).index_add_(0, labels, weights)
    # At least one row: else a label that is doubted wholly would count as learned, and its rows be lost for ever.
    believed = torch.where(torch.bincount(labels, minlength=len(predicted)) > 0, believed.clamp_min(1.0), believed)
    got, expected = predicted / predicted.sum(), believed / max(len(labels), 1)
    shares = torch.where(expected > 0, got / expected, 1.0)
    return shares.nan_to_num(1.0).clamp(0, 1).float()


def wait_for_labels(weights: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """Return the weights `[N]` with doubts that count only as far as labels are learned.

    Args:
        weights: `[N]` weights in [0, 1].
        labels: `[N]` given labels.
        shares: `[K]` what [`learned_shares`] returned.

    Example:
        >>> wait_for_labels(torch.tensor([0.0, 0.5]), torch.tensor([0, 1]), torch.tensor([1.0, 0.5]))
        tensor([0.0000, 0.7500])
    """
    return 1 - shares[labels] * (1 - weights)
