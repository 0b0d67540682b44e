"""`lane report`: the HTML report of a training run, or of margins that were recorded elsewhere."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from .output import say

_DEFAULT = "_report/report.html"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("report", help="write the report of a training run: one HTML file")
    parser.add_argument("run_dir", nargs="?", help="output_dir of the training run")
    parser.add_argument(
        "--margins", help="instead of a run: a table with row_id, label and margins (such as the aum package's csv)"
    )
    parser.add_argument("--label_names", nargs="+", help="names of the labels in --margins, if they are numbers")
    parser.add_argument("--output", help=f"the HTML file (default: {_DEFAULT} in the run's folder)")
    parser.add_argument("--rows", type=int, default=10_000, help="how many rows its table holds (default: 10000)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..datasets.tables import read_table
    from ..report.from_margins import issues_from_margins
    from ..report.html import write_report
    from ..report.run_record import read_run

    if (arguments.run_dir is None) == (arguments.margins is None):
        raise InputError("give either the folder of a training run or --margins. See lane report --help")
    if arguments.margins is not None:
        if arguments.output is None:
            raise InputError("--margins needs --output: name the HTML file")
        record = issues_from_margins(read_table(arguments.margins), arguments.label_names)
    else:
        record = read_run(arguments.run_dir)
    output = Path(arguments.output) if arguments.output else Path(arguments.run_dir) / _DEFAULT
    if arguments.margins is not None and output.exists() and output.samefile(arguments.margins):
        raise InputError(f"{output}: the input would be overwritten, name another file")
    say(f"Report: {write_report(record, output, arguments.rows)}")
