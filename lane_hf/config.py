"""LaneConfig: the arguments of `LaneTrainer`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from .errors import InputError
from .method_config import MethodConfig, check_choice

PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "auxiliary": "full",
        "reweight": True,
        "label_aware": True,
        "weighting": "gaussian",
        "statistics": "dataset",
        "threshold": None,
        "weighting_warmup": 0.0,
        "weighting_warmup_steps": 0,
        "wait_for_labels": False,
        "bootstrap": "none",
        "similarity": "sample",
        "contrastive": "lscl",
        "contrastive_weight": 1.0,
        "contrastive_min_steps": 0,
        "contrastive_schedule": "constant",
        "aux_contrastive_grad": True,
    }
)
"""The options of the published algorithm. Those that are not here have no counterpart there."""


@dataclass
class LaneConfig(MethodConfig):
    """Training arguments of [`LaneTrainer`]: those of `transformers.TrainingArguments` and the ones below.

    Each field has a help text, so that `HfArgumentParser(LaneConfig)` makes a command line. The defaults are what
    was best on the grid and fell behind plain fine-tuning by more than .3 points on one set of eleven
    (docs/explanation/paper-and-defaults.md); `LaneConfig.paper()` is the published algorithm.

    Raises:
        InputError: a value, or a combination of values, makes no sense.

    Example:
        >>> config = LaneConfig(output_dir="out", weighting="gaussian")
        >>> neutral = LaneConfig(output_dir="out", reweight=False, contrastive="none", auxiliary="none")
    """

    auxiliary: Literal["full", "shared", "none"] = field(
        default="none",
        metadata={
            "help": "The auxiliary network: 'full' is a copy of the classifier with a fresh head (the paper), "
            "'shared' a head on the classifier's own detached embedding (almost free), 'none' no auxiliary network."
        },
    )
    reweight: bool = field(
        default=True,
        metadata={"help": "Weigh each row's cross-entropy by its averaged margin (False is the ablation LANE-alm)."},
    )
    label_aware: bool = field(
        default=True,
        metadata={
            "help": "Divide negative margins by the auxiliary probability of the preferred label, Eq. 3 (False is the "
            "ablation LANE-sim: plain margins). Without an auxiliary network margins are plain."
        },
    )
    weighting: Literal["posterior", "mixture", "gaussian"] = field(
        default="posterior",
        metadata={
            "help": "How an averaged margin becomes a weight: 'gaussian' is Eq. 4, 'mixture' the probability of the "
            "clean component in a mixture of two Gaussians per given label, fitted once per epoch, 'posterior' the "
            "probability that the label is right as label_issues() has it, taken once per epoch."
        },
    )
    statistics: Literal["dataset", "batch"] = field(
        default="dataset",
        metadata={
            "help": "Over which rows Eq. 5 and 6 go: all rows seen ('dataset') or the rows of the batch ('batch', "
            "Algorithm 1 line 11 to the letter). Only for weighting='gaussian'."
        },
    )
    threshold: float | None = field(
        default=None,
        metadata={
            "help": "A fixed mean for Eq. 4, with standard deviation 1 (Appendix D), instead of the one inferred from "
            "the averages. Only for weighting='gaussian'."
        },
    )
    weighting_warmup: float = field(
        default=1.0,
        metadata={
            "help": "Epochs (fractions allowed) in which margins are recorded but every weight is 1. The paper has 0: "
            "there, the classes that are learned late are weighted down before they are learned."
        },
    )
    weighting_warmup_steps: int = field(
        default=150,
        metadata={
            "help": "Optimizer steps in which every weight is 1, however many epochs they are: on small data sets an "
            "epoch is too short to learn anything that doubts could come from."
        },
    )
    wait_for_labels: bool = field(
        default=True,
        metadata={
            "help": "Let doubts about a label count only as far as the classifier has learned to give it: the share "
            "of rows predicted so, over the share believed to be so. Rare labels would be given up without it. Not "
            "for weighting='gaussian'."
        },
    )
    bootstrap: Literal["candidate", "prediction", "none"] = field(
        default="candidate",
        metadata={
            "help": "Where the weight goes that a row's label loses: to its 'candidate', the label that was the best "
            "other one most of the time (beyond a half, to all other labels as they are predicted now), to the "
            "classifier's own sharpened 'prediction' (bootstrapping), or to nothing ('none', the paper). Without "
            "reweight nothing is lost."
        },
    )
    similarity: Literal["sample", "class"] = field(
        default="sample",
        metadata={
            "help": "Which auxiliary probabilities stand for the closeness of labels: those of the row itself "
            "('sample', the paper's formula) or their running average over the rows with the same given label "
            "('class')."
        },
    )
    aux_smoothing: float = field(
        default=0.1,
        metadata={"help": "Share of the uniform distribution mixed into the auxiliary probabilities, in [0, 1)."},
    )
    contrastive: Literal["lscl", "scl", "lcl", "none"] = field(
        default="scl",
        metadata={
            "help": "The contrastive term: 'lscl' is LANE's (Eq. 8), 'scl' supervised contrastive, 'lcl' label-aware "
            "contrastive with positives in the denominator, 'none' leaves it out. With bootstrap='candidate', pairs "
            "of 'scl' count as far as both rows are believed to have the same label; for the others, rows that weigh "
            "less than half are rows of their candidate."
        },
    )
    contrastive_weight: float = field(default=0.3, metadata={"help": "Factor of the contrastive term in the loss."})
    contrastive_schedule: Literal["linear", "constant"] = field(
        default="linear",
        metadata={
            "help": "How the factor of the contrastive term goes on: 'linear' down to 0 at the end of training, or "
            "'constant' (the paper). It helps to tell labels apart early on, and later to memorise them."
        },
    )
    contrastive_min_steps: int = field(
        default=500,
        metadata={
            "help": "A training of fewer optimizer steps is done without the contrastive term: it slows down the "
            "first steps, and a short training has no time to make up for it."
        },
    )
    temperature: float = field(default=0.3, metadata={"help": "Temperature of the contrastive term."})
    aux_contrastive_grad: bool = field(
        default=False,
        metadata={
            "help": "Let the contrastive term train the auxiliary network too (the paper). It pulls the auxiliary "
            "towards the given labels with a force that never fades."
        },
    )
    auxiliary_on_views: bool = field(
        default=False,
        metadata={"help": "Show the auxiliary network the views of a row too, not only the row itself (costs more)."},
    )
    gather_across_devices: bool = field(
        default=False,
        metadata={
            "help": "Let the contrastive term see the rows of all processes, so that several processes learn what one "
            "with the whole batch would. Sends the embeddings of each step."
        },
    )

    @classmethod
    def paper(cls, **kwargs: Any) -> "LaneConfig":
        """Return the published algorithm (Algorithm 1, Eq. 1 to 9), with numerical guards only.

        Statistics go over the data set, as in Eq. 5 and 6; pass `statistics="batch"` for line 11 of Algorithm 1. In
        macro-F1 it was behind ordinary fine-tuning in eight of nine cells (docs/explanation/paper-and-defaults.md); it
        is here for those who reproduce the paper.

        Args:
            **kwargs: any field, to depart from it.

        Example:
            >>> config = LaneConfig.paper(output_dir="out", num_train_epochs=5)
        """
        return cls(**{**PAPER, **kwargs})

    @property
    def is_neutral(self) -> bool:
        """Whether training is ordinary fine-tuning that only records margins."""
        return not self.reweight and self.contrastive == "none" and self.auxiliary == "none"

    def check_fields(self) -> None:
        """Raise `InputError` if a field of LANE, or a combination of them, makes no sense."""
        super().check_fields()
        choices = {
            "auxiliary": ("full", "shared", "none"),
            "weighting": ("posterior", "mixture", "gaussian"),
            "statistics": ("dataset", "batch"),
            "bootstrap": ("candidate", "prediction", "none"),
            "similarity": ("sample", "class"),
            "contrastive": ("lscl", "scl", "lcl", "none"),
            "contrastive_schedule": ("linear", "constant"),
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        if not 0 <= self.aux_smoothing < 1:
            raise InputError(f"aux_smoothing must be in [0, 1), got {self.aux_smoothing}")
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature must be a finite number above 0, got {self.temperature}")
        if not 0 <= self.contrastive_weight < math.inf:
            raise InputError(f"contrastive_weight must be finite and not negative, got {self.contrastive_weight}")
        if not self.weighting_warmup >= 0:
            raise InputError(f"weighting_warmup must not be negative, got {self.weighting_warmup}")
        for name in ("weighting_warmup_steps", "contrastive_min_steps"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"threshold must be a finite number, got {self.threshold}")
        if self.auxiliary == "none" and self.contrastive in ("lscl", "lcl"):
            raise InputError(
                f"contrastive={self.contrastive!r} needs the probabilities of an auxiliary network: set auxiliary to "
                "'full' or 'shared', or contrastive to 'scl' or 'none'"
            )
        if self.weighting != "gaussian" and (self.threshold is not None or self.statistics == "batch"):
            raise InputError("threshold and statistics='batch' belong to Eq. 4: set weighting='gaussian' to use them")
