"""CleanSplit: which rows a network's losses speak for, by a mixture that is fitted once an epoch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..buffer import check_state
from ..mixture import Mixture, clean_probability, fit_mixture
from ..row_table import RowTable

CLEAN = 0.5
"""Rows with a higher probability are taken for clean: they more likely are than not."""


class CleanSplit:
    """The loss of each row at its last visit, and the probability that it belongs to the rows of low loss.

    Two Gaussians are fitted to all losses, or to those of each label, at the start of an epoch (Arazo et al., ICML
    2019; Li et al., "DivideMix", ICLR 2020). Where the papers pass over the training set to find the losses, these are
    those of the training passes: no pass is spent, and dropout is on. The rows of a pass are then not judged by one
    network: after a warm-up of one epoch, those that came early in it were seen by one that knew less, and more of
    them may be taken for wrong until the next fit.

    Args:
        num_rows: number of rows of the training set.
        num_labels: number of labels, for a mixture of each label; 0 fits one over all rows.
        device: where the state lies.

    Attributes:
        epoch: the epoch in which the mixture was fitted; -1 before.
        finds_clean_rows: whether the mixture takes any row for clean; if not, every row counts as clean.

    Example:
        >>> split = CleanSplit(num_rows=4)
        >>> split.update(torch.arange(4), torch.tensor([0.1, 0.2, 3.0, 3.1]))
        >>> split.refit(torch.zeros(4, dtype=torch.int64), epoch=1)
        >>> split.probability(torch.arange(4), torch.zeros(4, dtype=torch.int64)).round()
        tensor([1., 1., 0., 0.])
    """

    def __init__(self, num_rows: int, num_labels: int = 0, device: torch.device | str | None = None) -> None:
        self._losses = RowTable(num_rows, fill=torch.nan, device=device)
        self._num_labels = num_labels
        self._mixture: Mixture | None = None
        self.epoch = -1
        self.finds_clean_rows = True

    @torch.no_grad()
    def update(self, row_ids: Tensor, losses: Tensor) -> None:
        """Take in a batch: `[B]` row ids, -1 for padding, and `[B]` losses; those that are not finite are left out."""
        self._losses.values[self._losses.slots(row_ids, torch.isfinite(losses))] = losses.to(self._losses.values)

    @torch.no_grad()
    def refit(self, labels: Tensor, epoch: int) -> None:
        """Fit the mixture to the losses of all rows seen; costs O(data set).

        Args:
            labels: `[num_rows]` given labels.
            epoch: the epoch that begins.
        """
        # In main memory, where sums have one order: every process must get the same mixture to the last bit.
        losses, labels = self._losses.rows.cpu(), labels.cpu()
        seen = ~losses.isnan() & (labels >= 0)
        self.epoch = epoch
        if bool(seen.any()):
            # The mixture calls the higher values clean.
            groups = labels[seen] if self._num_labels else None
            self._mixture = fit_mixture(-losses[seen], groups, self._num_labels)
            clean = clean_probability(-losses[seen], self._mixture, groups)
            self.finds_clean_rows = bool((clean > CLEAN).any())

    @torch.no_grad()
    def probability(self, row_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the probability `[B]` that each row is clean; 1 before the first fit and for rows never seen.

        It is 1 for all rows if the mixture takes none for clean: a method must have something to learn from.

        Args:
            row_ids: `[B]` row ids; -1 is padding.
            labels: `[B]` given labels.
        """
        losses = self._losses.of(row_ids)
        if self._mixture is None or not self.finds_clean_rows:
            return torch.ones_like(losses)
        mixture = Mixture(*(parameter.to(losses.device) for parameter in self._mixture))
        groups = labels.to(losses.device) if self._num_labels else None
        return torch.where(losses.isnan(), 1.0, clean_probability(-losses.nan_to_num(0.0), mixture, groups))

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        shape = (self._num_labels + 1, 2)
        mixture = self._mixture or Mixture(*(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))
        copies = {name: parameter.clone() for name, parameter in mixture._asdict().items()}
        flags = {"fitted": self._mixture is not None, "finds_clean_rows": self.finds_clean_rows, "epoch": self.epoch}
        copies |= {name: torch.tensor(value) for name, value in flags.items()}
        return {**copies, "losses": self._losses.state_dict()["rows"]}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows or labels.
        """
        check_state(state, self.state_dict(), "CleanSplit")
        self._losses.load_state_dict({"rows": state["losses"]})
        mixture = Mixture(*(state[name].clone() for name in Mixture._fields))
        self._mixture = mixture if bool(state["fitted"]) else None
        self.finds_clean_rows, self.epoch = bool(state["finds_clean_rows"]), int(state["epoch"])
