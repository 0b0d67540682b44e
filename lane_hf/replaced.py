"""Another value of an attribute, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value inside a `with` block.

    Example:
        >>> from types import SimpleNamespace
        >>> owner = SimpleNamespace(color="red")
        >>> with replaced(owner, "color", "blue"):
        ...     print(owner.color)
        blue
        >>> owner.color
        'red'
    """
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
