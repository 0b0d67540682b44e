"""Are the probabilities of the label table right? Reliability on training rows whose flips are known.

    python benchmarks/accuracy.py ... --tables TABLES                   train, and keep the label tables
    python benchmarks/calibration.py TABLES/*.parquet --output benchmarks/results/calibration.jsonl
    python benchmarks/calibration.py --show LINES --into docs/reference/calibration.md --figure calibration.svg

The probabilities are computed anew, from what training recorded of each row, by the code as it stands. Of each table
it notes, for ten bins of `noise_probability` and of the issues' `suggestion_confidence`, how many rows there are,
their mean probability, and the share for which it was true.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from documents import replace_table

from lane_hf.noise_probability import noise_probability

BINS = 10


def measure(path: Path) -> dict[str, Any]:
    """Return a line about the label table in a file."""
    table = pd.read_parquet(path)
    names = sorted({*table["given_label"], *table["runner_up_label"]})
    labels, others = (
        torch.tensor(table[name].map(names.index).to_numpy()) for name in ("given_label", "runner_up_label")
    )
    margins, confidence = (torch.tensor(table[name].to_numpy(np.float64)) for name in ("aum", "confidence"))
    noise = noise_probability(margins, confidence, labels, len(names), others).numpy().astype(float)
    flipped, issue = table["is_flipped"].to_numpy(), noise > 0.5  # noqa: PLR2004 -- more likely than not
    suggestion = noise[issue] * table["runner_up_share"].to_numpy()[issue]
    right = (table["runner_up_label"][issue].astype(str) == table["original_label"][issue].astype(str)).to_numpy()
    return {
        "table": path.stem,
        "rows": len(table),
        "labels": len(names),
        "noise_rate": float(flipped.mean()),
        "estimated_noise_rate": float(noise.mean()),
        "issues": int(issue.sum()),
        "expected_precision": float(noise[issue].mean()),
        "precision": float(flipped[issue].mean()),
        "recall": float(issue[flipped].mean()),
        "noise_bins": bins(noise, flipped),
        "noise_brier": float(((noise - flipped) ** 2).mean()),
        "suggestion_bins": bins(suggestion, right),
        "suggestion_brier": float(((suggestion - right) ** 2).mean()),
    }


def bins(probability: np.ndarray, truth: np.ndarray) -> list[dict[str, float]]:
    """Return number, mean probability and share of truth of the rows in each of ten bins; empty ones are left out.

    Example:
        >>> bins(np.array([0.05, 0.95, 1.0]), np.array([False, True, False]))[1]["share"]
        0.5
    """
    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        {"rows": int(own.sum()), "mean": float(probability[own].mean()), "share": float(truth[own].mean())}
        for own in (which == number for number in range(BINS))
        if own.any()
    ]


def calibration_error(binned: Sequence[dict[str, float]]) -> float:
    """Return the expected calibration error: the mean distance of the bins from the diagonal, weighted by rows.

    Source: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    total = sum(each["rows"] for each in binned)
    return sum(each["rows"] * abs(each["mean"] - each["share"]) for each in binned) / total


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table."""
    heading = (
        "| run | flipped | estimated | issues | expected precision | precision | recall "
        "| calibration error: label wrong | suggestion right |"
    )
    rows = [heading, "|---" * 9 + "|"]
    for line in lines:
        cells = [f"`{line['table']}`", *(f"{line[name]:.1%}" for name in ("noise_rate", "estimated_noise_rate"))]
        cells += [
            str(line["issues"]),
            *(f"{line[name]:.3f}" for name in ("expected_precision", "precision", "recall")),
        ]
        cells += [f"{calibration_error(line[name]):.3f}" for name in ("noise_bins", "suggestion_bins")]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the reliability of both probabilities, a curve for each run."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    least = 20  # rows: fewer say little
    with rc_context({"svg.hashsalt": "calibration", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 4.4), layout="constrained")
        panels = {"noise_bins": "the given label is wrong", "suggestion_bins": "the suggestion is right (issues)"}
        for ax, (name, words) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            ax.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
            for line, marker in zip(lines, "os^Dv<>pPX*", strict=False):
                points = [(each["mean"], each["share"]) for each in line[name] if each["rows"] >= least]
                label = line["table"] if name == "noise_bins" else None
                ax.plot(*zip(*points, strict=True), marker=marker, markersize=4, linewidth=1, label=label)
            ax.set(xlabel=f"probability that {words}", ylabel="share that was true")
        figure.legend(loc="outside lower center", fontsize=6.5, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", type=Path, help="label tables of accuracy.py --tables")
    parser.add_argument("--output", type=Path, help="Where the lines are written, as JSON.")
    parser.add_argument("--show", type=Path, help="Read no tables: make the document or figure of these lines.")
    parser.add_argument("--into", type=Path, help="A document that the table goes into, instead of the terminal.")
    parser.add_argument("--name", default="calibration", help="Which table of the document.")
    parser.add_argument("--figure", type=Path, help="An SVG of the reliability curves.")
    args = parser.parse_args(argv)
    if args.show is not None:
        lines = [json.loads(line) for line in args.show.read_text().splitlines()]
    else:
        lines = [measure(path) for path in args.tables]
    if not lines:
        parser.error("give label tables, or --show")
    if args.output is not None:
        args.output.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if args.figure is not None:
        draw(lines, args.figure)
    if args.into is not None:
        replace_table(args.into, args.name, report(lines))
    elif args.figure is None:
        print(report(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
