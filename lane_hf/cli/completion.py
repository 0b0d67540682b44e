"""`lane completion`: a script that completes commands, options and their values in the shell."""

import argparse
from collections.abc import Iterable
from typing import Any, NamedTuple

from .output import say

_BASH = """\
_lane() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD - 1]}}" words=""
    # The shell takes --option=value for three words.
    if [ "$current" = "=" ]; then
        current=""
    elif [ "$previous" = "=" ]; then
        previous="${{COMP_WORDS[COMP_CWORD - 2]}}"
    fi
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version"
    else
        case "${{COMP_WORDS[1]}} $previous" in
{values}
        *)
            case "${{COMP_WORDS[1]}} $current" in
{options}
            esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _lane lane
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
_HELP = """\
bash: lane completion bash > ~/.local/share/bash-completion/completions/lane
zsh:  lane completion zsh > ~/.lane-completion, and in ~/.zshrc: source ~/.lane-completion"""


class _Words(NamedTuple):
    """What can follow a command.

    Attributes:
        options: its options.
        values: the values of the options that take some of a few.
        first: what may stand in place of an option; empty leaves it to the shell, which knows the files.
    """

    options: list[str]
    values: dict[str, list[str]]
    first: list[str]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "completion",
        help="print a completion script for the shell",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell that it is for")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    script = script_for(arguments.parser)
    say((_ZSH + script if arguments.shell == "zsh" else script).rstrip())


def script_for(parser: argparse.ArgumentParser) -> str:
    """Return the script for a parser with commands; `train` has the options of all methods."""
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    known = {name: _train() if name == "train" else _words(command._actions) for name, command in commands.items()}
    known["datasets"] = known["datasets"]._replace(first=_data_sets())
    values = [
        f'        "{name} {option}") words="{" ".join(choices)}" ;;'
        for name, words in known.items()
        for option, choices in words.values.items()
    ]
    options = []
    for name, words in known.items():
        options.append(f'            "{name} -"*) words="{" ".join(words.options)}" ;;')
        if words.first:
            given = " ".join(words.first)  # but not as the value of an option
            options.append(f'            "{name} "*) case "$previous" in -*) ;; *) words="{given}" ;; esac ;;')
    return _BASH.format(commands=" ".join(commands), values="\n".join(values), options="\n".join(options))


def _words(actions: Iterable[argparse.Action]) -> _Words:
    words = _Words([], {}, [])
    for action in actions:
        choices = [str(choice) for choice in action.choices or ()]
        # `lane train` takes --train-file for --train_file: one of them is enough to choose from.
        names = [name for name in action.option_strings if "-" not in name.removeprefix("--")]
        words.options.extend(names)
        if isinstance(action, argparse._SubParsersAction):  # such as `lane release train`
            inner = [_words(command._actions).options for command in action.choices.values()]
            words.options.extend(dict.fromkeys(name for each in inner for name in each if name not in words.options))
        if choices:
            words.values.update(dict.fromkeys(names, choices))
        if not names:
            words.first.extend(choices)
    return words


def _train() -> _Words:
    from transformers import HfArgumentParser

    from ..methods import METHODS
    from ..run_arguments import DataArguments, ModelArguments, run_config_class

    words = _words(HfArgumentParser((ModelArguments, DataArguments, run_config_class("lane")))._actions)
    others = {f"--{name}" for method in METHODS.values() for name in method.config.own_fields()}
    values = {**words.values, "--method": list(METHODS), "--dataset": _data_sets()}
    return _Words(sorted(others.union(words.options)), values, words.first)


def _data_sets() -> list[str]:
    from ..datasets import names

    return names()
