"""What training with each method costs, as a ratio to `transformers.Trainer` on the same rows.

    python benchmarks/cost.py --output cost.jsonl                 all methods
    python benchmarks/cost.py --methods lane aum --repeats 5
    python benchmarks/cost.py --show cost.jsonl --into docs/reference/methods.md --name cost

Every method trains on the same rows of the demo data with the packaged encoder, for the same number of epochs;
methods with several stages count all of them. Trainer runs before each method and after the last (A B A C A ...), so
that a machine that slows down slows both; a ratio is that of a run to the mean of the two Trainer runs beside it.
Shown is the median over repeats. Absolute times depend on the machine; ratios much less.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from documents import replace_table
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from lane_hf.baselines.staged import StagedTrainer
from lane_hf.datasets import load
from lane_hf.methods import METHODS, method_of
from lane_hf.packaged_model import default_model
from lane_hf.run_arguments import has_fast_bf16

TRAINER = "Trainer"


def make_rows(number: int, tokenizer: Any, max_length: int) -> tuple[Dataset, list[str]]:
    """Return tokenised rows of the demo data and the names of its labels."""
    rows = load("demo")["train"].shuffle(seed=0).select(range(number))
    names = rows.features["label"].names
    tokenised = rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=max_length), batched=True)
    return tokenised.select_columns(["input_ids", "attention_mask", "label"]), names


def seconds_of(name: str, rows: Dataset, names: list[str], tokenizer: Any, args: argparse.Namespace) -> float:
    """Train once and return the seconds that `train` took; making models and loading data do not count."""
    depth = {"num_hidden_layers": args.layers} if args.layers else {}

    def fresh_model() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(default_model(), num_labels=len(names), **depth)

    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "output_dir": folder,
            "num_train_epochs": args.epochs,
            "per_device_train_batch_size": args.batch_size,
            "train_sampling_strategy": "group_by_length",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "logging_strategy": "no",
            "bf16": has_fast_bf16(),
            "use_cpu": not torch.cuda.is_available(),
        }
        if name == TRAINER:
            kind, config = Trainer, TrainingArguments(**settings)
        else:
            method = method_of(name)
            kind, config = method.trainer, method.config(**settings, **method.fixed)
        stages = issubclass(kind, StagedTrainer)
        trainer = kind(
            model=None if stages else fresh_model(),
            model_init=fresh_model if stages else None,
            args=config,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        started = time.perf_counter()
        trainer.train()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started


def ratios_of_a_repeat(methods: Sequence[str], train: Any) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each method with its seconds and the ratio to the mean of the Trainer runs before and after it."""
    before = train(TRAINER)
    for name in methods:
        own = train(name)
        after = train(TRAINER)
        yield name, (own, 2 * own / (before + after))
        before = after


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: median, least and greatest ratio of each method."""
    ratios: dict[str, list[float]] = {}
    for line in lines:
        ratios.setdefault(line["method"], []).append(line["ratio"])
    rows = [
        f"| `{name}` | {statistics.median(own):.2f} | {min(own):.2f} to {max(own):.2f} |"
        for name, own in ratios.items()
    ]
    return "\n".join(["| method | time, Trainer = 1 | range |", "|---|---|---|", *rows])


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    first = lines[0]
    about = (
        f"{first['rows']} rows, {first['epochs']:g} epochs, batches of {first['batch_size']}, "
        f"{first['layers'] or 'all'} layers of the packaged encoder, at most "
        f"{first['max_length']} tokens, {first['device']} ({first['threads']} threads), torch {first['torch']}, "
        f"transformers {first['transformers']}; median of {len({line['repeat'] for line in lines})}"
    )
    return f"{about}\n\n{table(lines)}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--layers", type=int, default=None, help="Use only so many layers of the encoder.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=None, help="Where each run is appended, as JSON.")
    parser.add_argument("--show", type=Path, help="Train nothing: make the table of these lines.")
    parser.add_argument("--into", type=Path, help="A document that the table goes into, instead of the terminal.")
    parser.add_argument("--name", default="cost", help="Which table of the document.")
    args = parser.parse_args(argv)
    lines = measure(args) if args.show is None else [json.loads(line) for line in args.show.read_text().splitlines()]
    if args.into is None:
        print(report(lines))
    else:
        replace_table(args.into, args.name, report(lines))
    return 0


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each run."""
    transformers.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(default_model())
    rows, names = make_rows(args.rows, tokenizer, args.max_length)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    about = {name: getattr(args, name) for name in ("rows", "epochs", "batch_size", "max_length", "layers")}
    about |= {"device": device, "threads": torch.get_num_threads(), "python": platform.python_version()}
    about |= {name: version(name) for name in ("torch", "transformers")}
    lines = []
    for repeat in range(args.repeats):
        # Each line as soon as it is known: a run that is cut short has measured what it has measured.
        found = ratios_of_a_repeat(args.methods, lambda name: seconds_of(name, rows, names, tokenizer, args))
        for name, (seconds, ratio) in found:
            lines.append({"method": name, "repeat": repeat, "seconds": seconds, "ratio": ratio, **about})
            if args.output is not None:
                with args.output.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    return lines


if __name__ == "__main__":
    sys.exit(main())
