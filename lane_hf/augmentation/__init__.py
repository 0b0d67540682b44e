"""Augmentations: views of texts (synonyms) and of token ids (SwitchOut).

Names are imported when they are first used, so that none costs what only another needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .switchout import SwitchOut
    from .synonym import SynonymReplacement

_HOMES = {"SwitchOut": "switchout", "SynonymReplacement": "synonym"}

__all__ = ["SwitchOut", "SynonymReplacement"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
