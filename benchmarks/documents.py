"""Tables in documents: written by the benchmarks, never by hand."""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]

_MARK = r"<!-- table: {name} -->\n.*?<!-- end of table -->"


def replace_table(path: Path, name: str, content: str) -> None:
    """Replace what stands between `<!-- table: NAME -->` and `<!-- end of table -->` in a document.

    Raises:
        ValueError: there is not exactly one such table.
    """
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(_MARK.format(name=re.escape(name)), re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(
            f"{path}: expected one table named {name!r} between <!-- table: {name} --> and <!-- end of table -->"
        )
    path.write_text(
        pattern.sub(lambda _: f"<!-- table: {name} -->\n\n{content.strip()}\n\n<!-- end of table -->", text),
        encoding="utf-8",
    )


def add_table_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments of [`show_table`]; `name` is the table's, unless another is given."""
    parser.add_argument("--into", type=Path, help="A document that the table goes into, instead of the terminal.")
    parser.add_argument("--name", default=name, help="Which table of the document.")


def add_line_arguments(parser: argparse.ArgumentParser, name: str, has_figure: bool = False) -> None:
    """Add the arguments of a benchmark that writes lines, and shows them or those of before as a table."""
    parser.add_argument("--output", type=Path, default=None, help="Where each run is appended, as JSON.")
    parser.add_argument("--show", type=Path, help="Measure nothing: make the table of these lines.")
    add_table_arguments(parser, name)
    if has_figure:
        parser.add_argument("--figure", type=Path, help="The SVG.")


def keep_line(line: Line, args: argparse.Namespace) -> Line:
    """Append a line to the output as soon as it is known: a run that is cut short keeps what it has measured."""
    if args.output is not None:
        with args.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return line


def measure_or_show(
    args: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Sequence[Line]],
    report: Callable[[Sequence[Line]], str],
    draw: Callable[[Sequence[Line], Path], None] | None = None,
) -> None:
    """Do what the arguments of [`add_line_arguments`] ask for."""
    lines = measure(args) if args.show is None else read_lines(args.show)
    if draw is not None and args.figure is not None:
        draw(lines, args.figure)
    show_table(report(lines), args)


def show_table(content: str, args: argparse.Namespace) -> None:
    """Print a table, or put it into the document that the arguments name."""
    if args.into is None:
        print(content)
    else:
        replace_table(args.into, args.name, content)


def read_lines(path: Path) -> list[Line]:
    """Return what a benchmark has written: one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
