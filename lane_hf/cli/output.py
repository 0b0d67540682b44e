"""What commands print: words, tables, JSON; coloured and boxed on a terminal, plain text in a pipe."""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ..display import printable

_Item = TypeVar("_Item")


def add_json_argument(parser: Any) -> None:
    """Add `--json` to a command or a group of its arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, for machines")


def say(text: str) -> None:
    """Print a text; what the terminal's encoding lacks is replaced."""
    print(_encodable(text))  # noqa: T201 -- a command line


def say_result(arguments: argparse.Namespace, words: str, facts: dict[str, Any]) -> None:
    """Print what a command has done: in words, or with `--json` the facts."""
    say(as_json(facts) if arguments.json else printable(words))


def say_error(text: str) -> None:
    """Print an error in one line. It may quote a file: nothing in it shall steer the terminal."""
    print(f"error: {printable(text)}", file=sys.stderr)  # noqa: T201 -- a command line


def as_json(value: Any) -> str:
    """Return a value as JSON; what is not a number is null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, default=dict)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    value = getattr(value, "item", lambda: value)()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def share(value: float) -> str:
    """Return a share in per cent, `unknown` if it is NaN.

    Example:
        >>> share(0.125), share(float("nan"))
        ('12.5%', 'unknown')
    """
    return "unknown" if math.isnan(value) else f"{value:.1%}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells below each other, the first one a heading.

    Example:
        >>> print(columns([("name", "rows"), ("demo", "2500")]))
        name  rows
        demo  2500
    """
    from rich.cells import cell_len  # some letters are two columns wide, some none

    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(c + " " * (w - cell_len(c)) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def say_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells, the first one a heading: boxed on a terminal, aligned text in a pipe.

    Cells are shown as they are: nothing in them is markup.
    """
    cells = [[printable(_encodable(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        say(columns(cells))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in cells[0]:
        table.add_column(Text(name), overflow="fold")
    for row in cells[1:]:
        table.add_row(*map(Text, row))
    Console().print(table)


def progress(items: Iterable[_Item], total: int, what: str) -> Iterable[_Item]:
    """Return the items, with a bar on standard error as they are taken, if that is a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, what, total=total, console=Console(stderr=True), transient=True)


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
