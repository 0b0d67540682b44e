"""What training with each method costs, as a ratio to `transformers.Trainer` on the same rows.

    python benchmarks/cost.py --output cost.jsonl                 all methods
    python benchmarks/cost.py --methods lane aum --repeats 5
    python benchmarks/cost.py --show cost.jsonl --into docs/reference/methods.md --name cost

Every method trains on the same rows of the demo data with the packaged encoder, for the same number of epochs;
methods with several stages count all of them. Trainer runs before each method and after the last (A B A C A ...), so
that a machine that slows down slows both; a ratio is that of a run to the mean of the two Trainer runs beside it.
Shown is the median over repeats. Absolute times depend on the machine; ratios much less. With `--views 7` every row
comes with seven views (SwitchOut), and ordinary training on those, `plain`, takes Trainer's place.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
import transformers
from accuracy import add_auxiliary_argument, make_config, name_with_auxiliary
from datasets import Dataset, Value
from documents import add_line_arguments, keep_line, measure_or_show
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.augmentation.switchout import SwitchOut
from lane_hf.baselines.staged import StagedTrainer
from lane_hf.datasets import load
from lane_hf.methods import METHODS
from lane_hf.packaged_model import default_model
from lane_hf.run_arguments import has_fast_bf16

TRAINER = "Trainer"
PACKAGED = "packaged"
# As in the middle of a training: the first steps have no weights, and short trainings no contrastive term.
SETTLED = "weighting_warmup=0,weighting_warmup_steps=0,contrastive_min_steps=0"
# With random weights: what a step costs does not depend on them. The vocabulary is that of the packaged tokenizer.
SHAPES = {
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "bert-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}


def model_folder(args: argparse.Namespace) -> str:
    """Return the encoder that the arguments name, or the packaged one."""
    return args.model or default_model()


class Material(NamedTuple):
    """What is trained on: tokenised rows, the names of their labels, and the tokenizer."""

    rows: Dataset
    names: list[str]
    tokenizer: Any


def make_material(number: int, args: argparse.Namespace) -> Material:
    """Return tokenised rows of the demo data."""
    tokenizer, max_length = AutoTokenizer.from_pretrained(model_folder(args)), args.max_length
    rows = load("demo")["train"].shuffle(seed=0).select(range(number))
    names = rows.features["label"].names
    if args.labels and args.labels < len(names):
        names = names[: args.labels]
        rows = rows.cast_column("label", Value("int64")).map(lambda row: {"label": row["label"] % args.labels})
    tokenised = rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=max_length), batched=True)
    return Material(tokenised.select_columns(["input_ids", "attention_mask", "label"]), names, tokenizer)


def make_collator(tokenizer: Any, views: int, pad_to: int | None) -> Any:
    """Return what pads a batch, to its longest text or to `pad_to` tokens, and adds so many views of each row."""
    pad = DataCollatorWithPadding(tokenizer, padding="max_length" if pad_to else True, max_length=pad_to)
    return ViewsCollator(pad, TokenView(SwitchOut(tokenizer).augment), views) if views else pad


def make_trainer(name: str, folder: str, material: Material, args: argparse.Namespace) -> Trainer:
    """Return a trainer of the method, with a fresh model."""

    def network(layers: int | None) -> Any:
        depth = {"num_hidden_layers": layers} if layers else {}
        if args.network != PACKAGED:
            shape = {**SHAPES[args.network], **depth}
            return BertForSequenceClassification(
                BertConfig(num_labels=max(args.labels or 0, len(material.names)), **shape)
            )
        return AutoModelForSequenceClassification.from_pretrained(
            model_folder(args), num_labels=max(args.labels or 0, len(material.names)), dtype=torch.float32, **depth
        )

    def fresh_model() -> Any:  # without an argument: Trainer would pass it a trial
        return network(args.layers)

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
        kind, config = make_config(name, settings)
    stages = issubclass(kind, StagedTrainer)
    second = {}
    if args.auxiliary_layers and getattr(config, "auxiliary", "none") == "full":
        second["auxiliary_model"] = network(args.auxiliary_layers)
    trainer = kind(
        **second,
        model=None if stages else fresh_model(),
        model_init=fresh_model if stages else None,
        args=config,
        train_dataset=material.rows,
        data_collator=make_collator(material.tokenizer, args.views, args.pad_to),
    )
    trainer.remove_callback(PrinterCallback)  # the losses are of no interest here
    return trainer


def cost_of(name: str, material: Material, args: argparse.Namespace) -> tuple[float, float | None]:
    """Train once; making models and loading data do not count.

    Returns:
        The seconds that `train` took, and the largest memory of the GPU in MiB, None without one.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(name, folder, material, args)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        started = time.perf_counter()
        trainer.train()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return seconds, torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None


def ratios_of_a_repeat(
    methods: Sequence[str], train: Any, reference: str = TRAINER
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each method with its seconds, their ratio to the mean of the reference's runs beside it, and memory."""
    before, usual = train(reference)
    for name in methods:
        own, memory = train(name)
        after, _ = train(reference)
        found = {"seconds": own, "ratio": 2 * own / (before + after)}
        if memory is not None:
            found |= {"gpu_memory_mib": memory, "trainer_seconds": (before + after) / 2, "trainer_memory_mib": usual}
        yield name, found
        before = after


def settled(name: str) -> str:
    """Return a method as it is in the middle of a training.

    Example:
        >>> settled("lane[auxiliary=full]").removesuffix(f"{SETTLED}]")
        'lane[auxiliary=full,'
    """
    method, _, options = name.removesuffix("]").partition("[")
    return name if method != "lane" else f"lane[{options},{SETTLED}]" if options else f"lane[{SETTLED}]"


def without_settled(name: str) -> str:
    """Return a method's name without what [`settled`] has added, which tables say once.

    Example:
        >>> without_settled(settled("lane")), without_settled(settled("lane[auxiliary=full]"))
        ('lane', 'lane[auxiliary=full]')
    """
    return name.replace(f"[{SETTLED}]", "").replace(f",{SETTLED}]", "]")


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: median, least and greatest ratio of each method."""
    ratios: dict[str, list[float]] = {}
    for line in lines:
        ratios.setdefault(line["method"], []).append(line["ratio"])
    rows = [
        f"| `{without_settled(name)}` | {statistics.median(own):.2f} | {min(own):.2f} to {max(own):.2f} |"
        for name, own in ratios.items()
    ]
    return "\n".join([f"| method | time, {reference_of(lines[0])} = 1 | range |", "|---|---|---|", *rows])


def table_of_sizes(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table of runs of several sizes: a line for each size, a column for each method, medians."""
    ratios: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for line in lines:
        ratios.setdefault(_size_of(line), {}).setdefault(line["method"], []).append(line["ratio"])
    methods = list(dict.fromkeys(line["method"] for line in lines))
    rows = [
        f"| batch | labels | tokens | {' | '.join(f'`{without_settled(name)}`' for name in methods)} |",
        "|---" * (len(methods) + 3) + "|",
    ]
    for (batch, labels, tokens), found in ratios.items():
        cells = [f"{statistics.median(found[name]):.2f}" if name in found else "" for name in methods]
        rows.append(f"| {batch} | {labels or 'as in the data'} | {tokens or 'as in the data'} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _size_of(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in ("batch_size", "labels", "pad_to"))


def reference_of(line: dict[str, Any]) -> str:
    """Return what takes the time 1: with views, ordinary training on them."""
    return f"plain on {1 + line['views']} views" if line.get("views") else TRAINER


def from_the_first_step(lines: Sequence[dict[str, Any]]) -> str:
    """Return the words for what [`settled`] has done, if it has."""
    is_settled = any(SETTLED in line["method"] for line in lines)
    return "; `lane` with weights and contrastive term from the first step on" if is_settled else ""


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    first = lines[0]
    if len({_size_of(line) for line in lines}) > 1:
        about = f"{network_and_machine({**first, 'max_length': None})}; time, {reference_of(first)} = 1"
        about += f", median of {len({line['repeat'] for line in lines})}{from_the_first_step(lines)}"
        return f"{about}\n\n{table_of_sizes(lines)}"
    about = (
        f"{first['rows']} rows, {first['epochs']:g} epochs, batches of {first['batch_size']}, "
        f"{network_and_machine(first)}; median of {len({line['repeat'] for line in lines})}"
    )
    about += from_the_first_step(lines)
    return f"{about}\n\n{table(lines)}"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is trained, and for how long."""
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--model", default=None, help="Default: the packaged MiniLM.")
    parser.add_argument(
        "--network", choices=[PACKAGED, *SHAPES], default=PACKAGED, help="A larger network, with random weights."
    )
    parser.add_argument("--layers", type=int, default=None, help="Use only so many layers of the encoder.")
    add_auxiliary_argument(parser)
    parser.add_argument("--labels", type=int, default=None, help="Labels: more than those of the data have no row.")
    parser.add_argument("--views", type=int, default=0, help="Views of each row, besides the row.")
    parser.add_argument("--pad_to", type=int, default=None, help="Pad every batch to so many tokens.")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="As accuracy.py has them.")
    parser.add_argument("--rows", type=int, default=512)
    add_model_arguments(parser)
    parser.add_argument("--repeats", type=int, default=3)
    add_line_arguments(parser, "cost")
    args = parser.parse_args(argv)
    measure_or_show(args, measure, report)
    return 0


def how_it_was_measured(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return some of the arguments, the machine and the versions."""
    about = {name: getattr(args, name) for name in names}
    about |= {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    about |= {"threads": torch.get_num_threads(), "python": platform.python_version()}
    return about | {name: version(name) for name in ("torch", "transformers")}


def network_and_machine(about: dict[str, Any]) -> str:
    """Return in words what [`how_it_was_measured`] has noted; `max_length` is None where it differs."""
    name = about.get("network", PACKAGED)
    network = "the packaged encoder" if name == PACKAGED else name
    length = f"at most {about['max_length']} tokens, " if about["max_length"] else ""
    return (
        f"{about['layers'] or 'all'} layers of {network}, {length}"
        f"{about['device']} ({about['threads']} threads), torch {about['torch']}, transformers {about['transformers']}"
    )


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each run."""
    transformers.logging.set_verbosity_error()
    material = make_material(args.rows, args)
    about = how_it_was_measured(
        args, "rows", "views", "epochs", "batch_size", "max_length", "layers", "network", "labels", "pad_to"
    )
    reference = "plain" if args.views else TRAINER
    lines = []
    for repeat in range(args.repeats):
        for name, found in ratios_of_a_repeat(args.methods, lambda name: cost_of(name, material, args), reference):
            line = {"method": name_with_auxiliary(name, args), "repeat": repeat, **found, **about}
            lines.append(keep_line(line, args))
    return lines


if __name__ == "__main__":
    sys.exit(main())
