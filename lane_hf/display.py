"""Texts of users on a terminal: short, on one line, and without anything that steers it."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TOKEN = re.compile(r"hf_\w+")  # how tokens of the Hub begin: none belongs in a message
_EXCERPT = 40  # texts are the user's data: messages and logs show no more of them
_MESSAGE = 300  # what other libraries say can be long
_JOINERS = "\u200c\u200d"  # invisible, but many scripts and emoji are written with them


def printable(text: str) -> str:
    """Return a text that a terminal can show: one line, and nothing in it that moves the cursor or changes colours.

    Example:
        >>> printable("one\\n two \\x1b[31m")
        'one two \ufffd[31m'
    """
    return "".join(each if each.isprintable() or each in _JOINERS else "\ufffd" for each in " ".join(text.split()))


def excerpt(text: str) -> str:
    """Return a text, printable and cut to 40 characters.

    Example:
        >>> excerpt("word " * 20)
        'word word word word word word word wo...'
    """
    # What is cut off anyway is not looked at: a cell may hold a megabyte, and spaces may be most of it.
    shown = printable(text[: 50 * _EXCERPT])
    return shown if len(shown) <= _EXCERPT and len(text) <= 50 * _EXCERPT else f"{shown[: _EXCERPT - 3]}..."


@contextmanager
def warnings_in_words() -> Iterator[None]:
    """Show users what they are warned of in one line, and not the line of code that noticed it.

    Warnings for programmers, such as those of deprecation, stay as they are.

    Example:
        >>> with warnings_in_words():
        ...     warnings.formatwarning("a label has\\n no row", UserWarning, "code.py", 7)
        'warning: a label has no row\\n'
    """
    usual = warnings.formatwarning

    def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
        if category is not UserWarning:
            return usual(message, category, *place, **more)
        return f"warning: {printable(str(message))}\n"  # like an error, it may quote a file

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = usual


def quoted(name: object) -> str:
    """Return an excerpt in quotes, as a message names a column or a label: spaces may be what is wrong with it.

    Example:
        >>> quoted("text"), quoted("text ")
        ("'text'", "'text '")
    """
    text = str(name)
    return repr(text if len(text) <= _EXCERPT else excerpt(text))  # whose escapes steer no terminal either


def hidden_tokens(text: str) -> str:
    """Return a text without the tokens of the Hub that it may hold.

    Example:
        >>> hidden_tokens("--hub_token=hf_abc")
        '--hub_token=hf_...'
    """
    return _TOKEN.sub("hf_...", text)


def one_line(message: str) -> str:
    """Return a message in one line, cut, without tokens of the Hub.

    Example:
        >>> one_line("two\\n lines")
        'two lines'
    """
    return hidden_tokens(" ".join(message.split()))[:_MESSAGE]


def listed(names: list[str], most: int = 8) -> str:
    """Return names as a list in a message: excerpts of the first few.

    Example:
        >>> listed(["text", "label"])
        "'text', 'label'"
    """
    return ", ".join(map(quoted, names[:most])) + (", ..." if len(names) > most else "")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 200 characters, or its name if it says nothing.

    Example:
        >>> first_line(ValueError("one\\ntwo")), first_line(ValueError())
        ('one', 'ValueError')
    """
    lines = str(error).strip().splitlines()
    return printable(lines[0][:200]) if lines else type(error).__name__
