"""Hook of the site: the page of the command line is made from the parsers, so that it cannot be out of date.

The page in `docs/` has a mark where the commands go. Reading `lane train` takes PyTorch and Transformers: the site is
built where lane_hf is installed.
"""

import argparse
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

PAGE = "reference/command-line.md"
MARK = "<!-- commands -->"
_TRAINING = "lane train"
_SPECIAL = re.compile(r"([\\`*_{}\[\]|$~^])")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the commands into their page."""
    if page.file.src_uri != PAGE:
        return markdown
    if markdown.count(MARK) != 1:
        raise ValueError(f"{PAGE} must have one line {MARK}")
    from lane_hf.cli import parser

    # The parser of all commands knows only the name of `lane train`.
    return markdown.replace(MARK, "\n".join([*_training(), *commands_page(parser(), left_out=_TRAINING)]))


def commands_page(parser: argparse.ArgumentParser, left_out: str | None = None) -> list[str]:
    """Return the lines of the commands of a parser, and of theirs, each with its options.

    Args:
        parser: a parser with commands.
        left_out: the command that is described elsewhere.
    """
    lines = []
    for command, about in _commands(parser):
        if command.prog == left_out:
            continue
        lines += [f"## {command.prog}", "", f"{_sentence(about)}", ""]
        own = [action for action in command._actions if not isinstance(action, argparse._SubParsersAction)]
        if any(action.option_strings and action.dest != "help" for action in own) or not _has_commands(command):
            lines += ["```text", command.format_usage().removeprefix("usage: ").strip(), "```", ""]
            lines += list(_options(command, own))
        lines += [f"#{line}" if line.startswith("## ") else line for line in commands_page(command)]
    return lines


def _training() -> Iterator[str]:
    from lane_hf.methods import METHODS
    from lane_hf.run_arguments import DataArguments, ModelArguments, RunConfig, run_config_class
    from lane_hf.run_parser import RunParser

    def parser_of(name: str) -> RunParser:
        config = run_config_class(name)
        return RunParser(ModelArguments, DataArguments, config, METHODS[name], _TRAINING)

    parser = parser_of("lane")
    yield from [f"## {_TRAINING}", "", "Fine-tune a classifier.", ""]
    yield from ["```text", str(parser.usage), "```", ""]
    groups = {
        "the data": [each.name for each in fields(DataArguments)],
        "the model": [each.name for each in fields(ModelArguments)],
        "the run": list(RunConfig.__annotations__),
        "all methods": ["check_replicas", "margin_history", "resume_from_checkpoint", "seed"],
    }
    for title, names in groups.items():
        yield from [f"### {_TRAINING}: {title}", "", *_options(parser, _named(parser, names))]
    yield from ["`lane train --help` lists those of `transformers.TrainingArguments` besides, which it takes too.", ""]
    shown: set[str] = set()
    for name, method in METHODS.items():
        if method.config.__name__ not in shown and method.config.own_fields():
            shown.add(method.config.__name__)
            names = [each.name for each in METHODS.values() if each.config is method.config]
            of_method = parser_of(name)
            yield from [f"### --method {', '.join(names)}", ""]
            yield from _options(of_method, _named(of_method, method.config.own_fields()))


def _named(parser: argparse.ArgumentParser, names: Sequence[str]) -> list[argparse.Action]:
    actions = {action.dest: action for action in reversed(parser._actions)}  # `--no_x` comes after `--x`
    return [actions[name] for name in names if name in actions]


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            about = {each.dest: each.help or "" for each in action._choices_actions}
            for name, command in action.choices.items():
                yield command, about.get(name, "")


def _has_commands(parser: argparse.ArgumentParser) -> bool:
    return any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)


def _options(parser: argparse.ArgumentParser, actions: Sequence[argparse.Action]) -> Iterator[str]:
    formatter = argparse.HelpFormatter(parser.prog)
    for action in actions:
        if action.dest == "help" or action.help == argparse.SUPPRESS:
            continue
        # HfArgumentParser takes dashes for underscores as well: one spelling is enough.
        names = [name for name in action.option_strings if "-" not in name.removeprefix("--")] or action.option_strings
        name = names[0] if names else ""
        placeholder = action.dest.upper() if names else action.dest
        value = "" if action.nargs == 0 else formatter._format_args(action, placeholder)
        yield f"`{' '.join(filter(None, [name, value]))}`"
        yield f":   {_sentence(_about(parser, action))}"
        yield ""


def _about(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    about = (action.help or "") % {**vars(action), "prog": parser.prog}
    says_default = re.search(r"default|leaves|none\b", about, re.IGNORECASE)
    if action.default in (None, argparse.SUPPRESS, "", []) or action.nargs == 0 or says_default:
        return about
    return f"{about.rstrip('.')}. Default: {action.default}."


def _sentence(text: str) -> str:
    """Return a help text as a sentence of Markdown."""
    text = text.strip()
    text = f"{text[:1].upper()}{text[1:]}" if text[:1].isalpha() and not text.split()[0].count("_") else text
    text = f"{text}." if text and text[-1] not in ".:?)" else text
    return _SPECIAL.sub(r"\\\1", html.escape(text, quote=False))
