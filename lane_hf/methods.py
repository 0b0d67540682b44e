"""The methods by name: what `--method` accepts."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .baselines.aum import AumTrainer
from .baselines.cartography import CartographyTrainer
from .baselines.co_teaching import CoTeachingTrainer
from .baselines.disc import DiscTrainer
from .baselines.divide_mix import DivideMixTrainer
from .baselines.elr import ElrTrainer
from .baselines.gce import GceTrainer
from .baselines.hmw import HmwTrainer
from .baselines.label_interpolation import LabelInterpolationTrainer
from .baselines.label_smoothing import LabelSmoothingTrainer
from .baselines.lcl import LclTrainer
from .baselines.noise_layer import NoiseLayerTrainer
from .baselines.peer_loss import PeerLossTrainer
from .baselines.scl import SclTrainer
from .baselines.self_mix import SelfMixTrainer
from .baselines.unicon import UniconTrainer
from .display import quoted
from .errors import InputError
from .method_config import MethodConfig
from .row_trainer import RowTrainer
from .trainer import LaneTrainer


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        name: what the user calls it.
        trainer: the class that does it.
        summary: what it does, in a line.
        fixed: fields of its arguments that the name says already.

    Example:
        >>> METHODS["gce"].config.__name__
        'GceConfig'
    """

    name: str
    trainer: type[RowTrainer]
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def config(self) -> type[MethodConfig]:
        """The class of its arguments."""
        return self.trainer.config_class


def _cartography(kind: str, summary: str) -> Method:
    return Method(f"cartography-{kind}", CartographyTrainer, summary, MappingProxyType({"select": kind}))


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("lane", LaneTrainer, "label-aware noise elimination: rows that look mislabelled are weighted down"),
            Method("plain", RowTrainer, "ordinary fine-tuning"),
            _cartography("easy", "retrain on the rows that are easiest to learn"),
            _cartography("hard", "retrain on the rows that are hardest to learn"),
            _cartography("ambiguous", "retrain on the rows whose probability varies most"),
            Method("aum", AumTrainer, "remove rows whose margins are those of rows mislabelled on purpose, retrain"),
            Method("noise-layer", NoiseLayerTrainer, "learn how labels were confused in a layer on the classifier"),
            Method("peer-loss", PeerLossTrainer, "punish agreement with labels drawn at random"),
            Method("scl", SclTrainer, "cross-entropy with a supervised contrastive term"),
            Method("lcl", LclTrainer, "contrastive term weighted by a second network's label probabilities"),
            Method("hmw", HmwTrainer, "weigh rows by the angles between feature and labels"),
            Method("label-interpolation", LabelInterpolationTrainer, "mix labels with predictions, label by label"),
            Method("co-teaching", CoTeachingTrainer, "two networks, each of which learns what the other finds easy"),
            Method("divide-mix", DivideMixTrainer, "two networks tell each other which labels to trust; mixup"),
            Method("unicon", UniconTrainer, "two networks learn as many clean rows of every label; mixup"),
            Method("disc", DiscTrainer, "thresholds of each row's own tell clean rows, hard ones and mended labels"),
            Method("self-mix", SelfMixTrainer, "mixup of rows by trust, and two dropout views that must agree"),
            Method("label-smoothing", LabelSmoothingTrainer, "cross-entropy with smoothed labels"),
            Method("gce", GceTrainer, "a loss between cross-entropy and the mean absolute error"),
            Method("elr", ElrTrainer, "hold on to what was learned before wrong labels are memorised"),
        )
    }
)


def method_of(name: str) -> Method:
    """Return the method of a name.

    Raises:
        InputError: there is none; the message names the nearest.

    Example:
        >>> method_of("plain").trainer.__name__
        'RowTrainer'
    """
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"the method {quoted(name)} is unknown{guess}: choose one of {', '.join(METHODS)}")
