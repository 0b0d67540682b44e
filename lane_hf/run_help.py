"""The help of the main job: two hundred arguments in groups, the rare ones last."""

from argparse import Action, ArgumentDefaultsHelpFormatter, ArgumentParser
from collections.abc import Sequence
from typing import NamedTuple


class OneSpelling(ArgumentDefaultsHelpFormatter):
    """Shows each argument in one spelling, and its default if it has one.

    HfArgumentParser also takes dashes for the underscores, which would make each heading two lines long.
    """

    def _format_action_invocation(self, action: Action) -> str:
        names = [name for name in action.option_strings if "-" not in name.removeprefix("--")]
        if action.nargs == 0 or not names:
            return ", ".join(names or action.option_strings)
        return f"{names[0]} {self._format_args(action, self._get_default_metavar_for_optional(action))}"

    def _get_help_string(self, action: Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class HelpGroup(NamedTuple):
    """Arguments that are shown together.

    Attributes:
        title: its heading.
        names: of its arguments, in the order in which they are shown. Of a name that several groups have, the first
            one shows it.
        about: a line below the heading.
    """

    title: str
    names: Sequence[str]
    about: str | None = None


def grouped_help(parser: ArgumentParser, groups: Sequence[HelpGroup], rest: HelpGroup) -> str:
    """Return a parser's help with its arguments in groups.

    Args:
        parser: whose help it is. Its usage should be short: argparse would list every argument there.
        groups: those that are shown first; one without arguments is left out.
        rest: title and line of the group of everything that no group names, in the order of the parser.

    Example:
        >>> parser = ArgumentParser(prog="train", usage="train [options]", add_help=False)
        >>> for name in ("--rows", "--seed"):
        ...     action = parser.add_argument(name)
        >>> print(grouped_help(parser, [HelpGroup("data", ["rows"])], HelpGroup("others", [])))
        usage: train [options]
        <BLANKLINE>
        data:
          --rows ROWS
        <BLANKLINE>
        others:
          --seed SEED
        <BLANKLINE>
    """
    # argparse has no public list of them; `--no_x` is left out, as `--x False` says the same.
    left = [action for action in parser._actions if action.option_strings[:1] != [f"--no_{action.dest}"]]
    formatter = parser._get_formatter()
    formatter.add_usage(parser.usage, left, [])
    formatter.add_text(parser.description)
    for group in (*groups, rest):
        at = {name: position for position, name in reversed(list(enumerate(group.names)))}  # named twice: the first
        shown = left if group is rest else [action for action in left if action.dest in at]
        shown = sorted(shown, key=lambda action: at.get(action.dest, 0))
        left = [action for action in left if action not in shown]
        if shown:
            formatter.start_section(group.title)
            formatter.add_text(group.about)
            formatter.add_arguments(shown)
            formatter.end_section()
    return formatter.format_help()
