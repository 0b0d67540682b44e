"""What `AlmBuffer` costs as the data set grows, and what a step costs with thousands of labels.

    python benchmarks/buffer.py --rows 1e4 1e5 1e6 1e7 1e8 --full --output buffer.jsonl

One JSON line for each number of rows, then one for each number of labels; the tables are printed. Every number of rows
has a process of its own, so that memory is its own as well. A step is `update`, `negative_stats` and `average` of a
batch of 256 random rows; the cost of a step is measured once more, in one process that takes steps of all sizes in
turns, so that whatever else the machine does falls on all sizes alike. Without `--full` an epoch is cut after
`--max_steps` steps and its time is scaled up.

Memory is the process's peak (Linux only: elsewhere the columns are empty) less what it held before the buffer was
made. Temporary tensors of a fixed size, a few MiB, weigh on small buffers: judge bytes a row at 10^6 rows and more.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lane_hf.buffer import AlmBuffer
from lane_hf.checkpoint import load_state, save_state

BATCH = 256
LABEL_BATCH = 32
SEED = 0
MIB = 2**20
_IDS_AT_ONCE = 2**13


# --------------------------------------------------------------------------------------------------------- measuring
def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _status_bytes(name: str) -> int | None:
    """A line of /proc/self/status, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return found[0] if found else None


class PeakMemory:
    """The most memory that the process holds in a phase, beyond what it held when this object was made."""

    def __init__(self) -> None:
        self._before = _status_bytes("VmRSS")

    def of(self, work: Callable[[], object]) -> int | None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        except OSError:
            work()
            return None
        work()
        peak = _status_bytes("VmHWM")
        return None if peak is None or self._before is None else max(peak - self._before, 0)


def shuffled_ids(rows: int) -> Iterator[Tensor]:
    """All row ids once, in an order that no cache can foresee, in pieces, without a permutation of all in memory.

    Multiplying by an odd number and folding the upper bits into the lower ones are one-to-one among the numbers of
    `bits` bits; what is no row is left out.
    """
    bits = max((rows - 1).bit_length(), 2)
    low, half = 2**bits - 1, (bits + 1) // 2
    for start in range(0, 2**bits, _IDS_AT_ONCE):
        ids = torch.arange(start, min(start + _IDS_AT_ONCE, 2**bits))
        for factor in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D):
            ids = (ids * (factor & low | 1) + 0x27D4EB2F) & low
            ids = ids ^ (ids >> half)
        yield ids[ids < rows]


def batches_of(rows: int) -> Iterator[Tensor]:
    """The row ids of an epoch in batches of 256; the last one may be smaller."""
    rest = torch.empty(0, dtype=torch.int64)
    for piece in shuffled_ids(rows):
        *whole, rest = torch.cat([rest, piece]).split(BATCH)
        yield from whole
    if len(rest):
        yield rest


def make_margins() -> Tensor:
    """Margins of which about a third are negative; batches take slices of them."""
    return 3 * torch.randn(2**16, generator=torch.Generator().manual_seed(SEED)) + 1


# -------------------------------------------------------------------------------------------------- one size of data
def take_epoch(buffer: AlmBuffer, max_steps: int | None) -> dict[str, Any]:
    """Update in batches of 256, with the statistics of every step; only these two are timed."""
    margins = make_margins()
    seconds, slowest, steps = 0.0, 0.0, 0
    for ids in batches_of(len(buffer)):
        start = (steps * BATCH) % (len(margins) - BATCH)
        batch = margins[start : start + len(ids)]
        started = time.perf_counter()
        buffer.update(ids, batch)
        buffer.negative_stats()
        taken = time.perf_counter() - started
        seconds, slowest, steps = seconds + taken, max(slowest, taken), steps + 1
        if steps == max_steps:
            break
    all_steps = -(-len(buffer) // BATCH)
    return {
        "epoch_steps": all_steps,
        "epoch_steps_measured": steps,
        "epoch_seconds_measured": seconds,
        "slowest_step_seconds": slowest,
    }


def measure_rows(rows: int, max_steps: int | None, folder: Path) -> dict[str, Any]:
    """Time and peak memory of everything that a buffer of so many rows does."""
    warm_up()
    memory = PeakMemory()
    result: dict[str, Any] = {"kind": "rows", "rows": rows, "batch": BATCH}
    peaks: dict[str, int | None] = {}
    made: list[AlmBuffer] = []

    def phase(name: str, work: Callable[[], object]) -> None:
        peaks[name] = memory.of(lambda: result.update({f"{name}_seconds": seconds_of(work)}))

    phase("construct", lambda: made.append(AlmBuffer(rows)))
    peaks["epoch"] = memory.of(lambda: result.update(take_epoch(made[0], max_steps)))
    phase("average", made[0].average)
    parts, facts = {"alm"}, {"number_of_rows": rows}
    expected = made[0].average(torch.arange(min(rows, BATCH)))
    phase("save", lambda: save_state(folder, {"alm": made[0].state_dict()}, facts))
    made.clear()
    made.append(AlmBuffer(rows))  # as on resuming: a fresh buffer, then the file
    phase("load", lambda: made[0].load_state_dict(load_state(folder, parts)["alm"]))
    if not torch.equal(made[0].average(torch.arange(min(rows, BATCH))), expected):
        raise AssertionError("the loaded buffer differs from the saved one")
    share = result["epoch_steps_measured"] / result["epoch_steps"]
    result["epoch_seconds"] = result["epoch_seconds_measured"] / share
    result["state_bytes_per_row"] = sum(t.nbytes for t in made[0].state_dict().values() if t.dim() == 1) / rows
    result["peak_bytes_per_row"] = {name: None if peak is None else peak / rows for name, peak in peaks.items()}
    return result


def warm_up() -> None:
    """Let libraries allocate what they keep, so that it is not counted."""
    buffer = AlmBuffer(BATCH)
    take_epoch(buffer, 2)
    buffer.average()
    with tempfile.TemporaryDirectory() as folder:
        save_state(folder, {"alm": buffer.state_dict()}, {})
        load_state(folder, {"alm"})


# ------------------------------------------------------------------------------------------ all sizes, taken in turns
def measure_steps(all_rows: Sequence[int], steps: int) -> dict[int, dict[str, Any]]:
    """Median and quartiles of the microseconds of a step, and of its parts, for every number of rows."""
    buffers = {rows: AlmBuffer(rows) for rows in all_rows}
    taken: dict[int, list[tuple[float, ...]]] = {rows: [] for rows in all_rows}
    generator, margins = torch.Generator().manual_seed(SEED), make_margins()
    warm = max(steps // 10, 1)
    for step in range(-warm, steps):
        for rows, buffer in buffers.items():
            ids = torch.randint(rows, (BATCH,), generator=generator)
            batch = margins[step * BATCH % (len(margins) - BATCH) :][:BATCH]
            times = [time.perf_counter()]
            for work in (lambda: buffer.update(ids, batch), buffer.negative_stats, lambda: buffer.average(ids)):  # noqa: B023
                work()
                times.append(time.perf_counter())
            if step >= 0:
                parts = (after - before for before, after in itertools.pairwise(times))
                taken[rows].append((times[-1] - times[0], *parts))
    return {rows: summarise_steps(per_step) for rows, per_step in taken.items()}


def summarise_steps(per_step: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    names = ("step", "update", "negative_stats", "average_of_batch")
    columns = zip(*per_step, strict=True)
    medians = {f"{name}_microseconds": 1e6 * statistics.median(t) for name, t in zip(names, columns, strict=True)}
    low, _, high = statistics.quantiles((times[0] for times in per_step), n=4)
    return {**medians, "step_microseconds_quartiles": [1e6 * low, 1e6 * high]}


# -------------------------------------------------------------------------------------------------------- many labels
def measure_labels(labels: int, rows: int, steps: int) -> dict[str, Any]:
    """Peak memory of what LaneTrainer does with the logits of a batch, apart from networks and their gradients."""
    from lane_hf import LaneConfig
    from lane_hf.margins import label_aware_margin, smooth_probabilities
    from lane_hf.row_statistics import RowStatistics
    from lane_hf.row_weights import RowWeights

    generator = torch.Generator().manual_seed(SEED)
    config = LaneConfig("unused", use_cpu=True, report_to="none", weighting_warmup=0)
    given = torch.randint(labels, (rows,), generator=generator)
    warm_up()
    memory = PeakMemory()
    kept: dict[str, Any] = {}

    def construct() -> None:
        kept.update(state=RowStatistics(rows, labels), alm=AlmBuffer(rows), weights=RowWeights(config, labels, rows))

    def take_steps() -> None:
        for _ in range(steps):
            ids = torch.randint(rows, (LABEL_BATCH,), generator=generator)
            logits, other = torch.randn(2, LABEL_BATCH, labels, generator=generator)
            probs = smooth_probabilities(other.softmax(dim=1), 0.1)
            kept["state"].record(kept["state"].observe(ids, given[ids], logits))
            kept["alm"].update(ids, label_aware_margin(logits, given[ids], probs))
            kept["weights"].of_batch(kept["alm"], ids, given[ids], ids, epoch=0.5)

    def refit() -> None:
        kept["weights"].refit_if_due(kept["alm"], kept["state"], epoch=1.0)

    peaks = {"construct": memory.of(construct), "steps": memory.of(take_steps), "refit": memory.of(refit)}
    state = {**kept["state"].state_dict(), **kept["alm"].state_dict()}
    return {
        "kind": "labels",
        "labels": labels,
        "rows": rows,
        "batch": LABEL_BATCH,
        "logits_mib": LABEL_BATCH * labels * 4 / MIB,
        "rows_x_labels_mib": rows * labels * 4 / MIB,
        "state_mib": sum(tensor.nbytes for tensor in state.values()) / MIB,
        "peak_mib": {name: None if peak is None else peak / MIB for name, peak in peaks.items()},
    }


# ----------------------------------------------------------------------------------------------------------- the run
def in_own_process(measure: str, threads: int, **arguments: Any) -> Any:
    """Call a function of this file in a process of its own."""
    task = json.dumps({"measure": measure, "threads": threads, "arguments": arguments})
    done = subprocess.run([sys.executable, __file__, "--task", task], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {measure} with {arguments} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def run_task(task: str) -> None:
    """What the process of its own does: one line of JSON."""
    wanted = json.loads(task)
    torch.set_num_threads(wanted["threads"])
    arguments = wanted["arguments"]
    if wanted["measure"] == "rows":
        with tempfile.TemporaryDirectory(dir=arguments.pop("folder")) as folder:
            result: Any = measure_rows(**arguments, folder=Path(folder))
    else:
        result = {"steps": measure_steps, "labels": measure_labels}[wanted["measure"]](**arguments)
    print(json.dumps(result))


def environment(threads: int) -> dict[str, Any]:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {**versions, "machine": platform.machine(), "threads": threads, "revision": git.stdout.strip()}


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def print_row_tables(lines: Sequence[dict[str, Any]]) -> None:
    print_table(
        [
            "rows",
            "step, µs",
            "quartiles",
            "construct, s",
            "epoch, s",
            "epoch measured",
            "save, s",
            "load, s",
        ],
        [
            [
                f"{line['rows']:,}",
                _number(line["step_microseconds"]),
                " to ".join(map(_number, line["step_microseconds_quartiles"])),
                _number(line["construct_seconds"], 3),
                _number(line["epoch_seconds"], 2),
                f"{line['epoch_steps_measured'] / line['epoch_steps']:.0%}",
                *(_number(line[f"{name}_seconds"], 3) for name in ("save", "load")),
            ]
            for line in lines
        ],
    )
    phases = ["construct", "epoch", "average", "save", "load"]
    print("Bytes a row: of the state, and the peak in each phase")
    print_table(
        ["rows", "state", *phases],
        [
            [
                f"{line['rows']:,}",
                *map(_number, [line["state_bytes_per_row"], *map(line["peak_bytes_per_row"].get, phases)]),
            ]
            for line in lines
        ],
    )


def print_label_table(lines: Sequence[dict[str, Any]]) -> None:
    print(f"MiB at {lines[0]['rows']:,} rows, batch of {LABEL_BATCH}: the state, and the peak in each phase")
    phases = ["construct", "steps", "refit"]
    print_table(
        ["labels", "batch x labels", "state", *phases, "rows x labels"],
        [
            [
                f"{line['labels']:,}",
                _number(line["logits_mib"], 2),
                _number(line["state_mib"]),
                *(_number(line["peak_mib"][name]) for name in phases),
                _number(line["rows_x_labels_mib"]),
            ]
            for line in lines
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", type=lambda text: int(float(text)), default=[10**n for n in range(4, 9)])
    parser.add_argument("--full", action="store_true", help="Whole epochs, however long they take.")
    parser.add_argument("--max_steps", type=int, default=40_000, help="Steps after which an epoch is cut.")
    parser.add_argument("--steps", type=int, default=2000, help="Steps of each size, taken in turns.")
    parser.add_argument("--labels", nargs="*", type=int, default=[50, 5000])
    parser.add_argument("--label_rows", type=lambda text: int(float(text)), default=100_000)
    parser.add_argument("--label_steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="Where states are saved for a moment: 12 bytes a row.")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.task:
        run_task(args.task)
        return 0
    folder = None if args.folder is None else str(args.folder)
    max_steps = None if args.full else args.max_steps
    facts = environment(args.threads)
    steps = in_own_process("steps", args.threads, all_rows=args.rows, steps=args.steps) if args.rows else {}
    row_lines = [
        {
            **in_own_process("rows", args.threads, rows=rows, max_steps=max_steps, folder=folder),
            **steps[str(rows)],
            **facts,
        }
        for rows in args.rows
    ]
    label_lines = [
        {
            **in_own_process("labels", args.threads, labels=labels, rows=args.label_rows, steps=args.label_steps),
            **facts,
        }
        for labels in args.labels
    ]
    if args.output:
        args.output.write_text("".join(json.dumps(line) + "\n" for line in [*row_lines, *label_lines]))
    if row_lines:
        print_row_tables(row_lines)
    if label_lines:
        print_label_table(label_lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
