r"""AUM: find mislabelled rows by their margin, with a threshold that is learned from rows that are wrong on purpose.

1. Some rows, the threshold samples, get a label that does not exist: the head has K + 1 outputs, and they are all of
   class K. What they look like, mislabelled rows look like.
2. The model is trained for a while (before it memorises) at a constant learning rate. From the second epoch on the
   margin of the given label, `z_y - max_{k != y} z_k` over K + 1 logits, is averaged per row: its AUM.
3. A row is flagged if its AUM lies below the 99th percentile of the threshold samples' AUMs.
4. A second run with other threshold samples judges those of the first. A row is removed if it is flagged in every run
   in which it was no threshold sample.
5. A fresh model with K outputs is trained on the other rows.

Source: Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020, and its
code (package `aum`). `percentile=50, runs=1` is the variant of AUM-ST (Sosea & Caragea, NeurIPS 2022), a text method;
with one run the threshold samples themselves are kept.

Adapted to text: N / (K + 1) threshold samples as in the paper, but at most a quarter of the rows (of two labels it
would be a third); the scoring runs take half of the epochs, as there 150 of 300, but at least two, since the first is
not recorded; the learning rate stays constant after the warm-up in them. Rows are dropped from the last run, where the
code gives them weight 0: a batch then has no empty places.
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.trainer_utils import SchedulerType

from ..errors import InputError
from ..heads import add_label
from ..margins import margin
from ..method_config import check_range
from ..replicas import checksum
from ..row_statistics import RowStatistics
from ..row_trainer import RowTrainer
from .base import BaselineTrainer, Batch
from .staged import Selection, StagedConfig, StagedTrainer

_MOST_THRESHOLD_SAMPLES = 0.25  # of the rows


def threshold_samples(num_rows: int, num_labels: int, run: int, seed: int) -> Tensor:
    """Draw the rows that a run mislabels on purpose; those of different runs do not overlap.

    Args:
        num_rows: number of rows, at least 4.
        num_labels: number of labels.
        run: which run, from 1.
        seed: seed of the permutation that the runs take their rows from.

    Returns:
        `[num_rows]` bool.

    Example:
        >>> int(threshold_samples(100, num_labels=9, run=1, seed=0).sum())
        10
    """
    number = max(1, min(num_rows // (num_labels + 1), int(num_rows * _MOST_THRESHOLD_SAMPLES)))
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(num_rows, dtype=torch.bool)
    chosen[order[(run - 1) * number : run * number]] = True
    return chosen


def flagged_rows(aum: Tensor, is_threshold: Tensor, percentile: float) -> Tensor:
    """Flag the rows whose AUM lies below a percentile of the threshold samples'.

    Args:
        aum: `[N]` average margins; NaN for rows without one, which are not flagged.
        is_threshold: `[N]` bool: the threshold samples, at least one with an AUM.
        percentile: in (0, 100]. A row is flagged if more than `100 - percentile` percent of the threshold samples
            have a higher AUM.

    Returns:
        `[N]` bool, False for threshold samples.

    Example:
        >>> flagged_rows(torch.tensor([-3.0, -1.0, 2.0]), torch.tensor([False, True, False]), 99)
        tensor([ True, False, False])
    """
    thresholds = aum[is_threshold]
    thresholds = thresholds[~thresholds.isnan()].sort().values
    higher = len(thresholds) - torch.searchsorted(thresholds, aum.nan_to_num(math.inf), right=True)
    # Not as shares: 1 of 10 is not more than 10%, but 1 / 10 > 1 - 90 / 100.
    return (100 * higher.double() > (100 - percentile) * len(thresholds)) & ~is_threshold


@dataclass
class AumConfig(StagedConfig):
    """Arguments of [`AumTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> AumConfig(output_dir="out").percentile
        99.0
    """

    percentile: float = field(
        default=99.0,
        metadata={"help": "Percentile of the threshold samples' AUM below which a row is flagged (AUM-ST: 50)."},
    )
    runs: int = field(
        default=2, metadata={"help": "Scoring runs, each with its own threshold samples (AUM-ST: 1), at most 3."}
    )
    scoring_epochs: float | None = field(
        default=None, metadata={"help": "Epochs of a scoring run. Default: half of num_train_epochs, at least 2."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_range("percentile", self.percentile, 0, 100, open_low=True)
        check_range("runs", self.runs, 1, 3)
        if self.scoring_epochs is not None and not self.scoring_epochs >= 2:  # noqa: PLR2004
            raise InputError(
                f"scoring_epochs must be at least 2, got {self.scoring_epochs}: the first is not recorded"
            )


class AumScorer(BaselineTrainer):
    """A scoring run of [`AumTrainer`]: K + 1 outputs, and some rows of the label that does not exist.

    Args:
        is_threshold: `[num_rows]` bool: the threshold samples.
        number_of_labels: K, the number of labels of the task.
        **arguments: those of [`BaselineTrainer`].
    """

    has_own_score = True

    def __init__(self, *, is_threshold: Tensor, number_of_labels: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._is_threshold = is_threshold.to(self.args.device)
        self._extra = number_of_labels

    def _check_train_dataset(self) -> None:
        """Do nothing: the trainer of all stages has checked it, and knows how many labels it shall have."""

    def facts(self) -> dict[str, int | str]:
        """Return what must be the same when a run is resumed; the threshold samples are among it."""
        return {**super().facts(), "checksum_of_threshold_samples": checksum({"rows": self._is_threshold})}

    def logits_of_rows(self, outputs: dict[str, Tensor], own: slice) -> Tensor:
        """Return the scores of the labels that exist: no other can be suggested."""
        return super().logits_of_rows(outputs, own)[:, : self._extra]

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the cross-entropy, threshold samples being of class K; record margins from the second epoch on."""
        is_threshold = self._is_threshold[batch.rows.ids.clamp_min(0)]
        labels = torch.where(is_threshold, self._extra, batch.labels)
        if (self.state.epoch or 0.0) >= 1:
            self.record_scores(batch, margin(batch.logits.detach(), labels)[0])
        return batch.mean(F.cross_entropy(batch.logits, labels, reduction="none"))


class AumTrainer(StagedTrainer):
    """Remove the rows whose area under the margin is as low as that of rows mislabelled on purpose, and retrain.

    Arguments are those of [`StagedTrainer`], with an [`AumConfig`]. Rows are ranked by their AUM over the runs in
    which they were no threshold samples; issues are the rows that were removed.

    Raises:
        InputError: no `model_init`, no head that can be widened, or fewer than 8 rows.

    Example:
        >>> args = AumConfig(output_dir="out", percentile=50, runs=1)  # the variant of AUM-ST
        >>> trainer = AumTrainer(model_init=load, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: AumConfig
    method_name = "aum"
    config_class = AumConfig

    @property
    def number_of_scorers(self) -> int:
        """How many runs with threshold samples there are."""
        return self.args.runs

    def make_scorer(self, number: int, **arguments: Any) -> RowTrainer:
        """Return the trainer of a run with its own threshold samples and seed."""
        args, num_labels = arguments["args"], self.num_labels
        args.lr_scheduler_type, args.seed = SchedulerType.CONSTANT_WITH_WARMUP, args.seed + number - 1
        half = max(2.0, args.num_train_epochs / 2)
        args.num_train_epochs = half if self.args.scoring_epochs is None else self.args.scoring_epochs
        if args.max_steps > 0:
            args.max_steps = math.ceil(args.max_steps / 2)

        def widened() -> nn.Module:
            # A copy, because add_label changes it, and model_init may hand out what somebody else holds.
            model: nn.Module = copy.deepcopy(self.call_model_init())
            add_label(model, num_labels)
            return model

        return AumScorer(
            is_threshold=self._threshold_samples(number),
            number_of_labels=num_labels,
            **{**arguments, "args": args, "model_init": widened},
        )

    def _threshold_samples(self, number: int) -> Tensor:
        rows = len(self.train_dataset)
        if rows < 8:  # noqa: PLR2004 -- two runs with a quarter of the rows each, of two rows at least
            raise InputError(f"the training set has {rows} rows, AUM needs at least 8")
        return threshold_samples(rows, self.num_labels, number, self.args.seed)

    def select(self, scorers: list[RowTrainer]) -> Selection:
        """Return the rows that are not flagged in every run in which they were judged."""
        samples = [self._threshold_samples(number) for number in range(1, len(scorers) + 1)]
        aums = []
        for scorer in scorers:
            seen = scorer.scores.count.cpu() > 0
            aums.append(torch.where(seen, scorer.scores.average().cpu(), torch.nan))
        if all(bool(aum.isnan().all()) for aum in aums):
            raise InputError("no margin was recorded, since that begins with the second epoch: train for longer")
        flags = [
            flagged_rows(aum, sample, self.args.percentile) | sample for aum, sample in zip(aums, samples, strict=True)
        ]
        judged = torch.stack([~sample for sample in samples])
        removed = torch.stack(flags).all(dim=0) & judged.any(dim=0)
        scores = torch.where(judged, torch.stack(aums), torch.nan).nanmean(dim=0)
        return Selection(~removed, scores, removed)

    def statistics_of(self, scorers: list[RowTrainer]) -> RowStatistics:
        """Return what the first run has seen, of its threshold samples what the second has."""
        merged: RowStatistics = scorers[0].row_statistics
        if len(scorers) > 1:
            merged.replace_rows(self._threshold_samples(1), scorers[1].row_statistics)
        return merged
