"""Draw the weights of clean and of flipped rows, as in the paper's Figure 1, from runs whose flips are known.

    python benchmarks/accuracy.py ... --tables TABLES                    train, and keep the label tables
    python benchmarks/weights.py TABLES/A.parquet TABLES/B.parquet --figure docs/assets/weights.svg

A panel for each label table.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from lane_hf.report.figures import weight_histogram
from lane_hf.report.label_issues import LabelIssues


def draw(tables: Sequence[Path], titles: Sequence[str], path: Path) -> None:
    """Draw the panels, side by side, as an SVG that is the same for the same tables."""
    with rc_context({"svg.hashsalt": "weights", "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.8 * len(tables), 3.6), layout="constrained")
        panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
        for ax, table, title in zip(panels, tables, titles, strict=True):
            weight_histogram(LabelIssues(pd.read_parquet(table)), ax=ax)
            ax.set_title(title, fontsize=10)
        figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path, help="label tables of accuracy.py --tables")
    parser.add_argument("--titles", nargs="+", help="one for each table; else the names of the files")
    parser.add_argument("--figure", type=Path, required=True, help="the SVG")
    args = parser.parse_args(argv)
    titles = args.titles or [path.stem for path in args.tables]
    if len(titles) != len(args.tables):
        parser.error(f"{len(args.tables)} tables and {len(titles)} titles")
    draw(args.tables, titles, args.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
