"""What recording a batch costs: `AlmBuffer` beside the calculator of the `aum` package, on the same logits.

    python benchmarks/aum_update.py --output aum-update.jsonl
    python benchmarks/aum_update.py --show aum-update.jsonl --into docs/explanation/performance.md --name aum

Both take logits, labels and row ids of the same random batches, 64 at a time, in turns. `AlmBuffer` is asked for what
the paper's weights need as well, the statistics of all negative averages and the averages of the batch: after every
batch, or once after the 64. Shown is the median over rounds, divided by 64.
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
from documents import Line, add_line_arguments, keep_line, measure_or_show

from lane_hf.buffer import AlmBuffer
from lane_hf.margins import margin

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

ROWS, LABELS, ROUND = 100_000, 10, 64


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes, with whatever it has started on a GPU."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def microseconds(batch_size: int, rounds: int) -> tuple[float, float, float]:
    """Return the median microseconds a batch.

    Returns:
        Those of the `aum` package, of `AlmBuffer` asked after every batch, and of `AlmBuffer` asked after every round.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    calculator = AUMCalculator(tempfile.gettempdir(), compressed=True)
    always, seldom = AlmBuffer(ROWS, device=device), AlmBuffer(ROWS, device=device)
    found: tuple[list[float], ...] = ([], [], [])
    for _ in range(rounds):
        batches = [_draw(batch_size, generator, device) for _ in range(ROUND)]
        names = [ids.tolist() for _, _, ids in batches]
        works = (
            lambda: [calculator.update(*batch[:2], own) for batch, own in zip(batches, names, strict=True)],  # noqa: B023
            lambda: _record(always, batches, ask_always=True),  # noqa: B023 -- called at once, like the others
            lambda: _record(seldom, batches, ask_always=False),  # noqa: B023
        )
        for times, work in zip(found, works, strict=True):
            times.append(1e6 * seconds_of(work) / ROUND)
    theirs, asked_always, asked_seldom = map(statistics.median, found)
    return theirs, asked_always, asked_seldom


def _draw(batch_size: int, generator: torch.Generator, device: str) -> Batch:
    logits = torch.randn(batch_size, LABELS, generator=generator).to(device)
    labels = torch.randint(LABELS, (batch_size,), generator=generator).to(device)
    return logits, labels, torch.randperm(ROWS, generator=generator)[:batch_size].to(device)


def _record(buffer: AlmBuffer, batches: Sequence[Batch], ask_always: bool) -> None:
    for number, (logits, labels, ids) in enumerate(batches, start=1):
        buffer.update(ids, margin(logits, labels)[0])
        if ask_always or number == len(batches):
            buffer.negative_stats()
            buffer.average(ids)


def measure(args: argparse.Namespace) -> list[Line]:
    """Return a line for each batch size."""
    about: Line = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    about |= {"threads": torch.get_num_threads(), "torch": torch.__version__, "aum": version("aum")}
    about |= {"rows": ROWS, "labels": LABELS, "rounds": args.rounds, "batches": ROUND}
    lines = []
    for batch_size in args.batch_sizes:
        times = dict(zip(("theirs", "always", "seldom"), microseconds(batch_size, args.rounds), strict=True))
        lines.append(keep_line({"batch_size": batch_size, **times, **about}, args))
    return lines


def report(lines: Sequence[Line]) -> str:
    """Return the table, below a line that says how it was measured."""
    first = lines[0]
    head = f"| rows in a batch | `aum`, µs | `AlmBuffer`, µs | times faster | asked once in {first['batches']}, µs"
    rows = [f"{head} | times faster |", "|---|---|---|---|---|---|"]
    for line in lines:
        theirs, always, seldom = line["theirs"], line["always"], line["seldom"]
        cells = [f"{line['batch_size']}", f"{theirs:,.0f}"]
        cells += [f"{always:,.0f}", f"{theirs / always:.1f}", f"{seldom:,.0f}", f"{theirs / seldom:.1f}"]
        rows.append(f"| {' | '.join(cells)} |")
    about = (
        f"{first['rows']:,} rows, {first['labels']} labels, {first['device']}, {first['threads']} threads, torch "
        f"{first['torch']}, aum {first['aum']}; median of {first['rounds']} rounds of {first['batches']} batches"
    )
    return "\n".join([about, "", *rows])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[32, 256, 2048])
    parser.add_argument("--rounds", type=int, default=9)
    add_line_arguments(parser, "aum")
    measure_or_show(parser.parse_args(argv), measure, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
