"""The data sets that have a name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from datasets import DatasetDict


def _demo(data_dir: str | None) -> "DatasetDict":
    from .demo import load_demo

    if data_dir is not None:
        raise InputError("the data set 'demo' is part of the package: leave data_dir out")
    return load_demo()


_LOADERS: dict[str, Callable[[str | None], "DatasetDict"]] = {"demo": _demo}


def names() -> list[str]:
    """Return the names that [`load`] knows.

    Example:
        >>> "demo" in names()
        True
    """
    return sorted(_LOADERS)


def load(name: str, data_dir: str | None = None) -> "DatasetDict":
    """Load a data set by its name.

    Args:
        name: one of [`names`].
        data_dir: folder with the files of the original release, for data sets that can be read from them.

    Returns:
        Splits with the features `text` (string) and `label` (`ClassLabel`).

    Raises:
        InputError: the name is unknown, or the data set does not take a folder.

    Example:
        >>> load("demo")["train"].column_names
        ['text', 'label']
    """
    if name not in _LOADERS:
        raise InputError(f"the data set {name!r} has no entry here: the names are {', '.join(names())}")
    return _LOADERS[name](data_dir)
