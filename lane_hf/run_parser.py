"""The parser of the main job's arguments: one line for an error, groups in the help."""

import difflib
from argparse import ArgumentParser
from dataclasses import fields
from typing import NoReturn

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from .display import one_line
from .errors import InputError
from .method_config import MethodConfig
from .methods import METHODS, Method
from .run_help import HelpGroup, OneSpelling, grouped_help

_FIRST = ("help", "method")
_USUAL = ("seed", "push_to_hub", "hub_model_id")


class RunParser(HfArgumentParser):
    """A parser whose errors are one line, without the usage of two hundred arguments.

    Args:
        model: dataclass of the model's arguments.
        data: dataclass of the data's.
        config: dataclass of the run's, for one method.
        method: that method.
        program: what the help calls the program.
    """

    def __init__(self, model: type, data: type, config: type, method: Method, program: str) -> None:
        description = (
            f"Train with the method {method.name}: {method.summary}. A yaml or json file may hold arguments; those of "
            "the command line override it. --method NAME --help shows the options of another method."
        )
        usage = f"{program} [CONFIG.yaml] [--NAME VALUE ...]"
        super().__init__(
            (model, data, config),
            prog=program,
            usage=usage,
            description=description,
            allow_abbrev=False,
            formatter_class=OneSpelling,
        )
        self.groups = (model, data, config)
        self._method = method
        for action in self._actions:
            if action.type is string_to_bool and action.nargs is None:
                action.nargs, action.const = "?", True  # `--bf16` alone, as in the scripts of Transformers

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`."""
        raise InputError(f"{one_line(message)}. See --help")

    def format_help(self) -> str:
        """Return the help, in groups."""
        model, data, config = ([each.name for each in fields(group)] for group in self.groups)
        own = [name for name in self._method.config.own_fields() if name in config]
        run = [*_FIRST, *self._fields_of_the_run(), *_USUAL]
        groups = [
            HelpGroup("run", run),
            HelpGroup("model", model),
            HelpGroup("data", data),
            HelpGroup(f"method {self._method.name}", own),
            HelpGroup("every method", list(MethodConfig.__annotations__)),
        ]
        rest = HelpGroup("more", [], "All other arguments of transformers.TrainingArguments.")
        return grouped_help(self, groups, rest)

    def _fields_of_the_run(self) -> list[str]:
        """Return what the main job declares itself, which a class for one method has inherited."""
        return [name for kind in self.groups[2].__mro__[1:2] for name in kind.__annotations__]


def argument_names(parser: ArgumentParser) -> list[str]:
    """Return the names of a parser's arguments."""
    return [action.dest for action in parser._actions if action.dest != "help"]  # argparse has no public list of them


def guess(name: str, parser: ArgumentParser) -> str:
    """Return what may have been meant by an unknown name, in brackets, or nothing."""
    name = name.partition("=")[0]
    owners = [method.name for method in METHODS.values() if name in method.config.own_fields()]
    if owners:
        return f" (it is an option of the method {' or '.join(owners)})"
    close = difflib.get_close_matches(name, argument_names(parser), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
