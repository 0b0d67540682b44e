"""RowWeights: from averaged margins to the weights of the cross-entropy, as the configuration says."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .buffer import AlmBuffer, check_state
from .learned_labels import LearnedLabels, learned_shares, wait_for_labels
from .mixture import Mixture, fit_mixture, label_probability
from .row_ids import PADDING_ID, first_occurrences
from .row_statistics import Observation, RowStatistics
from .weighting import NegativeStats, gaussian_weights, negative_stats

if TYPE_CHECKING:
    from .config import LaneConfig


class RowWeights:
    """Weights of rows during and after training.

    Args:
        config: which weighting, and its warm-up.
        num_labels: number of labels.
        num_rows: number of rows of the training set.
        device: where predictions are counted; that of the averaged margins.

    Example:
        >>> weights = RowWeights(config, num_labels=4, num_rows=100)  # doctest: +SKIP
        >>> weights.of_batch(buffer, row_ids, labels, row_ids, epoch=2.0)  # doctest: +SKIP
    """

    def __init__(
        self, config: "LaneConfig", num_labels: int, num_rows: int, device: torch.device | str | None = None
    ) -> None:
        self._config = config
        self._num_labels = num_labels
        self._mixture: Mixture | None = None
        self._mixture_epoch = -1
        self._learned = LearnedLabels(num_labels, device)
        self._shares = torch.ones(num_labels)  # how far each label was learned at the last fit
        # The weights of all rows as they were at the start of the epoch, if they come from the posterior.
        self._posterior = torch.ones(num_rows if config.weighting == "posterior" else 0)

    def observe(self, observation: Observation, epoch: float) -> None:
        """Take in what a step shows of its rows, gathered over all processes, before the weights of its batch.

        Args:
            observation: what the step shows.
            epoch: how far training is, in epochs.
        """
        if self._config.reweight and self._config.wait_for_labels:
            self._learned.count(observation, epoch)

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
        # Where the averages are, as the batch may lie on a device without float64.
        averages = buffer.average(row_ids)
        if self._config.weighting == "mixture":
            if self._mixture is None:  # no row has had a finite margin yet
                return torch.ones_like(averages).to(row_ids.device)
            labels = labels.to(buffer.device)
            weights = label_probability(averages, _moved(self._mixture, buffer.device), labels)
            return self._waiting(weights, labels, self._shares.to(buffer.device)).to(row_ids.device)
        if self._config.statistics == "batch":
            counted = (all_row_ids != PADDING_ID) & first_occurrences(all_row_ids)
            stats = negative_stats(buffer.average(all_row_ids.clamp_min(0)), counted.to(buffer.device))
        else:
            stats = buffer.negative_stats()
        return self._gaussian(averages, stats).to(row_ids.device)

    def of_all(self, buffer: AlmBuffer, statistics: RowStatistics) -> Tensor:
        """Return the weights `[num_rows]` that the averages as they stand now give; 1 for rows never seen.

        Args:
            buffer: the averaged margins.
            statistics: what else is known of the rows.
        """
        averages, seen = buffer.average(), buffer.count > 0
        if not self._config.reweight or not bool(seen.any()):
            return torch.ones_like(averages)
        if self._config.weighting == "gaussian":
            return torch.where(seen, self._gaussian(averages, buffer.negative_stats()), 1.0)
        if self._config.weighting == "posterior":
            weights = self._of_posterior(averages, statistics)
        else:
            labels = statistics.labels.to(averages.device)
            mixture = _fit(averages, seen, labels, self._num_labels)
            weights = torch.where(seen, label_probability(averages, mixture, labels.clamp_min(0)), 1.0)
        shares = self._learned_shares(weights, statistics)
        return self._waiting(weights, statistics.labels.to(weights.device).clamp_min(0), shares.to(weights.device))

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
                labels = statistics.labels.cpu()
                if self._config.weighting == "posterior":
                    weights = self._of_posterior(averages, statistics)
                    shares = self._learned_shares(weights, statistics)
                    self._posterior = self._waiting(weights, labels.clamp_min(0), shares)
                else:
                    self._mixture = _fit(averages, seen, labels, self._num_labels)
                    weights = torch.where(seen, label_probability(averages, self._mixture, labels.clamp_min(0)), 1.0)
                    self._shares = self._learned_shares(weights, statistics)
                self._mixture_epoch = math.floor(epoch)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        shape = (self._num_labels + 1, 2)
        mixture = self._mixture or Mixture(*(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))
        copies = {name: parameter.clone() for name, parameter in mixture._asdict().items()}
        learned = {f"learned_{name}": value for name, value in self._learned.state_dict().items()}
        own = {"posterior": self._posterior.to("cpu", copy=True), "label_shares": self._shares.clone()}
        return {**copies, **learned, **own, "epoch": torch.tensor(self._mixture_epoch)}

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
        self._posterior, self._shares = state["posterior"].clone(), state["label_shares"].clone()
        prefix = "learned_"
        learned = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        self._learned.load_state_dict(learned)

    def _learned_shares(self, weights: Tensor, statistics: RowStatistics) -> Tensor:
        """Return how far each label is learned, `[K]` in main memory, by the weights `[num_rows]` of all rows."""
        labels = statistics.labels.cpu()
        seen = labels >= 0
        visits = statistics.visits.cpu()[seen]
        return learned_shares(self._learned.predicted(), weights.cpu()[seen], labels[seen], visits)

    def _waiting(self, weights: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
        return wait_for_labels(weights, labels, shares) if self._config.wait_for_labels else weights

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
