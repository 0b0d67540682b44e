"""Tables in documents: written by the benchmarks, never by hand."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

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


def show_table(content: str, args: argparse.Namespace) -> None:
    """Print a table, or put it into the document that the arguments name."""
    if args.into is None:
        print(content)
    else:
        replace_table(args.into, args.name, content)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return what a benchmark has written: one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
