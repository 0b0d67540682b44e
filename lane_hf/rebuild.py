"""Rebuilding the data files that the package ships, and comparing them byte for byte."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

DEFAULT_WORDNET = Path("/usr/share/wordnet")
"""Where Debian's package wordnet-base puts the database."""

Contents = Mapping[str, bytes]
"""Files by name."""


def run(
    arguments: Sequence[str] | None,
    *,
    program: str,
    description: str,
    sources: Sequence[str],
    build: Callable[[Contents], Contents],
    digest: Callable[[Contents], str],
    expected_digest: str,
    shipped: Path,
) -> int:
    """Run a command line that builds data files from WordNet or checks those that are shipped.

    Args:
        arguments: the arguments, by default those of the process.
        program: what the help calls the program.
        description: one line for the help.
        sources: names of the WordNet files that are read.
        build: makes the data files from the contents of the sources; `ValueError` says that they are no WordNet files.
        digest: identifies the contents of the sources.
        expected_digest: what it was when the shipped files were built.
        shipped: folder of the shipped files.

    Returns:
        The exit status: 0 for success, 1 if a check found a difference, 2 if the sources could not be read.

    Example:
        >>> run(["--check"], **details)  # doctest: +SKIP
        0
    """
    options = _parse(arguments, program, description)
    try:
        contents = {name: (options.wordnet / name).read_bytes() for name in sources}
        built = build(contents)
    except OSError as error:
        return _fail(2, f"cannot read {error.filename}: {error.strerror}; install the Debian package wordnet-base")
    except ValueError as error:
        return _fail(2, f"{options.wordnet}: {error}")
    if not options.check:
        return _write(built, options.output)
    differences = [message for name in built if (message := _difference(built[name], shipped / name))]
    if not differences:
        sys.stdout.write(f"OK: the rebuild of {' and '.join(built)} equals the shipped files\n")
        return 0
    if digest(contents) != expected_digest:
        differences.append("note: this WordNet is not the one that the shipped files were built from")
    return _fail(1, "\n".join(differences))


def _parse(arguments: Sequence[str] | None, program: str, description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument(
        "--wordnet",
        type=Path,
        default=DEFAULT_WORDNET,
        metavar="FOLDER",
        help="folder with the WordNet 3.0 database files (default: %(default)s)",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", type=Path, metavar="FOLDER", help="folder to write the files to")
    action.add_argument("--check", action="store_true", help="compare a rebuild with the shipped files, byte for byte")
    return parser.parse_args(arguments)


def _write(built: Contents, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in built.items():
        # Bytes, because text mode would change the line breaks on some platforms.
        (folder / name).write_bytes(content)
        sys.stdout.write(f"wrote {folder / name} ({len(content):,} bytes)\n")
    return 0


def _fail(status: int, message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return status


def _difference(built: bytes, shipped_path: Path) -> str | None:
    if not shipped_path.is_file():
        return f"MISSING: {shipped_path} is not shipped"
    shipped = shipped_path.read_bytes()
    if built == shipped:
        return None
    ours, theirs = built.split(b"\n"), shipped.split(b"\n")
    same = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"DIFFERENT: {shipped_path} differs from the rebuild, first in line {same + 1}"
