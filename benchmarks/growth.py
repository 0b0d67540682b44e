"""How what a step does about its rows grows: with the data set, with the labels, with the batch.

    python benchmarks/growth.py --output growth.jsonl
    python benchmarks/growth.py --show growth.jsonl --into docs/explanation/performance.md --name growth \
        --figure docs/explanation/growth.svg

No network runs: logits and embeddings are random. *rows* is what the default of LANE does with them (margins,
averages, statistics, weights, soft targets and their cross-entropy, forward and backward), *contrastive* the
supervised contrastive term on embeddings of 384 numbers. One quantity is changed, the others stay as they are. All
sizes take turns in one process, so that whatever else the machine does falls on all alike; the mean is shown, with
the steps that take in what others have kept, and the slope of its logarithm: 0 is a constant, 1 is in proportion.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aum_update import seconds_of
from documents import add_line_arguments, keep_line, measure_or_show
from torch.nn import functional as F

from lane_hf.buffer import AlmBuffer
from lane_hf.config import LaneConfig
from lane_hf.contrastive import believed_contrastive_loss
from lane_hf.row_statistics import Observation, RowStatistics
from lane_hf.row_weights import RowWeights
from lane_hf.soft_targets import believed_labels, candidate_targets

USUAL = {"rows": 100_000, "labels": 10, "batch": 32}
SIZES = {
    "rows": [10**4, 10**5, 10**6, 10**7],
    "labels": [2, 10, 50, 500, 5000],
    "batch": [8, 32, 128, 512],
}
EMBEDDING = 384


class Step:
    """What a step does about its rows, at one size."""

    def __init__(self, rows: int, labels: int, batch: int) -> None:
        self.rows, self.labels, self.batch = rows, labels, batch
        device = "cuda" if torch.cuda.is_available() else "cpu"
        config = LaneConfig(tempfile.gettempdir(), use_cpu=device == "cpu")
        self.statistics = RowStatistics(rows, labels, device)
        self.buffer, self.weights = AlmBuffer(rows, device), RowWeights(config, labels, rows, device)
        self.generator = torch.Generator().manual_seed(0)

    def draw(self) -> dict[str, torch.Tensor]:
        """Return a random batch."""
        device, generator = self.buffer.device, self.generator
        return {
            "ids": torch.randint(self.rows, (self.batch,), generator=generator).to(device),
            "labels": torch.randint(self.labels, (self.batch,), generator=generator).to(device),
            "candidates": torch.randint(self.labels, (self.batch,), generator=generator).to(device),
            "shares": torch.rand(self.batch, generator=generator).to(device),
            "logits": torch.randn(self.batch, self.labels, generator=generator).to(device).requires_grad_(),
            "embeddings": torch.randn(self.batch, EMBEDDING, generator=generator).to(device).requires_grad_(),
        }

    def of_rows(
        self, batch: dict[str, torch.Tensor], gather: Callable[[Observation], Observation] | None = None
    ) -> None:
        """Do what the default of LANE does with a batch, besides the network; `gather` adds other processes' rows."""
        ids, labels, logits = batch["ids"], batch["labels"], batch["logits"]
        seen = self.statistics.observe(ids, labels, logits.detach())
        if gather is not None:
            seen = gather(seen)
        self.statistics.record(seen)
        self.weights.observe(seen, 2.0)
        self.buffer.update(seen.row_ids, seen.margins)
        weights = self.weights.of_batch(self.buffer, ids, labels, seen.row_ids, 2.0)
        candidates = self.statistics.candidates(ids).clamp_min(0)
        targets = candidate_targets(logits.detach(), labels, candidates, 1 - weights)
        F.cross_entropy(logits, targets).backward()

    def contrastive(self, batch: dict[str, torch.Tensor]) -> None:
        """Do the contrastive term."""
        beliefs = believed_labels(batch["labels"], batch["candidates"], batch["shares"], self.labels)
        believed_contrastive_loss(batch["embeddings"], beliefs, 0.3).backward()


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each size."""
    points = [(name, size, Step(**{**USUAL, name: size})) for name in SIZES for size in SIZES[name]]
    times: dict[tuple[str, int], dict[str, list[float]]] = {
        (name, size): {"rows": [], "contrastive": []} for name, size, _ in points
    }
    for turn in range(args.steps + args.warm_up):
        for name, size, step in points:
            batch = step.draw()
            works: dict[str, Callable[..., None]] = {"rows": step.of_rows, "contrastive": step.contrastive}
            for what, work in works.items():
                spent = seconds_of(lambda: work(batch))  # noqa: B023 -- called at once
                if turn >= args.warm_up:
                    times[name, size][what].append(1e6 * spent)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    about = {"steps": args.steps, "device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    return [
        keep_line(
            {"changed": name, "size": size, **{w: statistics.fmean(own) for w, own in found.items()}, **about}, args
        )
        for (name, size), found in times.items()
    ]


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the exponent of the power law that fits best.

    Example:
        >>> round(slope([1, 10, 100], [3, 30, 300]), 6)
        1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: what is changed, its sizes, microseconds at each, slope."""
    rows = ["| changed | from, to | rows, µs | slope | contrastive, µs | slope |", "|---|---|---|---|---|---|"]
    for name in SIZES:
        own = [line for line in lines if line["changed"] == name]
        sizes = [line["size"] for line in own]
        cells = []
        for what in ("rows", "contrastive"):
            times = [line[what] for line in own]
            cells += [", ".join(f"{each:,.0f}" for each in times), f"{slope(sizes, times):.2f}"]
        rows.append(f"| {name} | {', '.join(f'{size:,}' for size in sizes)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each quantity, as an SVG that is the same for the same lines."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "growth", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        panels = figure.subplots(1, len(SIZES), sharey=True)
        units = {"rows": "rows of the training set", "labels": "labels", "batch": "rows of a batch"}
        for ax, name in zip(panels, SIZES, strict=True):
            own = [line for line in lines if line["changed"] == name]
            for what, mark in (("rows", "o-"), ("contrastive", "s--")):
                ax.loglog([line["size"] for line in own], [line[what] / 1000 for line in own], mark, label=what)
            ax.set_xlabel(units[name])
            ax.grid(alpha=0.3)
        panels[0].set_ylabel("milliseconds a step")
        panels[0].legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was measured."""
    first = lines[0]
    usual = ", ".join(f"{size:,} {name}" for name, size in USUAL.items())
    return (
        f"Unless changed: {usual}. {first['device']} ({first['threads']} threads), torch {first['torch']}; mean of "
        f"{first['steps']} steps.\n\n{table(lines)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=192)
    parser.add_argument("--warm_up", type=int, default=64, help="Steps that are not counted.")
    add_line_arguments(parser, "growth", has_figure=True)
    args = parser.parse_args(argv)
    measure_or_show(args, measure, report, draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
