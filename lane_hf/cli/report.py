"""`lane report`: the HTML report of a training run, or of margins that were recorded elsewhere."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, naming
from ..report import REPORT_FILE
from .output import add_json_argument, say_result

if TYPE_CHECKING:
    from ..report.run_record import RunRecord


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("report", help="write the report of a training run: one HTML file")
    parser.add_argument("run_dir", nargs="?", help="output_dir of the training run")
    elsewhere = parser.add_argument_group("of training elsewhere")
    elsewhere.add_argument(
        "--margins", help="instead of a run: a table with row_id, label and margins (such as the aum package's csv)"
    )
    elsewhere.add_argument("--label_names", nargs="+", help="names of the labels in --margins, if they are numbers")
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output", help=f"the HTML file, written anew if it exists (default: {REPORT_FILE} in the run's folder)"
    )
    out.add_argument("--rows", type=int, default=10_000, help="how many rows its table holds (default: 10000)")
    add_json_argument(out)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..report.html import write_report

    output = _output(arguments)
    written = write_report(_record(arguments), output, arguments.rows)
    say_result(arguments, f"Report: {written}", {"output": str(written)})


def _output(arguments: argparse.Namespace) -> Path:
    if (arguments.run_dir is None) == (arguments.margins is None):
        raise InputError("give either the folder of a training run or --margins. See lane report --help")
    if arguments.margins is None and arguments.label_names is not None:
        raise InputError("--label_names belongs to --margins: a training run knows the names of its labels")
    if arguments.rows < 1:
        raise InputError(f"--rows must be at least 1, got {arguments.rows}")
    if arguments.output is None and arguments.margins is not None:
        raise InputError("--margins needs --output: name the HTML file")
    output = Path(arguments.output) if arguments.output else Path(arguments.run_dir) / REPORT_FILE
    if output.suffix.lower() not in (".html", ".htm"):  # a table given by mistake would be overwritten
        raise InputError(f"{output}: the report is HTML, name a file ending in .html")
    return output


def _record(arguments: argparse.Namespace) -> "RunRecord":
    from ..datasets.tables import read_table
    from ..report.from_margins import issues_from_margins
    from ..report.run_record import read_run

    if arguments.margins is None:
        return read_run(arguments.run_dir)
    table = read_table(arguments.margins)
    with naming(arguments.margins):
        return issues_from_margins(table, arguments.label_names)
