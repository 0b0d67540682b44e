"""Fine-tune Hugging Face classifiers on labels that cannot be trusted, and find the wrong ones.

Names are imported when they are first used, so that `import lane_hf` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .buffer import AlmBuffer
    from .config import LaneConfig
    from .errors import InputError
    from .release.released import from_pretrained
    from .row_trainer import RowTrainer
    from .trainer import LaneTrainer

_HOMES = {
    "AlmBuffer": "buffer",
    "InputError": "errors",
    "LaneConfig": "config",
    "LaneTrainer": "trainer",
    "RowTrainer": "row_trainer",
    "from_pretrained": "release.released",
}

__all__ = ["AlmBuffer", "InputError", "LaneConfig", "LaneTrainer", "RowTrainer", "__version__", "from_pretrained"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
