"""How what a step does about its rows grows with the number of processes.

    python benchmarks/ranks.py --output ranks.jsonl
    python benchmarks/ranks.py --show ranks.jsonl --into docs/explanation/performance.md --name ranks \
        --figure docs/explanation/ranks.svg

Every process takes the same steps as in `growth.py`, on random logits, and as the trainer does it sends what it saw of
its rows to all others in one message and takes theirs in. Shown is the processor time of a step in one process (mean
over processes, with one thread each, messages by gloo included), which does not depend on how many processes share a
core. Time spent waiting for messages is not in it.
"""

import argparse
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from documents import add_line_arguments, keep_line, measure_or_show
from growth import USUAL, Step, slope

from lane_hf.row_statistics import Observation

PROCESSES = (1, 2, 4, 8)


def gather(seen: Observation) -> Observation:
    """Return what all processes saw: one message, as `RowTrainer.gather` sends it."""
    processes = torch.distributed.get_world_size()
    if processes == 1:
        return seen
    own = torch.stack([column.double() for column in seen], dim=1)
    everyone = [torch.empty_like(own) for _ in range(processes)]
    torch.distributed.all_gather(everyone, own)
    together = torch.cat(everyone)
    return Observation(*(column.to(before.dtype) for column, before in zip(together.T, seen, strict=True)))


def run_process(rank: int, processes: int, port: int, args: argparse.Namespace, folder: str) -> None:
    """Take the steps in one process, and write how much processor time one takes, in microseconds."""
    torch.set_num_threads(1)
    step = Step(**USUAL)
    step.generator.manual_seed(rank)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes
    )
    for turn in range(args.warm_up + args.steps):
        if turn == args.warm_up:
            torch.distributed.barrier()
            started = time.process_time()
        step.of_rows(step.draw(), gather)
    spent = 1e6 * (time.process_time() - started) / args.steps
    Path(folder, f"{rank}.json").write_text(json.dumps({"rows": spent, "visits": int(step.statistics.visits.sum())}))
    torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each number of processes in each repeat."""
    lines = []
    for repeat in range(args.repeats):
        for processes in args.processes:
            with tempfile.TemporaryDirectory() as folder:
                given = (processes, free_port(), args, folder)
                torch.multiprocessing.spawn(run_process, given, nprocs=processes)
                found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(processes)]
            line = {"processes": processes, "repeat": repeat, "rows": statistics.mean(each["rows"] for each in found)}
            line |= {"visits": [each["visits"] for each in found], "steps": args.steps}
            lines.append(keep_line({**line, "torch": torch.__version__}, args))
    return lines


def medians(lines: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Return the median microseconds over the repeats, by number of processes."""
    found: dict[int, list[float]] = {}
    for line in lines:
        found.setdefault(line["processes"], []).append(line["rows"])
    return {processes: statistics.median(own) for processes, own in found.items()}


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    found = medians(lines)
    sizes, times = list(found), list(found.values())
    usual = ", ".join(f"{size:,} {name}" for name, size in USUAL.items())
    return (
        f"{usual} (of each process). Processor time of one process, torch {lines[0]['torch']}, gloo; "
        f"{lines[0]['steps']} steps, median of {len({line['repeat'] for line in lines})}.\n\n"
        f"| processes | {' | '.join(map(str, sizes))} | slope |\n|---{'|---' * len(sizes)}|---|\n"
        f"| µs a step | {' | '.join(f'{each:,.0f}' for each in times)} | {slope(sizes, times):.2f} |"
    )


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time against processes, as an SVG that is the same for the same lines."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    found = medians(lines)
    with rc_context({"svg.hashsalt": "ranks", "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.2, 3.2), layout="constrained")
        ax = figure.subplots()
        times = [each / 1000 for each in found.values()]
        ax.loglog(list(found), times, "o-")
        ax.set_xticks(list(found), [str(processes) for processes in found])
        ax.minorticks_off()
        # Nine times from end to end, or more: so at least two of 1, 2, 5, 10, ... are on it, however close the times.
        ax.set_ylim(min(times) / 3, max(times) * 3)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.set_xlabel("processes")
        ax.set_ylabel("milliseconds a step, one process")
        ax.grid(alpha=0.3)
        figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=list(PROCESSES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--warm_up", type=int, default=30, help="Steps that are not counted.")
    parser.add_argument("--repeats", type=int, default=3)
    add_line_arguments(parser, "ranks", has_figure=True)
    args = parser.parse_args(argv)
    measure_or_show(args, measure, report, draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
