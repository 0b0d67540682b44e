"""Where a training step spends its time: networks forward and backward, rows, contrastive term, optimizer.

    python benchmarks/step_split.py --output split.jsonl
    python benchmarks/step_split.py --methods Trainer lane "lane[auxiliary=full]" --batch_size 128
    python benchmarks/step_split.py --show split.jsonl --into docs/explanation/performance.md --name split \
        --figure docs/explanation/step-split.svg

PyTorch's profiler times every operation of some steps after the first ones. An operation of the forward pass belongs
to the part that runs it; one of the backward pass to the part whose operation it is the gradient of. What no operation
takes (Python, the data loader) is in *the rest*, and so is what the profiler itself costs, which makes parts with many
small operations look dearer than they are. On a GPU the time is that of the kernels.
"""

import argparse
import functools
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import transformers
from cost import (
    TRAINER,
    Material,
    add_model_arguments,
    how_it_was_measured,
    make_material,
    make_trainer,
    network_and_machine,
    settled,
)
from documents import add_line_arguments, keep_line, measure_or_show
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import TrainerCallback

PART = "part: "
REST = "the rest"
OPTIMIZER = "optimizer"
_SHOWN = 0.0005  # of the first method's step
_BACKWARD = "autograd::engine::evaluate_function"
# Methods of the trainers, and what they do. A part within a part counts for itself.
METHODS_OF_PARTS = {
    "training_loss": "losses",
    "_record": "margins, averages, weights",
    "record": "margins, averages, weights",
    "_candidates": "margins, averages, weights",
    "_weights": "margins, averages, weights",
    "log_term": "means for the log",
    "_contrastive_term": "contrastive term",
    "gather": "gathering between processes",
    "gather_entries": "gathering between processes",
}


class ProfileSteps(TrainerCallback):
    """Profiles the steps from `first` on, and ends the training after `number` of them."""

    def __init__(self, first: int, number: int) -> None:
        self.first, self.number = first, number
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self.profile = profile(activities=activities)
        self.seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin before the first step that counts."""
        if state.global_step == self.first:
            self.profile.start()
            self.seconds = -time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End after the last one, and training with it."""
        if state.global_step == self.first + self.number:
            self.seconds += time.perf_counter()
            self.profile.stop()
            control.should_training_stop = True


def name_parts(trainer: Any, mark: Callable[[str], AbstractContextManager[Any]]) -> None:
    """Run each part of a trainer's step inside `mark(part)`."""
    for name, part in METHODS_OF_PARTS.items():
        if hasattr(trainer, name):
            setattr(trainer, name, _named(part, getattr(trainer, name), mark))
    prepare = getattr(trainer, "make_second_network", lambda classifier: None)

    def prepare_and_name(classifier: nn.Module) -> nn.Module | None:
        second = prepare(classifier)  # perhaps a copy of the classifier, which must not be a copy of its name
        _name_network(classifier, "classifier", mark)
        return _name_network(second, "second network", mark)

    if hasattr(trainer, "make_second_network"):
        trainer.make_second_network = prepare_and_name
    else:
        prepare_and_name(trainer.model)


def _named(part: str, function: Callable[..., Any], mark: Callable[[str], Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # Trainer looks at the arguments of a network
    def run(*args: Any, **kwargs: Any) -> Any:
        with mark(part):
            return function(*args, **kwargs)

    return run


def _name_network(network: nn.Module | None, part: str, mark: Callable[[str], Any]) -> nn.Module | None:
    if network is not None:
        network.forward = _named(part, network.forward, mark)
    return network


def _mark(part: str) -> record_function:
    return record_function(PART + part)


def split(events: Iterable[Any], clock: str = "self_cpu_time_total") -> dict[str, float]:
    """Return the microseconds of each part, by what the profiler has recorded.

    Args:
        events: of a profile: what ran, within what, and which operation of the backward pass belongs to which of the
            forward pass (`sequence_nr`).
        clock: the time of an operation without those that it calls.
    """
    events = list(events)
    forward: dict[int, str] = {}
    for event in events:
        part = _part_above(event)
        if event.sequence_nr >= 0 and part is not None and not event.name.startswith(_BACKWARD):
            forward.setdefault(event.sequence_nr, part)
    times: Counter[str] = Counter()
    for event in events:
        part = _part_above(event)
        if part is None:
            gradient_of = next((each for each in _ancestors(event) if each.name.startswith(_BACKWARD)), None)
            if gradient_of is not None and gradient_of.sequence_nr in forward:
                part = f"{forward[gradient_of.sequence_nr]}, backward"
        times[part or REST] += getattr(event, clock)
    return dict(times)


def _ancestors(event: Any) -> Iterable[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent


def _part_above(event: Any) -> str | None:
    for each in _ancestors(event):
        if each.name.startswith(PART):
            return str(each.name.removeprefix(PART))
        if each.name.startswith("Optimizer."):
            return OPTIMIZER
    return None


def split_of(name: str, material: Material, args: argparse.Namespace) -> dict[str, float]:
    """Train some steps, and return the milliseconds a step of each part; those of the rest as well."""
    steps = ProfileSteps(args.first, args.steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(settled(name), folder, material, args)
        name_parts(trainer, _mark)
        trainer.add_callback(steps)
        trainer.train()
    on_gpu = torch.cuda.is_available()
    found = split(steps.profile.events(), "self_device_time_total" if on_gpu else "self_cpu_time_total")
    parts = {part: spent / 1000 / args.steps for part, spent in found.items() if spent > 0}
    parts[REST] = 0.0
    parts[REST] = max(0.0, 1000 * steps.seconds / args.steps - sum(parts.values()))
    return parts


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: a row for each part, a column for each method, in shares of the first one's step."""
    columns = columns_of(lines)
    names = parts_of(columns)
    whole = sum(next(iter(columns.values())).values())
    rows = [f"| part | {' | '.join(f'`{name}`' for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for part in names:
        rows.append(f"| {part} | {' | '.join(_share(own.get(part, 0.0), whole) for own in columns.values())} |")
    rows.append(f"| **together** | {' | '.join(_share(sum(own.values()), whole) for own in columns.values())} |")
    return "\n".join(rows)


def columns_of(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each part in each method's quickest repeat: what else runs only makes it slower.

    What is next to nothing everywhere belongs to the rest.
    """
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for line in lines:
        found[line["method"]].append(line["parts"])
    quickest = {method: min(runs, key=lambda parts: sum(parts.values())) for method, runs in found.items()}
    least = _SHOWN * sum(next(iter(quickest.values())).values())
    kept = {part for own in quickest.values() for part, spent in own.items() if spent >= least} - {REST}
    return {
        method: {part: own[part] for part in own if part in kept}
        | {REST: sum(spent for part, spent in own.items() if part not in kept)}
        for method, own in quickest.items()
    }


def parts_of(columns: dict[Any, dict[str, float]]) -> list[str]:
    """Return the parts that any column has, those that take longest first and the rest last."""
    totals: Counter[str] = Counter()
    for own in columns.values():
        totals.update(own)
    return [part for part, _ in totals.most_common() if part != REST] + [REST]


def _share(milliseconds: float, whole: float) -> str:
    return f"{100 * milliseconds / whole:.1f}%" if milliseconds else ""


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a bar for each method, as an SVG that is the same for the same lines."""
    from matplotlib import colormaps, rc_context
    from matplotlib.figure import Figure

    columns = columns_of(lines)
    whole = sum(next(iter(columns.values())).values())
    with rc_context({"svg.hashsalt": "split", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 1.6 + 0.6 * len(columns)), layout="constrained")
        ax = figure.subplots()
        begins = [0.0] * len(columns)
        colours = colormaps["tab20"].colors
        for part, colour in zip(parts_of(columns), colours, strict=False):
            widths = [own.get(part, 0.0) / whole for own in columns.values()]
            ax.barh(list(columns), widths, left=begins, label=part, color=colour)
            begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
        ax.invert_yaxis()
        ax.set_xlabel(f"time of a step, {next(iter(columns))} = 1")
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    first = lines[0]
    return (
        f"{first['steps']} steps in batches of {first['batch_size']}, {network_and_machine(first)}; the quickest of "
        f"{len({line['repeat'] for line in lines})}\n\n{table(lines)}"
    )


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each run."""
    transformers.logging.set_verbosity_error()
    args.epochs = 1
    material = make_material(args.batch_size * (args.first + args.steps + 1), args)
    about = how_it_was_measured(args, "steps", "batch_size", "max_length", "layers", "network")
    lines = []
    for repeat in range(args.repeats):
        for name in args.methods:
            line = {"method": name, "repeat": repeat, "parts": split_of(name, material, args), **about}
            lines.append(keep_line(line, args))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [TRAINER, "plain", "lane", "lane[auxiliary=full]"]
    parser.add_argument("--methods", nargs="+", default=usual, help="As accuracy.py has them; the first one is 100%%.")
    add_model_arguments(parser)
    parser.add_argument("--first", type=int, default=10, help="Steps that are not counted.")
    parser.add_argument("--steps", type=int, default=20, help="Steps that are.")
    parser.add_argument("--repeats", type=int, default=3)
    add_line_arguments(parser, "split", has_figure=True)
    args = parser.parse_args(argv)
    measure_or_show(args, measure, report, draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
