"""Who finds wrong labels best, and at what cost: lane_hf, the `aum` package, cleanlab.

    python benchmarks/detection.py --data_dir DATA --datasets trec sst5 --noise uniform:0.2 uniform:0.4 \
        --output detection.jsonl
    python benchmarks/detection.py --show detection.jsonl --into docs/reference/detection.md --name detection

All finders see the same rows with the same flips, and train the same encoder with the same settings:

- `lane`: LANE with its defaults, one training run; rows ranked by `score`, issues by `is_issue`;
- `aum`: ordinary fine-tuning, one run, with `aum.AUMCalculator` fed at each step; it has no verdict of its own;
- `cleanlab`: ordinary fine-tuning in five folds, out-of-sample probabilities; rows ranked by
  `get_label_quality_scores` (self-confidence), issues by `find_label_issues`, both with cleanlab's defaults.

DATA is laid out as for `accuracy.py`, with the same seeds, budget and rows. Cells that stand in the output already are
skipped.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accuracy import add_grid_arguments, base_arguments, environment, load, settings_of, spoil
from aum import AUMCalculator
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from documents import add_table_arguments, read_lines, show_table
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from lane_hf import LaneConfig, LaneTrainer, RowTrainer
from lane_hf.method_config import MethodConfig
from lane_hf.noise import FLIPPED_COLUMN
from lane_hf.packaged_model import default_model
from lane_hf.tokenisation import tokenise

KEY = ("dataset", "noise", "seed", "settings", "finder")
FOLDS = 5


class Cell:
    """The rows of one cell, tokenised, and how trainers for them are made."""

    def __init__(self, dataset: str, noise: str, seed: int, args: argparse.Namespace) -> None:
        self.seed, self._args = seed, args
        data = spoil(load(args.data_dir / dataset, args.max_train_samples, noise), noise, seed, dataset)
        self.names = data["train"].features["label"].names
        self._tokenizer = AutoTokenizer.from_pretrained(args.model)
        self.flipped = np.asarray(data["train"][FLIPPED_COLUMN])
        self.labels = np.asarray(data["train"]["label"])
        self.rows = tokenise(data, self._tokenizer, args.max_length)["train"]

    def trainer(self, kind: type[Trainer], config: type[TrainingArguments], rows: Any, folder: str) -> Any:
        """Return a trainer of a fresh model."""
        transformers.set_seed(self.seed)
        depth = {"num_hidden_layers": self._args.layers} if self._args.layers else {}
        model = AutoModelForSequenceClassification.from_pretrained(
            self._args.model, num_labels=len(self.names), id2label=dict(enumerate(self.names)), **depth
        )
        settings = {**base_arguments(folder, self.seed, self._args), "eval_strategy": "no"}
        return kind(
            model=model,
            args=config(**settings),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(self._tokenizer),
            processing_class=self._tokenizer,
        )


class AumPackageTrainer(RowTrainer):
    """Ordinary fine-tuning that feeds the `aum` package."""

    calculator: AUMCalculator

    def training_loss(self, model: Any, inputs: dict[str, Any], rows: Any) -> Any:
        """Return the model's own loss, after the calculator has seen the logits."""
        loss, outputs = super().training_loss(model, inputs, rows)
        self.calculator.update(outputs["logits"].detach().float(), self._labels_of(inputs), rows.ids.tolist())
        return loss, outputs


def by_lane(cell: Cell, folder: str) -> dict[str, Any]:
    """Return LANE's suspicion of each row, its issues, and what they cost."""
    trainer = cell.trainer(LaneTrainer, LaneConfig, cell.rows, folder)
    metrics = trainer.train().metrics
    table = trainer.label_issues().sort_values("row_id")
    rate = trainer.label_issues().noise_rate()
    return {
        "suspicion": -table["score"].to_numpy(),
        "issues": table["is_issue"].to_numpy(),
        "seconds": metrics["train_runtime"],
        "steps": trainer.state.global_step,
        "noise_rate": list(rate),
        "expected_precision": trainer.label_issues().expected_precision(),
    }


def by_aum(cell: Cell, folder: str) -> dict[str, Any]:
    """Return the `aum` package's suspicion of each row and what it cost."""
    trainer = cell.trainer(AumPackageTrainer, MethodConfig, cell.rows, folder)
    trainer.calculator = AUMCalculator(folder)
    metrics = trainer.train().metrics
    sums, counts = trainer.calculator.sums, trainer.calculator.counts
    suspicion = -np.array([sums[row] / counts[row] for row in range(len(cell.rows))])
    return {"suspicion": suspicion, "seconds": metrics["train_runtime"], "steps": trainer.state.global_step}


def by_cleanlab(cell: Cell, folder: str) -> dict[str, Any]:
    """Return cleanlab's suspicion of each row, its issues, and what the folds cost."""
    probs = np.zeros((len(cell.rows), len(cell.names)))
    seconds, steps = 0.0, 0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=cell.seed)
    for train, held_out in folds.split(cell.labels, cell.labels):
        trainer = cell.trainer(Trainer, TrainingArguments, cell.rows.select(train), folder)
        seconds += trainer.train().metrics["train_runtime"]
        steps += trainer.state.global_step
        trainer.args.train_sampling_strategy = "sequential"  # Trainer predicts in the order in which it trains
        logits = torch.as_tensor(trainer.predict(cell.rows.select(held_out)).predictions)
        probs[held_out] = logits.double().softmax(dim=1).numpy()
    return {
        "suspicion": -get_label_quality_scores(cell.labels, probs),
        "issues": find_label_issues(cell.labels, probs),
        "seconds": seconds,
        "steps": steps,
    }


FINDERS: dict[str, Callable[[Cell, str], dict[str, Any]]] = {"lane": by_lane, "aum": by_aum, "cleanlab": by_cleanlab}


def scores(found: dict[str, Any], flipped: np.ndarray) -> dict[str, Any]:
    """Return how good a ranking and a verdict are.

    Args:
        found: `suspicion` `[N]`, higher where the label looks more wrong, and `issues` `[N]` bool where there is one.
        flipped: `[N]` bool, the truth.

    Example:
        >>> found = {"suspicion": np.array([3.0, 2.0, 1.0]), "issues": np.array([True, True, False])}
        >>> scores(found, np.array([True, False, False]))["issue_precision"]
        0.5
    """
    suspicion = found["suspicion"]
    worst = np.argsort(-suspicion, kind="stable")
    result = {
        "auroc": float(roc_auc_score(flipped, suspicion)),
        "average_precision": float(average_precision_score(flipped, suspicion)),
        "precision_at_flips": float(flipped[worst[: flipped.sum()]].mean()),
        "precision_at_100": float(flipped[worst[:100]].mean()),
    }
    issues = found.get("issues")
    if issues is not None:
        result |= {
            "number_of_issues": int(issues.sum()),
            "issue_precision": float(flipped[issues].mean()) if issues.any() else None,
            "issue_recall": float(issues[flipped].mean()),
            # The ranking's own worth at the number of issues that the finder believes in.
            "recall_at_issues": float(flipped[worst[: issues.sum()]].sum() / flipped.sum()),
        }
    return result


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: a line for each data set, noise and finder, means over seeds, best in bold."""
    cells: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        cells.setdefault((line["dataset"], line["noise"]), {}).setdefault(line["finder"], []).append(line)
    columns = {
        "AUROC": "auroc",
        "average precision": "average_precision",
        "precision at the number of flips": "precision_at_flips",
        "issues: precision": "issue_precision",
        "issues: recall": "issue_recall",
    }
    rows = [f"| data | noise | finder | {' | '.join(columns)} | steps |", "|---" * (len(columns) + 4) + "|"]
    for (dataset, noise), finders in cells.items():
        means = {finder: {name: _mean(own, name) for name in columns.values()} for finder, own in finders.items()}
        base = _mean(finders["aum"], "steps") if "aum" in finders else None
        for finder, own in finders.items():
            shown = [_cell(means, finder, name) for name in columns.values()]
            cost = f"{_mean(own, 'steps') / base:.1f}" if base else ""
            rows.append(f"| {dataset} | {noise} | {finder} | {' | '.join(shown)} | {cost} |")
    return "\n".join(rows)


def _mean(lines: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [line.get(name) for line in lines]
    return None if None in values else statistics.mean(values)


def _cell(means: dict[str, dict[str, float | None]], finder: str, name: str) -> str:
    value = means[finder][name]
    if value is None:
        return ""
    best = max(each[name] for each in means.values() if each[name] is not None)
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    first, seeds = lines[0], sorted({line["seed"] for line in lines})
    about = (
        f"Settings: {first['settings']}; seeds {', '.join(map(str, seeds))}; cleanlab {first['cleanlab']}, aum "
        f"{first['aum']}, torch {first['versions']['torch']}, {first['device']}. Steps: those of training, "
        "ordinary fine-tuning (the finder `aum`) = 1."
    )
    return f"{about}\n\n{table(lines)}"


def measure(args: argparse.Namespace) -> None:
    """Run the cells that are missing; each result is written at once."""
    transformers.logging.set_verbosity_error()
    done = set()
    if args.output.exists():
        done = {tuple(json.loads(line)[name] for name in KEY) for line in args.output.read_text().splitlines()}
    for dataset, noise, seed in itertools.product(args.datasets, args.noise, args.seeds):
        about = {"dataset": dataset, "noise": noise, "seed": seed, "settings": settings_of(args)}
        missing = [finder for finder in args.finders if (*about.values(), finder) not in done]
        if not missing:
            continue
        cell = Cell(dataset, noise, seed, args)
        for finder in missing:
            with tempfile.TemporaryDirectory() as folder:
                found = FINDERS[finder](cell, folder)
            kept = {name: value for name, value in found.items() if name not in ("suspicion", "issues")}
            packages = {name: version(name) for name in ("aum", "cleanlab")}
            line = {**about, "finder": finder, **scores(found, cell.flipped), **kept, **packages, **environment(args)}
            with args.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{dataset} {noise} seed {seed} {finder}: AP {line['average_precision']:.3f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_grid_arguments(parser)
    parser.add_argument("--finders", nargs="+", default=list(FINDERS), choices=list(FINDERS))
    parser.add_argument("--show", type=Path, help="Train nothing: make the table of these lines.")
    add_table_arguments(parser, "detection")
    args = parser.parse_args(argv)
    if args.show is None:
        if args.data_dir is None or args.output is None or not args.datasets:
            parser.error("--data_dir, --datasets and --output are needed")
        args.model = args.model or default_model()
        measure(args)
        return 0
    lines = read_lines(args.show)
    show_table(report(lines), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
