"""The data sets that have a name: the demo of the package, those of the paper, and TREC."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .emotion_entries import EMOTION_ENTRIES
from .entry import DatasetEntry, LoadReport
from .question_entries import QUESTION_ENTRIES
from .topic_entries import TOPIC_ENTRIES

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset, DatasetDict

_DEMO = "demo"
_ENTRIES = {item.name: item for item in (*EMOTION_ENTRIES, *TOPIC_ENTRIES, *QUESTION_ENTRIES)}


def names() -> list[str]:
    """Return the names that [`load`] knows.

    Example:
        >>> "demo" in names()
        True
    """
    return sorted([*_ENTRIES, _DEMO])


def entry(name: str) -> DatasetEntry:
    """Return what is known about a data set: source, licence, labels, sizes, metric.

    Raises:
        InputError: the name is unknown.

    Example:
        >>> entry("ag-news").label_names
        ('World', 'Sports', 'Business', 'Sci/Tech')
    """
    if name == _DEMO:
        return _demo_entry()
    if name not in _ENTRIES:
        raise InputError(f"the data set {name!r} has no entry here: the names are {', '.join(names())}")
    return _ENTRIES[name]


def load(name: str, data_dir: str | None = None) -> "DatasetDict":
    """Load a data set by its name; [`load_with_report`] also says what was dropped.

    Args:
        name: one of [`names`].
        data_dir: folder with the files of the original release, or with train.csv, validation.csv and test.csv
            (columns text and label); None loads from the Hub, where the data set is there.

    Returns:
        Splits with the features `text` (string) and `label` (`ClassLabel`, names as in [`entry`]). The description in
        the splits' `info` says what was dropped.

    Raises:
        InputError: the name is unknown, the data set does not take a folder or needs one, or files are missing.

    Example:
        >>> load("demo")["train"].column_names
        ['text', 'label']
    """
    return load_with_report(name, data_dir)[0]


def load_with_report(name: str, data_dir: str | None = None) -> "tuple[DatasetDict, LoadReport]":
    """Load a data set by its name, and say what was read, kept and dropped.

    Data sets in which a text can have several labels are reduced to the texts with exactly one. A source without a
    validation split gives a tenth of its training data, chosen by a hash of the text (`rows.hash_share`).

    Args:
        name: one of [`names`].
        data_dir: as for [`load`].

    Returns:
        The splits as [`load`] returns them, and the report.

    Raises:
        InputError: as [`load`] does.

    Example:
        >>> load_with_report("demo")[1].rows_kept["test"]
        2007
    """
    found = entry(name)
    if name == _DEMO:
        return _load_demo(data_dir)
    if data_dir is None:
        _check_access(found)
    elif not Path(data_dir).is_dir():
        raise InputError(f"{data_dir}: no such folder. It should hold the data set {name!r}: {found.files}")
    from . import hub, plain_csv
    from .rows import Rows

    rows = Rows(found)
    if data_dir is None:
        format_name = hub.read(found, rows)
        return rows.finish(f"{found.hub_id} at {found.revision or 'its newest version'}", format_name)
    folder = Path(data_dir)
    if plain_csv.is_plain(folder):
        format_name = plain_csv.read(folder, rows)
    else:
        format_name = import_module(f".{found.reader}", __package__).read(folder, rows)
    return rows.finish(str(data_dir), format_name)


def _check_access(found: DatasetEntry) -> None:
    if found.hub_id is not None:
        return
    kind, _, whom = found.access.partition(": ")
    how = f"must be requested from {whom}" if kind == "request" else f"must be downloaded from {found.source_url}"
    raise InputError(
        f"the data set {found.name!r} {how}. Then give its folder as data_dir, with {found.files}; or with train.csv, "
        "validation.csv and test.csv (columns text and label)"
    )


def _load_demo(data_dir: str | None) -> "tuple[DatasetDict, LoadReport]":
    from .demo import load_demo

    if data_dir is not None:
        raise InputError("the data set 'demo' is part of the package: leave data_dir out")
    data = load_demo()
    sizes = {split: len(rows) for split, rows in data.items()}
    return data, LoadReport(_DEMO, "the package", "demo", sizes, sizes, {})


def _demo_entry() -> DatasetEntry:
    # Here, because the demo's own file needs `datasets`, which takes a second to import.
    from . import demo

    return DatasetEntry(
        name=_DEMO,
        description=demo.DEMO_DESCRIPTION,
        label_names=demo.DEMO_LABELS,
        licence=demo.DEMO_LICENSE,
        citation=demo.DEMO_CITATION,
        access="package",
        geometry="none",
        metric="f1_macro",
        split_sizes=demo.DEMO_SIZES,
        files="nothing: it is part of the package",
        text_fields=("definition",),
        reader="demo",
    )


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
