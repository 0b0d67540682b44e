"""Label noise in a `datasets.Dataset`, with a record of which rows it has changed."""

import numpy as np
from datasets import ClassLabel, Dataset, Value
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .noise import FLIPPED_COLUMN, ORIGINAL_COLUMN, inject


def inject_into_dataset(
    dataset: Dataset,
    *,
    label_column: str = "label",
    kind: str | ArrayLike,
    rate: float | None = None,
    seed: int,
    distances: ArrayLike | None = None,
    gamma: float = 1.0,
    binomial: bool = False,
) -> Dataset:
    """Make some labels of one split wrong, and keep the record in two new columns.

    Give the train split only: noise in the validation or test split would spoil what you measure.

    Args:
        dataset: one `datasets.Dataset`; it is not modified.
        label_column: name of its label column, of type ClassLabel or an integer.
        kind: as `kind_or_matrix` of `lane_hf.noise.inject`. K is the ClassLabel's number of classes; for a plain
            integer column it is the size of the matrix or of `distances`, or else the highest label plus one.
        rate, seed, distances, gamma, binomial: as in `lane_hf.noise.inject`.

    Returns:
        A new dataset with the same rows, columns, types and format. Its label column is noisy; the new columns are
        `is_flipped` (bool: the label was changed) and `original_label` (type of the label column).

    Raises:
        InputError: if it is not one Dataset, the label column is missing, has another type or missing labels, one of
            the new columns exists already; and as `inject` does.

    Example:
        >>> from datasets import Dataset
        >>> train = Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": [0, 1, 0, 1]})
        >>> noisy = inject_into_dataset(train, kind="uniform", rate=0.5, seed=0)
        >>> noisy.column_names, sum(noisy["is_flipped"])
        (['text', 'label', 'is_flipped', 'original_label'], 2)
    """
    true, num_labels = _read_label_column(dataset, label_column)
    noisy = inject(
        true, kind, rate=rate, seed=seed, num_labels=num_labels, distances=distances, gamma=gamma, binomial=binomial
    )
    columns = [*dataset.column_names, FLIPPED_COLUMN, ORIGINAL_COLUMN]
    label_type = dataset.features[label_column]
    return (
        # The old column stays what it is, under a new name: its type and values survive without a conversion.
        dataset.rename_column(label_column, ORIGINAL_COLUMN)
        .add_column(label_column, noisy.labels, feature=label_type)
        .add_column(FLIPPED_COLUMN, noisy.is_flipped, feature=Value("bool"))
        .select_columns(columns)
    )


def _read_label_column(dataset: Dataset, label_column: str) -> tuple[NDArray[np.int64], int | None]:
    """The labels `[N]` and the number of labels, if the column's type knows it."""
    if not isinstance(dataset, Dataset):
        raise InputError(f"give one datasets.Dataset (such as splits['train']), got {type(dataset).__name__}")
    taken = [name for name in (FLIPPED_COLUMN, ORIGINAL_COLUMN) if name in dataset.column_names]
    if taken:
        raise InputError(f"the dataset has {' and '.join(map(repr, taken))} already: rename, or start from clean data")
    if label_column not in dataset.column_names:
        raise InputError(f"there is no column {label_column!r}: the columns are {', '.join(dataset.column_names)}")
    feature = dataset.features[label_column]
    is_class_label = isinstance(feature, ClassLabel)
    if not is_class_label and not (isinstance(feature, Value) and feature.dtype.startswith(("int", "uint"))):
        raise InputError(
            f"column {label_column!r} must be a ClassLabel or an integer, not {feature}: "
            f"for label names use dataset.class_encode_column({label_column!r})"
        )
    # Through Arrow: missing labels stay visible, and a set format (torch, numpy, a transform) plays no part.
    column = dataset.select_columns([label_column]).with_format("arrow")[:][label_column]
    if column.null_count:
        raise InputError(f"column {label_column!r} has {column.null_count} missing labels: leave out these rows")
    return column.to_numpy(), feature.num_classes if is_class_label else None
