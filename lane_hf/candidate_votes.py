"""CandidateVotes: the best other label of each row, by a running majority vote.

A table of votes for every label would take `num_rows x num_labels` numbers; the running vote of Boyer & Moore (1981),
here with votes weighted by probability, takes three a row.
"""

import torch
from torch import Tensor

from .pending_steps import PendingSteps
from .row_ids import PADDING_ID, first_occurrences

MOST_VISITS = torch.iinfo(torch.int16).max


class CandidateVotes:
    """The candidate of each row, votes for it, and how many of its visits voted so since it became the candidate.

    It takes 8 bytes a row (10 with more than 32,767 labels).

    Args:
        num_rows: number of rows of the training set.
        label_type: integer type that holds every label.
        device: where the state lies.

    Example:
        >>> votes = CandidateVotes(num_rows=2, label_type=torch.int16)
        >>> votes.record(torch.tensor([1]), torch.tensor([True]), torch.tensor([2]), torch.tensor([0.7]))
        >>> votes.state()["candidate"].tolist()
        [-1, 2]
    """

    def __init__(self, num_rows: int, label_type: torch.dtype, device: torch.device | str | None = None) -> None:
        # One slot more than rows: entries that do not count are written there, so that nothing has to be selected
        # (which would make the host wait for the device) and nothing races with the entry that counts.
        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(num_rows + 1, dtype=dtype, device=device)

        self._candidate = zeros(label_type) - 1
        self._votes = zeros(torch.float32)
        self._hits = zeros(torch.int16)
        self._pending = PendingSteps()

    def record(self, row_ids: Tensor, finite: Tensor, labels: Tensor, probs: Tensor) -> None:
        """Take in a step.

        Args:
            row_ids: `[B]` int64; -1 is padding, and of a row that comes twice only the first entry counts.
            finite: `[B]` bool, False for entries that do not count.
            labels: `[B]` best label other than the given one.
            probs: `[B]` its probability.
        """
        if self._pending.add(row_ids, finite, labels, probs):
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """Take in the steps that are kept."""
        self._pending.settle(self._take_in)

    def _take_in(self, row_ids: Tensor, finite: Tensor, labels: Tensor, probs: Tensor) -> None:
        # The id of padding, -1, is the last slot, which is no row's.
        at = row_ids.masked_fill(~(first_occurrences(row_ids) & finite), PADDING_ID)
        candidate = self._candidate[at].long()
        agrees = labels == candidate
        votes = self._votes[at] + torch.where(agrees, probs, -probs)
        # Of a row without a candidate any vote is the first, even one of probability 0.
        overturned = (votes < 0) | (candidate < 0)
        hits = (self._hits[at].int() + agrees).clamp_max(MOST_VISITS)  # a sum of int16 would begin again below 0
        self._hits[at] = hits.masked_fill(overturned, 1).short()
        self._candidate[at] = torch.where(overturned, labels, candidate).to(self._candidate.dtype)
        self._votes[at] = votes.abs()

    def of(self, row_ids: Tensor) -> Tensor:
        """Return the candidates `[B]` of some rows, int64; -1 where there is none."""
        self.settle()
        return self._candidate[row_ids].long()

    def state(self) -> dict[str, Tensor]:
        """Return the state by name, `[num_rows]` each: the tensors are the object's own."""
        self.settle()
        state = {"candidate": self._candidate, "candidate_votes": self._votes, "candidate_hits": self._hits}
        return {name: tensor[:-1] for name, tensor in state.items()}
