"""RowStatistics: what one training run learns about each row, in O(1) memory a row.

Mean and standard deviation of the given label's probability and the share of visits at which the prediction was the
given label are the coordinates of a data map (Swayamdipta et al., "Dataset Cartography", EMNLP 2020).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .buffer import check_state
from .candidate_votes import MOST_VISITS, CandidateVotes
from .margins import at_least_float32, margin
from .noise_probability import NoiseEstimate, estimate_noise
from .pending_steps import PendingSteps
from .row_ids import PADDING_ID, check_row_ids, first_occurrences


class Observation(NamedTuple):
    """What a batch shows of its rows; every field is `[B]`, so that it can be gathered over processes.

    Attributes:
        row_ids: int64; -1 is padding.
        labels: given labels, int64.
        margins: margin of the given label (Eq. 1), float32.
        given_probs: probability of the given label, float32.
        runner_up: best label other than the given one, int64.
        runner_up_probs: its probability, float32.
    """

    row_ids: Tensor
    labels: Tensor
    margins: Tensor
    given_probs: Tensor
    runner_up: Tensor
    runner_up_probs: Tensor


class RowStatistics:
    """Average margin, probability of the given label, correctness and best other label of each training row.

    The best other label is found by a running vote (see [`CandidateVotes`]). It takes 32 bytes a row (36 with more
    than 32,767 labels). What is recorded waits until somebody asks, or until 64 steps are kept (see
    [`PendingSteps`]).

    Args:
        num_rows: number of rows of the training set.
        num_labels: number of labels of the classifier.
        device: where the state lies.

    Raises:
        ValueError: `num_rows` is below 1.

    Example:
        >>> statistics = RowStatistics(num_rows=2, num_labels=3)
        >>> logits = torch.tensor([[0.0, 2.0, 1.0]])
        >>> statistics.record(statistics.observe(torch.tensor([1]), torch.tensor([0]), logits))
        >>> statistics.average_margin()
        tensor([ 0., -2.])
        >>> statistics.candidates()
        tensor([-1,  1])
    """

    def __init__(self, num_rows: int, num_labels: int, device: torch.device | str | None = None) -> None:
        if num_rows < 1:
            raise ValueError(f"num_rows must be at least 1, got {num_rows}")
        label_type = torch.int16 if num_labels <= torch.iinfo(torch.int16).max else torch.int32

        # One slot more than rows, for entries that do not count, as in CandidateVotes.
        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(num_rows + 1, dtype=dtype, device=device)

        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._votes = CandidateVotes(num_rows, label_type, device)
        self._pending = PendingSteps()
        self._state = {
            "visits": zeros(torch.int32),
            "label": zeros(label_type) - 1,
            "margin_sum": zeros(torch.float64),
            "given_prob_sum": zeros(torch.float32),
            "given_prob_spread": zeros(torch.float32),  # sum of squared distances to the mean
            "correct": zeros(torch.int16),  # among the first 32,767 visits
        }

    def __len__(self) -> int:
        return len(self._state["visits"]) - 1

    @property
    def device(self) -> torch.device:
        """Where the state lies."""
        return self._state["visits"].device

    @property
    def skipped(self) -> Tensor:
        """How many entries were NaN or infinite and left out: an int64 tensor without dimensions."""
        self._settle()
        return self._skipped

    @property
    def visits(self) -> Tensor:
        """How often each row was recorded: `[num_rows]` int32."""
        return self._rows("visits")

    @property
    def labels(self) -> Tensor:
        """The given label of each row: `[num_rows]` int64, -1 for rows never seen."""
        return self._rows("label").long()

    @torch.no_grad()
    def observe(self, row_ids: Tensor, labels: Tensor, logits: Tensor) -> Observation:
        """Reduce a batch to what [`record`] needs: `[B]` numbers instead of `[B, K]`, so that gathering stays cheap.

        Args:
            row_ids: `[B]` row ids.
            labels: `[B]` given labels.
            logits: `[B, K]` scores of the classifier.
        """
        check_row_ids(row_ids, len(self))
        margins, runner_up = margin(logits, labels)
        probs = at_least_float32(logits).softmax(dim=1)

        def probability(of: Tensor) -> Tensor:
            return probs.gather(1, of[:, None]).squeeze(1).float()

        return Observation(
            row_ids.long(),
            labels.long(),
            margins,
            probability(labels),
            runner_up,
            probability(runner_up),
        )

    @torch.no_grad()
    def record(self, observation: Observation) -> None:
        """Take in an observation, gathered over all processes.

        Padding, repeated rows and rows whose numbers are not finite are left out. The tensors are kept until they are
        taken in: do not change them afterwards.
        """
        seen = Observation(*(field.to(self.device) for field in observation))
        # A probability is at most 1: the sum overflows for none. Half of the operations of isfinite; False for NaN.
        finite = (seen.margins + seen.given_probs).abs() < math.inf
        self._votes.record(seen.row_ids, finite, seen.runner_up, seen.runner_up_probs)
        if self._pending.add(*seen, finite):
            self._settle()

    @torch.no_grad()
    def _settle(self) -> None:
        self._pending.settle(self._take_in)

    def _take_in(self, *columns: Tensor) -> None:
        seen, finite = Observation(*columns[:-1]), columns[-1]
        counted = (seen.row_ids != PADDING_ID) & first_occurrences(seen.row_ids)
        self._skipped += (counted & ~finite).sum()
        at = torch.where(counted & finite, seen.row_ids, len(self))
        self._add_given_probs(at, seen.given_probs)
        # As argmax has it: of equal logits the first label is the prediction.
        tied = (seen.margins == 0) & (seen.labels < seen.runner_up)
        counts = (seen.margins > 0) | tied
        still = self._state["visits"][at] < MOST_VISITS
        self._state["correct"].index_add_(0, at, (counts & still).short())
        self._state["visits"].index_add_(0, at, torch.ones_like(at, dtype=torch.int32))
        self._state["margin_sum"].index_add_(0, at, seen.margins.double())
        self._state["label"][at] = seen.labels.to(self._state["label"].dtype)

    def _add_given_probs(self, at: Tensor, probs: Tensor) -> None:
        # Welford's update: a difference of sums of squares would have lost the small spreads.
        visits, sums = self._state["visits"][at], self._state["given_prob_sum"][at]
        before, after = sums / visits.clamp_min(1), (sums + probs) / (visits + 1)
        spread = torch.where(visits > 0, (probs - before) * (probs - after), 0.0)
        self._state["given_prob_spread"].index_add_(0, at, spread)
        self._state["given_prob_sum"].index_add_(0, at, probs)

    def average_margin(self) -> Tensor:
        """Return the average margin of each row (its area under the margin, AUM): `[num_rows]` float32, 0 if unseen.

        Source: Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020.
        """
        return (self._rows("margin_sum") / self.visits.clamp_min(1)).float()

    def given_confidence(self) -> Tensor:
        """Return the average probability of each row's given label: `[num_rows]` float32, 0 if unseen."""
        return self._rows("given_prob_sum") / self.visits.clamp_min(1)

    def given_variability(self) -> Tensor:
        """Return the standard deviation of each given label's probability: `[num_rows]` float32, 0 if unseen.

        It is divided by the number of visits, not by one less.
        """
        return (self._rows("given_prob_spread").clamp_min(0) / self.visits.clamp_min(1)).sqrt()

    def correctness(self) -> Tensor:
        """Return the share of visits at which the prediction was the given label: `[num_rows]` float32, 0 if unseen.

        Only the first 32,767 visits count.
        """
        return self._rows("correct") / self.visits.clamp(1, MOST_VISITS)

    def candidates(self, row_ids: Tensor | None = None) -> Tensor:
        """Return the best label other than the given one: int64, -1 if unseen.

        Args:
            row_ids: `[B]` rows; None returns those of all, `[num_rows]`.
        """
        return self._rows("candidate").long() if row_ids is None else self._votes.of(row_ids.to(self.device))

    def candidate_share(self) -> Tensor:
        """Return the share of visits at which the candidate was the best other label: `[num_rows]` float32.

        Visits before it became the candidate do not count for it, so that it is at most the true share; 0 if unseen.
        Counted are at most 32,767 of either, so that after more visits it may be higher.
        """
        return self._rows("candidate_hits") / self.visits.clamp(1, MOST_VISITS)

    def estimate_noise(self, num_labels: int, margins: Tensor | None = None) -> NoiseEstimate:
        """Return how probably each row's label is wrong, and scores to rank the rows by, in main memory.

        Args:
            num_labels: number of labels.
            margins: `[num_rows]` other averages than [`average_margin`].

        Returns:
            See [`noise_probability`]; rows never seen have probability 0 and their margin as score.
        """
        margins = (self.average_margin() if margins is None else margins).cpu()
        seen = self.visits.cpu() > 0
        if not bool(seen.any()):
            return NoiseEstimate(torch.zeros_like(margins), margins)
        known = (margins, self.given_confidence(), self.labels, self.candidates())
        margin_of_seen, confidence, labels, others = (each.cpu()[seen] for each in known)
        found = estimate_noise(margin_of_seen, confidence, labels, num_labels, others)
        return NoiseEstimate(
            torch.zeros_like(margins).masked_scatter_(seen, found.probability),
            margins.masked_scatter(seen, found.scores),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        return {name: tensor.to("cpu", copy=True) for name, tensor in self._own_tensors().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of rows.
        """
        check_state(state, self.state_dict(), "RowStatistics")
        for name, tensor in self._own_tensors().items():
            tensor.copy_(state[name])

    def _own_tensors(self) -> dict[str, Tensor]:
        self._settle()
        own = {name: tensor[:-1] for name, tensor in self._state.items()}
        return {**own, **self._votes.state(), "skipped": self._skipped}

    def _rows(self, name: str) -> Tensor:
        return self._own_tensors()[name]

    @torch.no_grad()
    def replace_rows(self, which: Tensor, other: "RowStatistics") -> None:
        """Take over what another run knows of some rows.

        Args:
            which: `[num_rows]` bool.
            other: the statistics of the same rows in another run.
        """
        at = which.to(self.device)
        theirs = other._own_tensors()
        for name, tensor in self._own_tensors().items():
            if name != "skipped":
                tensor[at] = theirs[name].to(self.device)[at]
