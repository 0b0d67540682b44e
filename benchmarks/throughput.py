"""How fast training is in absolute terms: rows and floating-point operations a second, and what the device could do.

    python benchmarks/throughput.py --output throughput.jsonl
    python benchmarks/throughput.py --network bert-base --batch_size 64 --pad_to 128
    python benchmarks/throughput.py --show throughput.jsonl --into docs/explanation/performance.md --name throughput

Counted are the matrix products of some steps after the first ones, forward and backward (PyTorch's `FlopCounterMode`,
with attention as plain products), over the seconds that the same steps take without counting. The ceiling is the
fastest of some large square matrix products in the same precision. The methods take turns. The loader is also
read alone: it must deliver rows faster than training takes them. On a GPU the peak of its memory is shown as well.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
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
    name_with_auxiliary,
    network_and_machine,
    settled,
)
from documents import add_line_arguments, keep_line, measure_or_show
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerCallback

from lane_hf.run_arguments import has_fast_bf16

SIZES = (512, 1024, 2048, 4096, 8192)
SECONDS_A_SIZE = 0.5


class Window(TrainerCallback):
    """Times the steps from `first` on within a context, and ends the training after `number` of them."""

    def __init__(self, first: int, number: int, context: contextlib.AbstractContextManager[Any]) -> None:
        self.first, self.number, self.context = first, number, context
        self.seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin before the first step that counts."""
        if state.global_step == self.first:
            self.context.__enter__()
            wait()
            self.seconds = -time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End after the last one, and training with it."""
        if state.global_step == self.first + self.number:
            wait()
            self.seconds += time.perf_counter()
            self.context.__exit__(None, None, None)
            control.should_training_stop = True


def wait() -> None:
    """Let the GPU finish what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ceiling(sizes: Sequence[int]) -> float:
    """Return the floating-point operations a second of the fastest square matrix product, in training's precision."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fastest = 0.0
    for size in sizes:
        left, right = (
            torch.randn(size, size, device=device, dtype=torch.bfloat16 if has_fast_bf16() else torch.float32)
            for _ in range(2)
        )
        began = time.perf_counter()
        seconds: list[float] = []
        while not seconds or time.perf_counter() - began < SECONDS_A_SIZE:
            wait()
            started = time.perf_counter()
            left @ right
            wait()
            seconds.append(time.perf_counter() - started)
        fastest = max(fastest, 2 * size**3 / min(seconds))
    return fastest


def run_window(
    name: str, material: Material, args: argparse.Namespace, context: contextlib.AbstractContextManager[Any]
) -> float:
    """Train the steps of the window within a context, and return their seconds."""
    window = Window(args.first, args.steps, context)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(settled(name), folder, material, args)
        trainer.add_callback(window)
        trainer.train()
    return window.seconds


def operations_of(name: str, material: Material, args: argparse.Namespace) -> int:
    """Return the floating-point operations of the window's matrix products, forward and backward."""
    counter = FlopCounterMode(display=False)
    # What a fused attention does is not known for every device.
    with sdpa_kernel(SDPBackend.MATH):
        run_window(name, material, args, counter)
    return int(counter.get_total_flops())


def loader_rows_a_second(material: Material, args: argparse.Namespace) -> float:
    """Return how fast the batches of an epoch come when nobody trains on them."""
    with tempfile.TemporaryDirectory() as folder:
        loader = make_trainer(TRAINER, folder, material, args).get_train_dataloader()
        started = time.perf_counter()
        rows = sum(len(batch["labels"]) for batch in loader)
        return rows / (time.perf_counter() - started)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each run."""
    transformers.logging.set_verbosity_error()
    args.epochs = 1
    material = make_material(args.batch_size * (args.first + args.steps + 1), args)
    about = how_it_was_measured(args, "steps", "batch_size", "max_length", "layers", "network", "labels", "pad_to")
    operations = {name: operations_of(name, material, args) for name in args.methods}
    lines = []
    for repeat in range(args.repeats):
        found = {"ceiling": ceiling(SIZES), "loader_rows_per_second": loader_rows_a_second(material, args)}
        for name in args.methods:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            seconds = run_window(name, material, args, contextlib.nullcontext())
            line = {"method": name_with_auxiliary(name, args), "repeat": repeat, "seconds": seconds}
            line |= {"operations": operations[name], **found, **about}
            if torch.cuda.is_available():
                line["gpu_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
            lines.append(keep_line(line, args))
    return lines


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: a row for each method, medians over the repeats."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        runs.setdefault(line["method"], []).append(line)
    on_gpu = "gpu_memory_mib" in lines[0]
    head = ["method", "rows/s", "TFLOP/s", "of the ceiling", *(["memory, MiB"] if on_gpu else [])]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, own in runs.items():
        seconds = statistics.median(line["seconds"] for line in own)
        speed = own[0]["operations"] / seconds
        cells = [
            f"`{name}`",
            f"{own[0]['steps'] * own[0]['batch_size'] / seconds:,.1f}",
            f"{speed / 1e12:.3g}",
            f"{speed / statistics.median(line['ceiling'] for line in own):.0%}",
        ]
        if on_gpu:
            cells.append(f"{max(line['gpu_memory_mib'] for line in own):,.0f}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    first = lines[0]
    tokens = f", padded to {first['pad_to']} tokens" if first["pad_to"] else ""
    highest = statistics.median(line["ceiling"] for line in lines) / 1e12
    loader = statistics.median(line["loader_rows_per_second"] for line in lines)
    return (
        f"{first['steps']} steps in batches of {first['batch_size']}{tokens}, {network_and_machine(first)}; median of "
        f"{len({line['repeat'] for line in lines})}. Ceiling: {highest:.3g} TFLOP/s. The loader alone: {loader:,.0f} "
        f"rows/s.\n\n{table(lines)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [TRAINER, "plain", "lane", "lane[auxiliary=full]"]
    parser.add_argument("--methods", nargs="+", default=usual, help="As accuracy.py has them, of one stage.")
    add_model_arguments(parser)
    parser.add_argument("--first", type=int, default=5, help="Steps that are not counted.")
    parser.add_argument("--steps", type=int, default=10, help="Steps that are.")
    parser.add_argument("--repeats", type=int, default=3)
    add_line_arguments(parser, "throughput")
    args = parser.parse_args(argv)
    measure_or_show(args, measure, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
