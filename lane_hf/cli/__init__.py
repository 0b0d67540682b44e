"""The `lane` command.

Every error is one line on standard error that says what is wrong, where and what to do; so is every warning for users.
The exit status is 0; 1 if something could not be written or a check failed; 2 if what the user gave is wrong; 130 if
it was interrupted.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..display import excerpt, first_line, warnings_in_words
from ..errors import CheckpointError, HubError, InputError, OutputError
from ..version import __version__
from . import augment, compare, completion, datasets, doctor, fix, issues, noise, push, release, report
from .output import say_error

COMMANDS = (issues, report, fix, compare, push, release, datasets, noise, augment, doctor, completion)
_FAILED = 1
_WRONG = 2
_INTERRUPTED = 130
_DASHED = re.compile(r"--[a-z]+(?:-[a-z]+)+(?:=.*)?", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)  # as in `lane train`: an option of tomorrow changes no command

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
    with warnings_in_words():
        return _run_and_report(argv)


def _run_and_report(argv: list[str]) -> int:
    try:
        status = _run(argv)
        sys.stdout.flush()  # while a failure can still be reported
    except InputError as error:
        say_error(str(error))
        return _WRONG
    except (CheckpointError, HubError, OutputError) as error:
        say_error(str(error))
        return _FAILED
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        _drop_output()
        return 0
    except OSError as error:  # such as a full disk behind the output
        _drop_output()
        say_error(f"{error.filename or 'the output'} could not be read or written ({first_line(error)})")
        return _FAILED
    except KeyboardInterrupt:
        trains = argv[:1] == ["train"] or argv[:2] == ["release", "train"]
        go_on = ": --resume_from_checkpoint True goes on from the last checkpoint" if trains else ""
        say_error(f"interrupted{go_on}")
        return _INTERRUPTED
    return status


def _run(argv: list[str]) -> int:
    if argv[:1] == ["train"]:  # its two hundred arguments belong to the main job
        from ..run import main as train

        return _status(lambda: train(argv[1:], program="lane train"))
    return _status(lambda: _run_command([_underscored(argument) for argument in argv]))


def _status(run: Any) -> int:
    try:
        return int(run())
    except SystemExit as done:  # help or version: they are printed
        return int(done.code or 0)


def _run_command(argv: list[str]) -> int:
    arguments, unknown = parser().parse_known_args(argv)
    if "more" in arguments:  # a command that hands on what it does not know itself
        arguments.more = unknown
    elif unknown:
        command = next(argument for argument in argv if not argument.startswith("-"))
        raise InputError(f"unknown argument {excerpt(unknown[0])}. See lane {command} --help")
    return arguments.run(arguments) or 0


def _underscored(argument: str) -> str:
    """Return an option as its name is written here: `lane train` takes --text-column for --text_column too."""
    if _DASHED.fullmatch(argument) is None:
        return argument
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def _drop_output() -> None:
    """Send what is left in the buffer nowhere: Python would fail to write it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands but `train`, which only has its name here."""
    whole = _Parser(prog="lane", description="Train on labels you cannot trust, and find the wrong ones.")
    whole.add_argument("--version", action="version", version=f"lane_hf {__version__}")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    commands.add_parser("train", help="fine-tune a classifier (see lane train --help)", add_help=False)
    for command in COMMANDS:
        command.add(commands)
    whole.set_defaults(parser=whole)  # `lane completion` completes every command
    return whole
