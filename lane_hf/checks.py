"""Checks of training data: each bad input has a message of its own that says what to do."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from .errors import InputError

_SHOWN = 5  # how many bad rows a message names
_REFUSED_PROBLEMS = {
    "multi_label_classification": "multi-label classification",
    "regression": "regression",
}


def check_task(config: Any, num_labels: int) -> None:
    """Raise `InputError` unless the model is a classifier with one label a row.

    Args:
        config: the model's configuration, or None.
        num_labels: number of labels.
    """
    problem = getattr(config, "problem_type", None)
    if problem in _REFUSED_PROBLEMS:
        raise InputError(
            f"the model's problem_type is {problem!r}: {_REFUSED_PROBLEMS[problem]} is not supported, only "
            "classification with one label a row"
        )
    if num_labels < 2:  # noqa: PLR2004
        raise InputError(
            f"the model has {num_labels} label: at least 2 are needed (num_labels=1 is regression in Transformers)"
        )


def check_map_style(dataset: Any) -> None:
    """Raise `InputError` unless the data set has a length and rows that can be fetched by number."""
    if dataset is None:
        return
    if isinstance(dataset, torch.utils.data.IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise InputError(
            "the training set is iterable: its rows have no fixed numbers, so no margin can be averaged per row. Load "
            "it as a map-style data set (load_dataset(..., streaming=False), or Dataset.from_generator)"
        )
    if not hasattr(dataset, "__len__"):
        raise InputError("the training set has no length: margins are averaged per row, so it needs __len__")
    if len(dataset) == 0:
        raise InputError("the training set is empty: there is nothing to train on")


def check_sharing(args: Any, views_per_row: int) -> None:
    """Raise `InputError` unless several processes can share the rows of each step.

    Args:
        args: the training arguments.
        views_per_row: how many entries of a batch belong to each row.
    """
    config = args.accelerator_config
    if not args.dataloader_in_order and args.dataloader_num_workers > 0:
        raise InputError(
            "dataloader_in_order=False lets batches overtake each other, and what fills up the last one would be "
            "taken for rows of another: leave it out, or train with one process"
        )
    if not config.even_batches:
        raise InputError(
            "even_batches=False gives the processes unequal numbers of batches, and those that have more would wait "
            "for ever: leave it out. Rows that fill up the last batch are not counted twice here"
        )
    if config.dispatch_batches and views_per_row > 1:
        raise InputError(
            "dispatch_batches=True may tear a row and its views apart: leave it out, so that every process makes the "
            "views of its own rows"
        )


def warn_of_arguments(args: Any) -> None:
    """Say what Accelerate ignores on processors, half precision and the other processes, and what to do."""
    if args.fp16 and args.device.type == "cpu":
        warnings.warn(
            "fp16 does nothing on a processor, training is in float32: set bf16 instead, or leave it out",
            stacklevel=2,
        )
    started = os.environ.get("WORLD_SIZE", "1")  # as torchrun says it
    if started.isdecimal() and int(started) > 1 and args.world_size == 1:
        warnings.warn(
            f"{started} processes were started, but each of them trains by itself: on processors set use_cpu=True in "
            "the arguments, and they train together",
            stacklevel=2,
        )


def refuse_loss(what: str) -> NoReturn:
    """Raise `InputError` for a loss that is none of a method, with what to do.

    Args:
        what: what was given, and why it cannot be used.
    """
    raise InputError(
        f"{what}. A loss of your own, such as one with class weights, is a method: override loss_of of "
        "BaselineTrainer (lane_hf.baselines.base has an example)"
    )


def check_label_column(dataset: Any, raw: Any, names: Sequence[str], num_labels: int, is_needed: bool) -> None:
    """Check the labels of a data set with columns, where they can be read without its transform.

    Args:
        dataset: the data set, with `column_names`.
        raw: the same, whose columns are arrays.
        names: names under which the labels may stand.
        num_labels: number of labels of the model.
        is_needed: whether there must be such a column; else a collator may make the labels.

    Raises:
        InputError: there is no such column, or it holds no class indices of the model.
    """
    if getattr(dataset, "format", {}).get("type") == "custom":
        return  # batches are checked as they come
    column = next((name for name in names if name in dataset.column_names), None)
    if column is not None:
        is_text = getattr(getattr(dataset, "features", {}).get(column), "dtype", None) in ("string", "large_string")
        # One text is enough to refuse; all of them could fill the memory.
        check_labels(raw[column][: 1 if is_text else len(dataset)], num_labels, column)
    elif is_needed:
        raise InputError(
            f"the training set has no label column: expected one of {', '.join(map(repr, names))}, found "
            f"{', '.join(map(repr, dataset.column_names))}. Rename the column, or set label_names"
        )


def check_labels(labels: Any, num_labels: int, column: str) -> np.ndarray:
    """Check a whole column of labels and return it as int64.

    Warns when a class has no row.

    Args:
        labels: `[N]` labels as the data set holds them.
        num_labels: number of labels of the model.
        column: the column's name, for messages.

    Raises:
        InputError: missing, -100, out of range, text, float, multi-hot or per-token labels.
    """
    array = _as_integers(labels, column)
    _check_range(array, num_labels, column)
    empty = np.setdiff1d(np.arange(num_labels), array)
    if len(empty):
        shown = ", ".join(map(str, empty[:_SHOWN])) + (", ..." if len(empty) > _SHOWN else "")
        warnings.warn(
            f"{len(empty)} of {num_labels} labels have no row in the training set (label {shown}): they cannot be "
            "learned, nor suggested for other rows",
            stacklevel=2,
        )
    return array


def check_batch_labels(batch: Mapping[str, Any], names: Sequence[str], num_labels: int, row_ids: Tensor) -> None:
    """Check the labels of a collated batch.

    Args:
        batch: what the collator returned.
        names: names under which the labels may stand.
        num_labels: number of labels of the model.
        row_ids: `[B]` positions in the training set, for messages.

    Raises:
        InputError: no labels, or labels that are no class indices in `0..num_labels-1`.
    """
    name = next((name for name in names if batch.get(name) is not None), None)
    if name is None:
        raise InputError(
            f"the training batches have no labels: expected one of {', '.join(map(repr, names))}, found "
            f"{', '.join(map(repr, sorted(batch)))}. Check the label column and label_names"
        )
    _check_range(_as_integers(batch[name], name, row_ids.numpy()), num_labels, name, row_ids.numpy())


def check_order(examples: Sequence[Any], batch: Mapping[str, Any], names: Sequence[str], entries: int) -> None:
    """Check that a collator has given back the rows that it got, in their order, as far as their labels tell.

    Args:
        examples: what the collator got.
        batch: what it returned, with labels.
        names: names under which labels may stand.
        entries: how many entries there should be: rows, or rows and their views.

    Raises:
        InputError: rows were left out, repeated or moved: each would be taken for another one.
    """
    labels = _as_array(next(batch[name] for name in names if batch.get(name) is not None), "labels")
    if len(labels) != entries:
        raise InputError(
            f"the data collator made a batch of {len(labels)} entries where {entries} were expected: it must give "
            "back every example once, in the order in which it gets them"
        )
    name = next((name for name in names if isinstance(examples[0], Mapping) and name in examples[0]), None)
    given = np.asarray([example[name] for example in examples]) if name is not None else np.empty(0)
    if given.dtype.kind not in "iub" or given.ndim != 1:
        return  # the collator makes the labels
    pairs = [(int(label), int(made)) for label, made in zip(given, labels[:: entries // len(examples)], strict=True)]
    before, after = zip(*pairs, strict=True)
    # A collator may give each label another number; the same ones in another order come from rows that moved.
    is_renumbered = len(set(pairs)) == len(set(before))
    if not is_renumbered and sorted(before) == sorted(after):
        raise InputError(
            "the data collator returns the rows of a batch in another order than it gets them: margins and weights "
            "would go to other rows. Sort nothing in the collator (train_sampling_strategy='group_by_length' puts "
            "rows of similar length together)"
        )


def check_row_id_column(row_ids: Any) -> np.ndarray:
    """Check a user's own row ids and return them as int64.

    Raises:
        InputError: the ids are no integers, or some occur more than once.
    """
    try:
        array = np.asarray(row_ids)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iu":
        raise InputError(f"the column 'row_id' must hold integers, found {array.dtype}: convert or rename it")
    values, counts = np.unique(array, return_counts=True)
    if (counts > 1).any():
        repeated = values[counts > 1]
        raise InputError(
            f"the column 'row_id' must be unique, but {len(repeated)} ids occur more than once (for example "
            f"{repeated[0]}): rename the column, or make the ids unique"
        )
    return array.astype(np.int64)


def _as_integers(labels: Any, column: str, row_ids: np.ndarray | None = None) -> np.ndarray:
    """Return labels as int64, or say what else they are."""
    array = _as_array(labels, column)
    if array.ndim != 1 or (array.dtype == object and any(isinstance(item, (list, np.ndarray)) for item in array)):
        _refuse_lists(column, f"shape {list(array.shape)}")
    if array.dtype == object and any(item is None for item in array):
        raise InputError(_name_rows(f"labels in {column!r} are missing (None)", [x is None for x in array], row_ids))
    if array.dtype == object and not any(isinstance(item, (str, bytes)) for item in array):
        array = np.asarray(array.tolist())  # numbers as Python objects
    if array.dtype.kind in "OUST":
        _refuse_text(column)
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise InputError(_name_rows(f"labels in {column!r} are missing (NaN)", np.isnan(array), row_ids))
        raise InputError(
            f"labels in {column!r} are floating-point numbers: regression and soft labels are not supported, "
            "give class indices (integers)"
        )
    return array.astype(np.int64, copy=False)


def _as_array(labels: Any, column: str) -> np.ndarray:
    if isinstance(labels, Tensor):
        return (labels.float() if labels.is_floating_point() else labels).cpu().numpy()  # NumPy has no bfloat16
    # Found before NumPy makes an array with room for the longest text in every row.
    if isinstance(labels, (list, tuple)) and any(isinstance(label, (str, bytes)) for label in labels):
        _refuse_text(column)
    try:
        return np.asarray(labels)
    except ValueError:
        return _refuse_lists(column, "of different lengths")


def _check_range(labels: np.ndarray, num_labels: int, column: str, row_ids: np.ndarray | None = None) -> None:
    ignored = labels == -100  # noqa: PLR2004 -- the index that PyTorch's cross-entropy ignores
    if ignored.any():
        raise InputError(
            _name_rows(f"{column!r} has the label -100 (rows without a label)", ignored, row_ids)
            + "; remove the rows without a label"
        )
    bad = (labels < 0) | (labels >= num_labels)
    if bad.any():
        found = sorted(set(labels[bad].tolist()))[:_SHOWN]
        raise InputError(
            _name_rows(f"labels in {column!r} are out of range: found {found}", bad, row_ids)
            + f"; the model has {num_labels} labels (0 to {num_labels - 1})"
        )


def _refuse_lists(column: str, sizes: str) -> NoReturn:
    raise InputError(
        f"labels in {column!r} are lists ({sizes}): multi-label classification and token classification are not "
        "supported, only one class index a row"
    )


def _refuse_text(column: str) -> NoReturn:
    raise InputError(
        f"labels in {column!r} are text: encode them first, for example with dataset.class_encode_column({column!r})"
    )


def _name_rows(message: str, bad: Any, row_ids: np.ndarray | None = None) -> str:
    positions = np.flatnonzero(np.asarray(bad))
    rows = positions if row_ids is None else row_ids[positions]
    shown = ", ".join(str(row) for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
    return f"{message}: {len(rows)} row{'s' if len(rows) > 1 else ''} (row {shown})"
