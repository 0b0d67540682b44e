"""The exceptions for what a user can mend."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class InputError(ValueError):
    """What the user gave is wrong: the message says what, where and what to do, in one line.

    Command lines print the message without a traceback and exit with status 2. It is a `ValueError`, so that library
    users need not know this class.

    Example:
        >>> raise InputError("label 7 in row 12 is out of range: the model has 5 labels (0 to 4)")
        Traceback (most recent call last):
        ...
        lane_hf.errors.InputError: label 7 in row 12 is out of range: the model has 5 labels (0 to 4)
    """


class OutputError(RuntimeError):
    """A result could not be written: the message says which file, and why.

    Command lines print the message without a traceback and exit with status 1.

    Example:
        >>> raise OutputError("fixed.csv: cannot be written (No space left on device)")
        Traceback (most recent call last):
        ...
        lane_hf.errors.OutputError: fixed.csv: cannot be written (No space left on device)
    """


class HubError(RuntimeError):
    """The Hub refused, or could not be reached: the message says what was tried, why it failed and how to go on.

    Command lines print the message without a traceback and exit with status 1.

    Example:
        >>> raise HubError("user/model could not be uploaded (timed out). Push it later with lane push out")
        Traceback (most recent call last):
        ...
        lane_hf.errors.HubError: user/model could not be uploaded (timed out). Push it later with lane push out
    """


class CheckpointError(RuntimeError):
    """A checkpoint or model could not be written: the message says which, why, and what is left to go on from.

    Command lines print the message without a traceback and exit with status 1.

    Example:
        >>> raise CheckpointError("out/checkpoint-40 could not be written (No space left on device)")
        Traceback (most recent call last):
        ...
        lane_hf.errors.CheckpointError: out/checkpoint-40 could not be written (No space left on device)
    """


@contextlib.contextmanager
def naming(source: str | Path | None) -> Iterator[None]:
    """Put the name of a file before the message of an `InputError` that is raised inside.

    Args:
        source: what the message is about; None leaves it as it is.

    Raises:
        InputError: the same, with the name.

    Example:
        >>> with naming("rows.csv"):
        ...     raise InputError("no column is called 'label'")
        Traceback (most recent call last):
        ...
        lane_hf.errors.InputError: rows.csv: no column is called 'label'
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from error
