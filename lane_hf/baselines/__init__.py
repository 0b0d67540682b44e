"""The methods that LANE is compared with, as trainers: one file each, the same constructor for all.

Names are imported when they are first used.
"""

import importlib
from typing import Any

_HOMES = {
    "AumConfig": "aum",
    "AumTrainer": "aum",
    "CartographyConfig": "cartography",
    "CartographyTrainer": "cartography",
    "CoTeachingConfig": "co_teaching",
    "CoTeachingTrainer": "co_teaching",
    "DiscConfig": "disc",
    "DiscTrainer": "disc",
    "DivideMixConfig": "divide_mix",
    "DivideMixTrainer": "divide_mix",
    "ElrConfig": "elr",
    "ElrTrainer": "elr",
    "GceConfig": "gce",
    "GceTrainer": "gce",
    "HmwConfig": "hmw",
    "HmwTrainer": "hmw",
    "LabelInterpolationConfig": "label_interpolation",
    "LabelInterpolationTrainer": "label_interpolation",
    "LabelSmoothingConfig": "label_smoothing",
    "LabelSmoothingTrainer": "label_smoothing",
    "LclConfig": "lcl",
    "LclTrainer": "lcl",
    "NoiseLayerConfig": "noise_layer",
    "NoiseLayerTrainer": "noise_layer",
    "PeerLossConfig": "peer_loss",
    "PeerLossTrainer": "peer_loss",
    "SclConfig": "scl",
    "SclTrainer": "scl",
    "SelfMixConfig": "self_mix",
    "SelfMixTrainer": "self_mix",
    "UniconConfig": "unicon",
    "UniconTrainer": "unicon",
}

__all__ = [*_HOMES]  # noqa: PLE0604 -- names of the table above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
