"""What recording a batch costs: `AlmBuffer` beside the calculator of the `aum` package, on the same logits.

    python benchmarks/aum_update.py
    python benchmarks/aum_update.py --into docs/explanation/performance.md --name aum

Both take logits, labels and row ids of the same random batches in turns. `AlmBuffer` is asked for what weights need as
well: the statistics of all negative averages, and the averages of the batch. The median over batches is shown.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import torch
from aum import AUMCalculator
from documents import add_table_arguments, show_table

from lane_hf.buffer import AlmBuffer
from lane_hf.margins import margin

ROWS, LABELS = 100_000, 10


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes, with whatever it has started on a GPU."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def microseconds(batch_size: int, batches: int) -> tuple[float, float]:
    """Return the median microseconds a batch of the `aum` package and of `AlmBuffer`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    calculator, buffer = AUMCalculator(tempfile.gettempdir(), compressed=True), AlmBuffer(ROWS, device=device)
    theirs, ours = [], []

    def record(logits: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> None:
        buffer.update(ids, margin(logits, labels)[0])
        buffer.negative_stats()
        buffer.average(ids)

    for _ in range(batches):
        logits = torch.randn(batch_size, LABELS, generator=generator).to(device)
        labels = torch.randint(LABELS, (batch_size,), generator=generator).to(device)
        ids = torch.randperm(ROWS, generator=generator)[:batch_size]
        names, ids = ids.tolist(), ids.to(device)
        theirs.append(seconds_of(lambda: calculator.update(logits, labels, names)))  # noqa: B023 -- called at once
        ours.append(seconds_of(lambda: record(logits, labels, ids)))  # noqa: B023 -- called at once
    return 1e6 * statistics.median(theirs), 1e6 * statistics.median(ours)


def report(batch_sizes: Sequence[int], batches: int) -> str:
    """Return the table, below a line that says how it was measured."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    rows = ["| rows in a batch | `aum`, µs | `AlmBuffer`, µs | times faster |", "|---|---|---|---|"]
    for batch_size in batch_sizes:
        theirs, ours = microseconds(batch_size, batches)
        rows.append(f"| {batch_size} | {theirs:,.0f} | {ours:,.0f} | {theirs / ours:.1f} |")
    about = (
        f"{ROWS:,} rows, {LABELS} labels, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, aum "
        f"{version('aum')}; median of {batches} batches"
    )
    return "\n".join([about, "", *rows])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[32, 256, 2048])
    parser.add_argument("--batches", type=int, default=200)
    add_table_arguments(parser, "aum")
    args = parser.parse_args(argv)
    text = report(args.batch_sizes, args.batches)
    show_table(text, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
