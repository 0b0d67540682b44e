"""What the label in a cell of a table is called."""

import re
from typing import Any

_INTEGER = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")  # as tables write whole numbers once a cell was missing: 1.0


def label_name(cell: Any) -> str:
    """Return what a cell's label is called: 1, 1.0, "1" and "1.0" are one, as files differ in how they write numbers.

    Example:
        >>> label_name(1.0), label_name("1"), label_name("one")
        ('1', '1', 'one')
    """
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else str(cell)
    whole = _INTEGER.fullmatch(str(cell))
    if whole is None:
        return str(cell)
    return "0" if whole[1] == "-0" else whole[1]  # not by way of a number: a float would round 9007199254740993.0
