"""The data sets that have a name: those of the package, and those of the Hub."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset, DatasetDict


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


def load_from_hub(name: str, text_column: str | None = None, label_column: str | None = None) -> "DatasetDict":
    """Load a data set of the Hub, or a folder of tables that `datasets.load_dataset` can read.

    Test labels that are hidden (-1 throughout, as in benchmarks) are left out.

    Args:
        name: Hub id, or folder.
        text_column: the column of texts; None guesses, if only one column can be meant.
        label_column: the column of labels; None guesses likewise.

    Returns:
        Splits with the features `text` (string) and `label` (`ClassLabel`).

    Raises:
        InputError: there is no such data set, it cannot be read, or it is no text classification.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    from .columns import to_text_and_label

    if "/" not in name and not Path(name).exists():
        raise InputError(
            f"the data set {name!r} is neither a built-in name ({', '.join(names())}) nor a Hub id ('user/name'): for "
            "your own files use --train_file"
        )
    try:
        splits = load_dataset(name)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"the data set {name!r} cannot be loaded: {lines[0][:300]}") from error
    if "train" not in splits:
        raise InputError(f"the data set {name!r} has no split 'train': its splits are {', '.join(splits)}")
    tables = {split: _to_table(splits[split], split) for split in ("train", "validation", "test") if split in splits}
    return to_text_and_label(tables, text_column, label_column)


def _to_table(rows: "Dataset", split: str) -> "pd.DataFrame":
    from datasets import ClassLabel

    table = rows.to_pandas().astype(object)
    table = table.where(table.notna(), None)
    for column, feature in rows.features.items():
        if isinstance(feature, ClassLabel):
            known = [None if label is None or label < 0 else feature.int2str(int(label)) for label in table[column]]
            if split == "test" and all(label is None for label in known):
                table = table.drop(columns=column)
            else:
                table[column] = known
    return table
