"""`lane completion`: a script that completes commands and options in the shell."""

import argparse
from typing import Any

from .output import say

_BASH = """\
_lane() {{
    local words
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then words="{commands} --help --version"; fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _lane lane
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("completion", help="print a completion script for the shell")
    parser.add_argument("shell", choices=("bash", "zsh"), help='for bash: eval "$(lane completion bash)"')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from . import parser  # the parser has this command too

    script = script_for(parser())
    if arguments.shell == "zsh":
        script = f"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n{script}"
    say(script.rstrip())


def script_for(parser: argparse.ArgumentParser) -> str:
    """Return the script for a parser with commands; options of `train` are those of LANE."""
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    cases = []
    for name, command in commands.items():
        options = _train_options() if name == "train" else sorted(command._option_string_actions)
        cases.append(f'    {name}) words="{" ".join(options)}" ;;')
    return _BASH.format(cases="\n".join(cases), commands=" ".join(commands))


def _train_options() -> list[str]:
    from dataclasses import fields

    from ..run_arguments import DataArguments, ModelArguments, run_config_class

    groups = (ModelArguments, DataArguments, run_config_class("lane"))
    return sorted(f"--{each.name}" for group in groups for each in fields(group) if each.init)
