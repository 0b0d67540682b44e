"""Finding and reading the files of an original release."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from .entry import DatasetEntry

__all__ = ["SPLIT_FILES", "csv_rows", "find", "lines", "missing", "read_text"]

SPLIT_FILES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""What releases call the files of the splits."""

_FIELD_LIMIT = 2**31 - 1


def find(folder: Path, stems: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """The first file of a folder that has one of the names, whatever its upper and lower case."""
    there = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_file()}
    wanted = [f"{stem}{suffix}".casefold() for stem in stems for suffix in suffixes]
    return next((there[name] for name in wanted if name in there), None)


def missing(entry: DatasetEntry, folder: Path, what: str = "") -> InputError:
    """The error for a folder without the files of a data set."""
    where = f" It comes from {entry.source_url}." if entry.source_url else ""
    return InputError(
        f"{folder}: {what or 'the files of the data set'} {entry.name!r} are not there. Expected: {entry.files}; or "
        f"train.csv, validation.csv and test.csv with the columns text and label (names).{where}"
    )


def read_text(path: Path) -> tuple[str, bool]:
    """The content of a text file, and whether it is UTF-8; if it is not, it is taken for Windows-1252 or Latin-1.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return content.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), False
    except UnicodeDecodeError:  # five bytes mean nothing in Windows-1252; in Latin-1 every byte means something
        return content.decode("latin-1"), False


def lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; only line feeds end a line, since texts may hold what else `splitlines` splits at.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    content, is_utf8 = read_text(path)
    if not is_utf8:
        raise InputError(f"{path}: not UTF-8: the release is, so this file was changed")
    return [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")]


def csv_rows(path: Path, content: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a csv file with their line numbers; empty lines are left out.

    Args:
        path: the file; UTF-8, unless its content is given.
        content: what the file holds, if it was read already.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or has wrong quotes.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        # Line by line: the largest of these files have more than a gigabyte.
        source = path.open(encoding="utf-8-sig", newline="") if content is None else io.StringIO(content, newline="")
        with source as file:
            # Strict: else a quote that is never closed swallows the rows below it, and nobody notices.
            reader = csv.reader(file, strict=True)
            try:
                yield from ((reader.line_num, row) for row in reader if row)
            except csv.Error as error:
                raise InputError(f"{path}, line {reader.line_num}: wrong quotes ({error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: the release is, so this file was changed") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
