"""The `lane` command.

Every error is one line on standard error that says what is wrong, where and what to do. The exit status is 0; 1 if
something could not be written or a check failed; 2 if what the user gave is wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import InputError
from ..version import __version__
from . import augment, compare, completion, datasets, doctor, fix, issues, noise, report
from .output import say_error

COMMANDS = (issues, report, fix, compare, datasets, noise, augment, doctor, completion)
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. See {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["train"]:  # its two hundred arguments belong to the main job
        from ..run import main as train

        return train(argv[1:], program="lane train")
    try:
        arguments = parser().parse_args(argv)
        status: int | None = arguments.run(arguments)
    except InputError as error:
        say_error(str(error))
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        say_error("interrupted")
        return _INTERRUPTED
    return status or 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands but `train`, which only has its name here."""
    whole = _Parser(prog="lane", description="Train on labels you cannot trust, and find the wrong ones.")
    whole.add_argument("--version", action="version", version=f"lane_hf {__version__}")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    commands.add_parser("train", help="fine-tune a classifier (see lane train --help)", add_help=False)
    for command in COMMANDS:
        command.add(commands)
    return whole
