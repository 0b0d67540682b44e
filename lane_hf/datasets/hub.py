"""Reading a data set of the registry from the Hub."""

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .entry import DatasetEntry
from .rows import Rows

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = ["FORMAT", "read"]

FORMAT = "copy on the Hub"
_SPLITS = ("train", "validation", "test")
_MESSAGE_LENGTH = 300


def read(entry: DatasetEntry, rows: Rows) -> str:
    """Read the splits into `rows`, by class id.

    Raises:
        InputError: the copy cannot be loaded, or is not the one that the entry describes.
    """
    splits = _load(entry)
    if "train" not in splits:
        raise InputError(f"{entry.hub_id}: no split 'train': the splits are {', '.join(splits)}")
    for split in _SPLITS:
        if split not in splits:
            continue
        data = splits[split]
        wanted = [*entry.hub_text_fields, entry.hub_label_field]
        absent = [column for column in wanted if column not in data.column_names]
        if absent:
            raise InputError(
                f"{entry.hub_id}: no column {absent[0]!r}: the columns are {', '.join(data.column_names)}"
            )
        _check_classes(entry, data.features[entry.hub_label_field])
        for batch in data.select_columns(wanted).iter(1000):
            texts = zip(*(batch[column] for column in entry.hub_text_fields), strict=True)
            for parts, label in zip(texts, batch[entry.hub_label_field], strict=True):
                text = entry.text_separator.join(part.strip() for part in parts if part and part.strip())
                rows.add(split, text, _ids(label))
    return FORMAT


def _load(entry: DatasetEntry) -> "DatasetDict":
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        return datasets.load_dataset(entry.hub_id, entry.hub_config, revision=entry.revision)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"the data set {entry.name!r} cannot be loaded from the Hub ({entry.hub_id}): "
            f"{lines[0][:_MESSAGE_LENGTH]}. Without the Hub, give a data_dir with {entry.files}"
        ) from error


def _check_classes(entry: DatasetEntry, feature: Any) -> None:
    # Names may differ in spelling, their number may not: class ids are taken as they are.
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if names is not None and len(names) != len(entry.label_names):
        raise InputError(f"{entry.hub_id}: {len(names)} classes, but {entry.name!r} has {len(entry.label_names)}")


def _ids(label: Any) -> list[int]:
    if label is None:
        return []
    return list(label) if isinstance(label, list) else [label]
