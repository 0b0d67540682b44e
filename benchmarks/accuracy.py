"""Accuracy under label noise: a grid of data sets, noises, methods and seeds, one JSON line a run.

    python benchmarks/accuracy.py --data_dir DATA --datasets trec sst5 --noise clean uniform:0.4 --methods plain lane \
        --seeds 1 2 3 --output results.jsonl

DATA holds a folder for each data set with `train.csv`, `validation.csv` and `test.csv` (columns text, label). Cells
that already stand in the output are skipped, so a killed grid goes on where it was. A method is `paper`, or one that
`lane train --method` knows, also with settings: `lane[weighting=gaussian,contrastive=lscl]`, `gce[gce_q=0.5]`.
A noise is `clean`, `KIND:RATE`, or `column:NAME`: labels that stand in another column of the training and validation
tables, such as those of one annotator where `label` is that of many.

Same budget, schedule and batch size for every method. Nothing is chosen on clean labels: training and validation
labels are spoiled alike, the headline is the last epoch, and the best epoch is the one with the best accuracy on the
noisy validation set.
"""

import argparse
import itertools
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from datasets import Dataset, DatasetDict, Value
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
    TrainerCallback,
)

from lane_hf import LaneConfig, LaneTrainer, RowTrainer
from lane_hf.baselines.staged import StagedTrainer
from lane_hf.datasets import names as registered
from lane_hf.datasets.columns import to_text_and_label
from lane_hf.datasets.registry import entry
from lane_hf.datasets.tables import read_table
from lane_hf.errors import InputError
from lane_hf.label_space import distances_for, named_ordinal_distances
from lane_hf.method_config import MethodConfig
from lane_hf.methods import method_of
from lane_hf.metrics import compute_metrics
from lane_hf.noise import FLIPPED_COLUMN, ORIGINAL_COLUMN
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.packaged_model import default_model
from lane_hf.run import detection_metrics
from lane_hf.run_arguments import has_fast_bf16
from lane_hf.tokenisation import tokenise

KEY = ("dataset", "noise", "method", "seed", "settings")
_AUXILIARY = ", auxiliary_layers="


def revision() -> str:
    """Return the commit that is checked out, or nothing."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


# That of the code which runs: a long grid may outlive it on disk.
REVISION = revision()


class EpochScores(TrainerCallback):
    """Notes validation and test scores after every epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict | None = None, **kwargs: Any) -> None:
        """Keep accuracy and F1 of the set that was evaluated."""
        epoch = round(state.epoch, 2)
        if not self.epochs or self.epochs[-1]["epoch"] != epoch:
            self.epochs.append({"epoch": epoch})
        kept = {name: value for name, value in metrics.items() if "accuracy" in name or "f1" in name}
        self.epochs[-1].update({name.removeprefix("eval_"): value for name, value in kept.items()})


def load(folder: Path, max_train: int | None, noise: str = "clean") -> DatasetDict:
    """Read a data set; for `column:NAME`, training and validation rows are labelled by that column.

    Raises:
        InputError: a table cannot be read, has no such column, or one with a label that is not the data set's.
    """
    tables = {split: read_table(folder / f"{split}.csv") for split in ("train", "validation", "test")}
    data = to_text_and_label(tables, text_column="text", label_column="label")
    kind, _, given = noise.partition(":")
    if kind == "column":
        for split in ("train", "validation"):
            data[split] = relabel(data[split], tables[split], given, folder / f"{split}.csv")
    if max_train is not None and max_train < len(data["train"]):
        data["train"] = data["train"].shuffle(seed=13).select(range(max_train))
    return data


def distances_of(dataset: str, geometry: str, names: list[str]) -> np.ndarray:
    """Return the distances `[K, K]` of labels, in the order of `names`.

    A csv file does not say which of its labels is the lowest: their ranks are those of the data set of this name.

    Raises:
        InputError: the order of ordinal labels is not known.
    """
    if geometry != "ordinal":
        return distances_for(geometry, names)
    known = list(entry(dataset).label_names) if dataset in registered() else []
    if sorted(known) != sorted(names):
        raise InputError(f"{dataset}: the ranks of its labels are not known, which semantic-ordinal noise needs")
    return named_ordinal_distances(names, known)


def relabel(rows: Dataset, table: pd.DataFrame, given: str, file: Path) -> Dataset:
    """Label rows by another column of their table; what is right and wrong is kept as noise injection keeps it.

    Raises:
        InputError: there is no such column, or a label in it is not one of the data set's.
    """
    if given not in table.columns:
        raise InputError(f"{file}: no column {given!r}, which the noise column:{given} needs")
    feature = rows.features["label"]
    unknown = set(table[given]) - set(feature.names)
    if unknown:
        raise InputError(f"{file}: {next(iter(unknown))!r} in the column {given!r} is no label of the training table")
    labels = [feature.str2int(name) for name in table[given]]
    flipped = np.asarray(labels) != np.asarray(rows["label"])
    return (
        rows.rename_column("label", ORIGINAL_COLUMN)
        .add_column("label", labels, feature=feature)
        .add_column(FLIPPED_COLUMN, flipped.tolist(), feature=Value("bool"))
    )


def spoil(data: DatasetDict, noise: str, seed: int, dataset: str = "") -> DatasetDict:
    """Spoil training and validation labels alike; the test labels stay as they are.

    The labels of `column:NAME` were read by `load` and stay as well.

    Raises:
        InputError: the noise cannot be understood.
    """
    kind, _, rate = noise.partition(":")
    if noise == "clean" or kind == "column":
        return data
    try:
        options: dict[str, Any] = {"kind": kind, "rate": float(rate)}
    except ValueError:
        raise InputError(f"noise {noise!r}: expected clean, KIND:RATE such as uniform:0.4, or column:NAME") from None
    if kind.startswith("semantic-"):
        names = data["train"].features["label"].names
        options["distances"] = distances_of(dataset, kind.removeprefix("semantic-"), names)
        options["kind"] = "semantic"
    spoiled = {split: inject_into_dataset(data[split], seed=seed, **options) for split in ("train", "validation")}
    spoiled["validation"] = spoiled["validation"].remove_columns([FLIPPED_COLUMN, ORIGINAL_COLUMN])
    return DatasetDict({**data, **spoiled})


def by_length(rows: Dataset) -> Dataset:
    """Return the rows from the shortest to the longest: scores stay the same, and batches hold little padding."""
    return rows.select(np.argsort([len(ids) for ids in rows["input_ids"]], kind="stable"))


def make_config(method: str, base: dict[str, Any]) -> tuple[type[RowTrainer], MethodConfig]:
    """Return the trainer that a cell's method names, and its arguments."""
    name, _, rest = method.partition("[")
    given = [f"--{part.strip().replace('=', ' ')}".split() for part in rest.rstrip("]").split(",") if part.strip()]
    if name == "paper":
        return LaneTrainer, LaneConfig.paper(**base)
    chosen = method_of(name)
    # The command line's own parser turns the settings of a method into values.
    arguments = list(itertools.chain(*given))
    parsed = HfArgumentParser(chosen.config).parse_args_into_dataclasses(["--output_dir", "x", *arguments])[0]
    changed = {part[0].removeprefix("--"): getattr(parsed, part[0].removeprefix("--")) for part in given}
    return chosen.trainer, chosen.config(**{**base, **chosen.fixed, **changed})


def run_cell(cell: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    data = load(args.data_dir / cell["dataset"], args.max_train_samples, cell["noise"])
    data = spoil(data, cell["noise"], cell["seed"], cell["dataset"])
    names = data["train"].features["label"].names
    tokenizer = AutoTokenizer.from_pretrained(args.model)

    def network(layers: int | None, seed: int) -> Any:
        depth = {"num_hidden_layers": layers} if layers else {}
        transformers.set_seed(seed)
        return AutoModelForSequenceClassification.from_pretrained(
            args.model, num_labels=len(names), id2label=dict(enumerate(names)), dtype=torch.float32, **depth
        )

    def fresh_model() -> Any:
        return network(args.layers, cell["seed"])

    tokenised = tokenise(data, tokenizer, args.max_length)
    scores = EpochScores()
    with tempfile.TemporaryDirectory() as folder:
        kind, config = make_config(without_auxiliary(cell["method"]), base_arguments(folder, cell["seed"], args))
        stages = issubclass(kind, StagedTrainer)
        # The second network begins with the pretrained weights of its first layers, and a head of its own.
        has_small = args.auxiliary_layers and getattr(config, "auxiliary", "none") == "full"
        trainer = kind(
            **({"auxiliary_model": network(args.auxiliary_layers, cell["seed"] + 1)} if has_small else {}),
            model=None if stages else fresh_model(),
            model_init=fresh_model if stages else None,
            args=config,
            train_dataset=tokenised["train"],
            eval_dataset={split: by_length(tokenised[split]) for split in ("validation", "test")},
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            compute_metrics=compute_metrics,
            callbacks=[scores],
        )
        metrics = trainer.train().metrics
        steps = metrics.get("train_steps", trainer.state.global_step)
        result = {"epochs": scores.epochs, "train_seconds": metrics["train_runtime"], "train_steps": steps}
        if FLIPPED_COLUMN in data["train"].column_names:
            issues = trainer.label_issues()
            issues[FLIPPED_COLUMN] = np.asarray(data["train"][FLIPPED_COLUMN])[issues["row_id"].to_numpy()]
            result |= noise_scores(trainer, issues, data["train"], tokenised["train"])
            if args.tables is not None:
                keep_table(args.tables, cell, issues, data["train"])
    memory = {"peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if torch.cuda.is_available():
        memory["gpu_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return {**cell, **result, "seconds": time.perf_counter() - started, **memory, **environment(args)}


def base_arguments(folder: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    use_cpu = not torch.cuda.is_available()
    return {
        "output_dir": folder,
        "num_train_epochs": args.epochs,
        "per_device_train_batch_size": args.batch_size,
        "per_device_eval_batch_size": 128,
        "learning_rate": args.learning_rate,
        "weight_decay": 0.01,
        "warmup_steps": 0.06,
        "train_sampling_strategy": "group_by_length",
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_strategy": "epoch",
        "report_to": "none",
        "seed": seed,
        "bf16": has_fast_bf16(),
        "use_cpu": use_cpu,
        "disable_tqdm": True,
    }


def keep_table(folder: Path, cell: dict[str, Any], issues: Any, rows: Any) -> None:
    """Write a cell's label table, with the names of the original labels, under a name made of the cell."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.asarray(rows.features["label"].names)
    original = names[np.asarray(rows[ORIGINAL_COLUMN])[issues["row_id"].to_numpy()]]
    name = "-".join(str(cell[part]) for part in ("dataset", "noise", "seed", "method"))
    issues.assign(**{ORIGINAL_COLUMN: original}).to_parquet(folder / f"{name}.parquet", index=False)


def noise_scores(trainer: RowTrainer, issues: Any, rows: Any, tokenised: Any) -> dict[str, float]:
    """Score the label table, and how many of the flipped rows the final model gives their wrong label."""
    flipped = np.asarray(rows[FLIPPED_COLUMN])
    found = issues["is_issue"].to_numpy()
    truth = issues[FLIPPED_COLUMN].to_numpy()
    predicted = trainer.predict(tokenised.select(np.flatnonzero(flipped))).predictions.argmax(axis=1)
    wrong, right = (np.asarray(rows[name])[flipped] for name in ("label", ORIGINAL_COLUMN))
    return {
        **detection_metrics(issues),
        "issue_precision": float(truth[found].mean()) if found.any() else None,
        "issue_recall": float(found[truth].mean()),
        "mean_weight_clean": float(issues["weight"][~truth].mean()),
        "mean_weight_flipped": float(issues["weight"][truth].mean()),
        "memorised": float((predicted == wrong).mean()),
        "recovered": float((predicted == right).mean()),
    }


def name_with_auxiliary(name: str, args: argparse.Namespace) -> str:
    """Return a method's name, with the size of its second network if that is not the classifier's."""
    is_other = args.auxiliary_layers and "auxiliary=full" in name
    return f"{name}{_AUXILIARY}{args.auxiliary_layers}" if is_other else name


def without_auxiliary(name: str) -> str:
    """Return a method's name without what [`name_with_auxiliary`] has added.

    Example:
        >>> without_auxiliary("lane[auxiliary=full, contrastive=none], auxiliary_layers=2")
        'lane[auxiliary=full, contrastive=none]'
    """
    return name.partition(_AUXILIARY)[0]


def environment(args: argparse.Namespace) -> dict[str, Any]:
    packages = ("torch", "transformers", "accelerate", "datasets")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "revision": REVISION,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "precision": "bf16" if has_fast_bf16() else "fp32",
    }


def settings_of(args: argparse.Namespace) -> str:
    names = ("layers", "epochs", "batch_size", "learning_rate", "max_length", "max_train_samples")
    return ",".join(f"{name}={getattr(args, name)}" for name in names)


def add_grid_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which cells there are and how they are trained."""
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--datasets", nargs="+")
    parser.add_argument("--noise", nargs="+", default=["uniform:0.2", "uniform:0.4"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--model", default=None, help="Default: the packaged MiniLM.")
    parser.add_argument("--layers", type=int, default=None, help="Use only so many layers of the encoder.")
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--max_train_samples", type=int, default=None)


def add_auxiliary_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that makes the second network smaller than the first."""
    parser.add_argument("--auxiliary_layers", type=int, default=None, help="Layers of lane's full auxiliary network.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_grid_arguments(parser)
    parser.set_defaults(noise=["clean", "uniform:0.2", "uniform:0.4"])
    parser.add_argument("--methods", nargs="+", default=["plain", "lane"])
    add_auxiliary_argument(parser)
    parser.add_argument("--tables", type=Path, help="Folder where each cell's label table is kept, for detection.py.")
    args = parser.parse_args()
    if args.data_dir is None or args.output is None or not args.datasets:
        parser.error("--data_dir, --datasets and --output are needed")
    args.model = args.model or default_model()
    transformers.logging.set_verbosity_error()
    done = set()
    if args.output.exists():
        try:
            done = {tuple(json.loads(line)[name] for name in KEY) for line in args.output.read_text().splitlines()}
        except (ValueError, KeyError) as error:
            print(f"error: {args.output}: a line is no result of this benchmark ({error}): remove it", file=sys.stderr)
            return 2
    methods = [name_with_auxiliary(method, args) for method in args.methods]
    for dataset, noise, seed, method in itertools.product(args.datasets, args.noise, args.seeds, methods):
        cell = {"dataset": dataset, "noise": noise, "method": method, "seed": seed, "settings": settings_of(args)}
        if tuple(cell[name] for name in KEY) in done:
            continue
        try:
            line = run_cell(cell, args)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        with args.output.open("a") as file:
            file.write(json.dumps(line) + "\n")
        last = line["epochs"][-1]
        print(
            f"{dataset} {noise} seed {seed} {method}: last {last.get('test_accuracy', float('nan')):.3f} "
            f"/ {last.get('test_f1_macro', float('nan')):.3f}, auroc {line.get('detection_auroc', float('nan')):.3f}, "
            f"{line['seconds']:.0f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
