"""What is refused before any work is done: files in the way, folders that are not there, shares out of range."""

from pathlib import Path

from ..errors import InputError


def check_share(name: str, value: float) -> None:
    """Raise `InputError` unless a number is in [0, 1].

    Example:
        >>> check_share("min_confidence", 0.9)
    """
    if not 0 <= value <= 1:
        raise InputError(f"{name} must be in [0, 1], got {value}")


def check_suffix(path: str | Path) -> None:
    """Raise `InputError` unless a file's suffix is that of a table."""
    from ..table_writer import SUFFIXES

    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")


def check_folder(path: str | Path) -> None:
    """Raise `InputError` if the folder of a file that is to be written does not exist."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise InputError(f"{path}: cannot be written, there is no folder {folder}. Make it first")


def check_new(*paths: str | Path) -> None:
    """Raise `InputError` if a file exists already, cannot be made, or is named twice."""
    for path in map(Path, paths):
        if path.exists():
            raise InputError(f"{path} exists already: nothing is overwritten, name another file")
        check_folder(path)
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise InputError(f"{paths[0]} is named twice: name different files")
