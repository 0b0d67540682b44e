r"""Data Cartography: keep the rows that are easy, hard or ambiguous to learn, and retrain on them.

From the training passes of a first run, with p_e the probabilities at the row's visit in epoch e (before the update):

    confidence_i  = mean_e p_e(y_i | x_i)          variability_i = std_e p_e(y_i | x_i)   (divided by the number of e)

    easy       the rows of highest confidence       (E2L, easy to learn)
    hard       the rows of lowest confidence        (H2L, hard to learn; under label noise mostly the wrong ones)
    ambiguous  the rows of highest variability      (AMG)

A fraction of the rows is kept (the paper's headline is a third) and a fresh model is trained on them.

Source: Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics", EMNLP 2020,
and its code. It is a text method. Departures: exactly `fraction * N` rows are kept (the code keeps one more); the last
run takes as many steps as one on all rows (`same_steps`), so that a third of the rows is not also a third of the
training; rows can be selected label by label (`stratify`), because a third of the easiest rows may hold no row of a
rare label at all.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import InputError
from ..method_config import check_choice, check_range
from ..row_trainer import RowTrainer
from .staged import Selection, StagedConfig, StagedTrainer

KINDS = ("easy", "hard", "ambiguous")


def best_rows(values: Tensor, fraction: float, labels: Tensor | None = None) -> Tensor:
    """Mark the rows of highest value.

    Args:
        values: `[N]`.
        fraction: which share of the rows is marked, in (0, 1]; rounded, but at least one row.
        labels: `[N]`, optional: the share is then taken of the rows of each label.

    Returns:
        `[N]` bool. Of equal values the earlier rows are marked.

    Example:
        >>> best_rows(torch.tensor([0.1, 0.9, 0.5]), 1 / 3)
        tensor([False,  True, False])
    """
    kept = torch.zeros(len(values), dtype=torch.bool)
    groups = (
        [torch.arange(len(values))]
        if labels is None
        else [torch.nonzero(labels == k).flatten() for k in torch.unique(labels)]
    )
    for rows in groups:
        number = max(1, round(fraction * len(rows)))
        order = torch.argsort(values[rows], descending=True, stable=True)
        kept[rows[order[:number]]] = True
    return kept


@dataclass
class CartographyConfig(StagedConfig):
    """Arguments of [`CartographyTrainer`].

    Raises:
        InputError: an option is out of range.

    Example:
        >>> CartographyConfig(output_dir="out").select
        'ambiguous'
    """

    select: Literal["easy", "hard", "ambiguous"] = field(
        default="ambiguous", metadata={"help": "Which rows to retrain on: 'easy', 'hard' or 'ambiguous' to learn."}
    )
    fraction: float = field(default=1 / 3, metadata={"help": "Share of the rows to retrain on, in (0, 1]."})
    stratify: bool = field(default=False, metadata={"help": "Take this share of the rows of each label."})

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_choice("select", self.select, KINDS)
        check_range("fraction", self.fraction, 0, 1, open_low=True)


class CartographyTrainer(StagedTrainer):
    """Train, map the rows by their training dynamics, and retrain on a part of the map.

    Arguments are those of [`StagedTrainer`], with a [`CartographyConfig`]. Rows are ranked by their confidence.

    Raises:
        InputError: no `model_init`; or fewer than two epochs, which leave no variability to select by.

    Example:
        >>> args = CartographyConfig(output_dir="out", select="easy", fraction=0.5)
        >>> trainer = CartographyTrainer(model_init=load, args=args, train_dataset=train)  # doctest: +SKIP
    """

    args: CartographyConfig
    config_class = CartographyConfig
    number_of_scorers = 1

    @property
    def method_name(self) -> str:  # type: ignore[override]  # each part of the map has a name of its own
        """What `--method` calls it."""
        return f"cartography-{self.args.select}"

    def make_scorer(self, number: int, **arguments: Any) -> RowTrainer:
        """Return an ordinary trainer."""
        return RowTrainer(**arguments)

    def select(self, scorers: list[RowTrainer]) -> Selection:
        """Return the chosen part of the map."""
        rows = scorers[0].row_statistics
        confidence, variability = rows.given_confidence().cpu(), rows.given_variability().cpu()
        if self.args.select == "ambiguous" and int(rows.visits.max()) < 2:  # noqa: PLR2004
            raise InputError(
                "every row was seen once, and its variability is therefore unknown: train for 2 epochs or more"
            )
        values = {"easy": confidence, "hard": -confidence, "ambiguous": variability}[self.args.select]
        seen = rows.visits.cpu() > 0  # rows that were never seen are on no map
        values = torch.where(seen, values, -torch.inf)
        kept = best_rows(values, self.args.fraction, rows.labels.cpu() if self.args.stratify else None) & seen
        return Selection(kept, torch.where(seen, confidence, torch.nan), None)
