"""RowWeights: from averaged margins to the weights of the cross-entropy, as the configuration says."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .buffer import PADDING_ID, AlmBuffer, check_state, first_occurrences
from .mixture import Mixture, fit_mixture, label_probability
from .row_statistics import RowStatistics
from .weighting import NegativeStats, gaussian_weights, negative_stats

if TYPE_CHECKING:
    from .config import LaneConfig


class RowWeights:
    """Weights of rows during and after training.

    Args:
        config: which weighting, and its warm-up.
        num_labels: number of labels.
        num_rows: number of rows of the training set.

    Example:
        >>> weights = RowWeights(config, num_labels=4, num_rows=100)  # doctest: +SKIP
        >>> weights.of_batch(buffer, row_ids, labels, row_ids, epoch=2.0)  # doctest: +SKIP
    """

    def __init__(self, config: "LaneConfig", num_labels: int, num_rows: int) -> None:
        self._config = config
        self._num_labels = num_labels
        self._mixture: Mixture | None = None
        self._mixture_epoch = -1
        # The weights of all rows as they were at the start of the epoch, if they come from the posterior.
        self._posterior = torch.ones(num_rows if config.weighting == "posterior" else 0)

    def of_batch(
        self,
        buffer: AlmBuffer,
        row_ids: Tensor,
        labels: Tensor,
        all_row_ids: Tensor,
        epoch: float,
    ) -> Tensor:
        """Return the weights of a batch whose margins the buffer has already taken in.

        Args:
            buffer: the averaged margins.
            row_ids: `[B]` rows of this process.
            labels: `[B]` their given labels.
            all_row_ids: rows of all processes in this step, for statistics over the batch.
            epoch: how far training is, in epochs.

        Returns:
            `[B]` float32 in [0, 1]; all 1 during the warm-up, without reweighting, and before the first mixture.
        """
        if not self._config.reweight or epoch < self._config.weighting_warmup:
            return torch.ones(len(row_ids), device=row_ids.device)
        if self._config.weighting == "posterior":
            self._posterior = self._posterior.to(row_ids.device)
            return self._posterior[row_ids]
        averages = buffer.average(row_ids).to(row_ids.device)
        if self._config.weighting == "mixture":
            if self._mixture is None:  # no row has had a finite margin yet
                return torch.ones_like(averages)
            return self._of_mixture(averages, labels, _moved(self._mixture, row_ids.device))
        if self._config.statistics == "batch":
            counted = (all_row_ids != PADDING_ID) & first_occurrences(all_row_ids)
            stats = negative_stats(buffer.average(all_row_ids.clamp_min(0)), counted.to(buffer.device))
        else:
            stats = buffer.negative_stats()
        return self._gaussian(averages, stats)

    def of_all(self, buffer: AlmBuffer, statistics: RowStatistics) -> Tensor:
        """Return the weights `[num_rows]` that the averages as they stand now give; 1 for rows never seen.

        Args:
            buffer: the averaged margins.
            statistics: what else is known of the rows.
        """
        averages, seen = buffer.average(), buffer.count > 0
        if not self._config.reweight or not bool(seen.any()):
            return torch.ones_like(averages)
        if self._config.weighting == "posterior":
            return self._of_posterior(averages, statistics)
        if self._config.weighting == "mixture":
            labels = statistics.labels.to(averages.device)
            mixture = _fit(averages, seen, labels, self._num_labels)
            weights = self._of_mixture(averages, labels.clamp_min(0), mixture)
        else:
            weights = self._gaussian(averages, buffer.negative_stats())
        return torch.where(seen, weights, 1.0)

    def refit_is_due(self, epoch: float) -> bool:
        """Return whether [`refit_if_due`] would fit anew, so that a step need not collect all labels for nothing."""
        fits = self._config.reweight and self._config.weighting != "gaussian"
        return fits and math.floor(epoch) > self._mixture_epoch and epoch >= self._config.weighting_warmup

    def refit_if_due(self, buffer: AlmBuffer, statistics: RowStatistics, epoch: float) -> None:
        """Fit the mixture anew at the start of each epoch after the warm-up; costs O(data set), once per epoch.

        Args:
            buffer: the averaged margins.
            statistics: what else is known of the rows.
            epoch: how far training is, in epochs.
        """
        if self.refit_is_due(epoch):
            # In main memory, where sums have one order: every process must get the same mixture to the last bit.
            averages, seen = buffer.average().cpu(), (buffer.count > 0).cpu()
            if bool(seen.any()):
                if self._config.weighting == "posterior":
                    self._posterior = self._of_posterior(averages, statistics)
                else:
                    self._mixture = _fit(averages, seen, statistics.labels.cpu(), self._num_labels)
                self._mixture_epoch = math.floor(epoch)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        shape = (self._num_labels + 1, 2)
        mixture = self._mixture or Mixture(*(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))
        copies = {name: parameter.clone() for name, parameter in mixture._asdict().items()}
        posterior = self._posterior.to("cpu", copy=True)
        return {**copies, "epoch": torch.tensor(self._mixture_epoch), "posterior": posterior}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of labels.
        """
        check_state(state, self.state_dict(), "RowWeights")
        self._mixture_epoch = int(state["epoch"])
        mixture = Mixture(*(state[name].clone() for name in Mixture._fields))
        by_posterior = self._config.weighting == "posterior"
        self._mixture = mixture if self._mixture_epoch >= 0 and not by_posterior else None
        self._posterior = state["posterior"].clone()

    def _of_mixture(self, averages: Tensor, labels: Tensor, mixture: Mixture) -> Tensor:
        weights = label_probability(averages, mixture, labels)
        if not self._config.wait_for_labels:
            return weights
        is_learned = mixture.means[:, 1] > 0
        return torch.where(is_learned[labels], weights, 1.0)

    def _of_posterior(self, averages: Tensor, statistics: RowStatistics) -> Tensor:
        """Return the probability `[num_rows]` that each row's label is right; 1 for rows never seen."""
        return 1 - statistics.estimate_noise(self._num_labels, averages).probability

    def _gaussian(self, averages: Tensor, stats: NegativeStats) -> Tensor:
        if self._config.threshold is not None:
            return gaussian_weights(averages, self._config.threshold, 1.0)
        weights = gaussian_weights(averages, stats.mean.to(averages.device), stats.variance.to(averages.device))
        # A single negative row has no spread to be judged by.
        return torch.where(stats.count.to(averages.device) > 1, weights, 1.0)


def _moved(mixture: Mixture, device: torch.device) -> Mixture:
    return Mixture(*(parameter.to(device) for parameter in mixture))


def _fit(averages: Tensor, seen: Tensor, labels: Tensor, num_labels: int) -> Mixture:
    return fit_mixture(averages[seen], labels[seen], num_labels)
