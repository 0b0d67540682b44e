"""The data of the main job: load, spoil, collate."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from transformers import DataCollatorWithPadding, IntervalStrategy, PreTrainedTokenizerBase

from .augmentation.collator import ColumnView, TextView, TokenView, View, ViewsCollator
from .datasets import load, names
from .datasets.columns import to_text_and_label
from .datasets.registry import entry, load_from_hub
from .datasets.tables import read_table
from .errors import InputError
from .label_space import distances_for, named_ordinal_distances
from .noisy_dataset import inject_into_dataset
from .run_arguments import DEMO, DataArguments, RunConfig

_DEMO_NOISE = 0.2
_DEMO_ROWS = 2500  # as many as two networks learn from in five minutes on two processor cores


def prepare_data(args: DataArguments, config: RunConfig) -> DatasetDict:
    """Load the splits, take a subset of the training rows if asked, and spoil labels if asked.

    Returns:
        Splits with `text` and `label`; after label noise the training split has `is_flipped` and `original_label` too.

    Raises:
        InputError: a file, column, name or rate is wrong, or a split that is asked for is missing.
    """
    data = _load_splits(args)
    _check_splits(data, config)
    is_demo = _is_demo(args)
    limit = args.max_train_samples or (_DEMO_ROWS if is_demo else None)
    if limit is not None and limit < len(data["train"]):
        data["train"] = data["train"].shuffle(seed=config.seed).select(range(limit))
    rate = noise_rate(args)
    if rate > 0:
        seed = config.seed if args.noise_seed is None else args.noise_seed
        distances = given_distances(args, data["train"], required=True) if args.noise_kind == "semantic" else None
        data["train"] = inject_into_dataset(
            data["train"], kind=args.noise_kind, rate=rate, seed=seed, distances=distances, gamma=args.noise_gamma
        )
    return data


def noise_rate(args: DataArguments) -> float:
    """Return the share of training labels to spoil: what was asked for, or a fifth on the demo data."""
    return args.label_noise if args.label_noise is not None else (_DEMO_NOISE if _is_demo(args) else 0.0)


def _is_demo(args: DataArguments) -> bool:
    return args.train_file is None and args.dataset in (None, DEMO)


def given_distances(args: DataArguments, train: Dataset, required: bool = False) -> np.ndarray | None:
    """Return the distances `[K, K]` of the labels that the arguments or the data set's entry give.

    Args:
        args: the arguments.
        train: rows with their label names.
        required: raise if there are none, instead of returning None.

    Raises:
        InputError: the labels have no such geometry.
    """
    geometry: str | None = args.label_geometry
    if geometry is None:
        name = args.dataset if args.train_file is None else None
        geometry = entry(name).noise_geometry if name is not None and name in names() else "none"
        if geometry == "none" and required:
            raise InputError(
                "semantic noise needs distances of the labels, which have no known ones: give --label_geometry "
                "ordinal (with --label_order) or plutchik (labels are emotions), or choose another --noise_kind"
            )
        if geometry == "none":
            return None
    elif geometry == "ordinal":
        return named_ordinal_distances(train.features["label"].names, args.label_order)
    return distances_for(geometry, train.features["label"].names)


def _load_splits(args: DataArguments) -> DatasetDict:
    if args.train_file is not None:
        given = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        files = {split: path for split, path in given.items() if path is not None}
        tables = {split: read_table(path) for split, path in files.items()}
        return to_text_and_label(tables, args.text_column, args.label_column, args.view_columns or (), sources=files)
    name = args.dataset or DEMO
    if name in names():
        return load(name, args.data_dir)
    return load_from_hub(name, args.text_column, args.label_column)


def _check_splits(data: DatasetDict, config: RunConfig) -> None:
    for flag, split in (("do_eval", "validation"), ("do_predict", "test")):
        if split in data:
            continue
        if flag in config.steps_chosen:
            raise InputError(f"--{flag} needs {split} data: give --{split}_file, or a data set that has it")
        setattr(config, flag, False)
        if split == "validation":  # evaluation during training needs it as well
            config.eval_strategy = IntervalStrategy.NO


def make_collator(args: DataArguments, tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int) -> Any:
    """Return the collator that pads, and makes views of the training rows if asked.

    Raises:
        InputError: an argument of the augmentation makes no sense.
    """
    pad = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if torch.cuda.is_available() else None)
    if args.augmentation == "none":
        return pad
    limit = min(max_length, tokenizer.model_max_length)
    return ViewsCollator(pad, _make_view(args, tokenizer, limit), args.num_views, seed)


def _make_view(args: DataArguments, tokenizer: PreTrainedTokenizerBase, limit: int) -> View:
    if args.augmentation == "synonym":
        from .augmentation.synonym import SynonymReplacement

        return TextView(SynonymReplacement(args.augmentation_rate).augment, tokenizer, max_length=limit)
    if args.augmentation == "switchout":
        from .augmentation.switchout import SwitchOut

        return TokenView(SwitchOut(tokenizer, temperature=args.augmentation_temperature).augment)
    if not args.view_columns or args.train_file is None:
        raise InputError(
            "augmentation='columns' takes its views from columns of train_file: name them with --view_columns"
        )
    return ColumnView(args.view_columns, tokenizer, limit)
