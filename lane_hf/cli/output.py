"""What commands print: words, tables, JSON; coloured and boxed on a terminal, plain text in a pipe."""

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..display import printable


def say(text: str) -> None:
    """Print a text; what the terminal's encoding lacks is replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # noqa: T201 -- a command line


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


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells below each other, the first one a heading.

    Example:
        >>> print(columns([("name", "rows"), ("demo", "2500")]))
        name  rows
        demo  2500
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def say_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells, the first one a heading: boxed on a terminal, aligned text in a pipe.

    Cells are shown as they are: nothing in them is markup.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
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
