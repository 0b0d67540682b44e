"""What a language model is asked: an instruction, labelled examples, and a text without its label."""

import bisect
import functools
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lane_hf.display import quoted
from lane_hf.errors import InputError

ANSWER = "Label:"
AFTER_ANSWER = "\n\nText:"
"""What follows a label in the prompt, and so what a model without a chat template would write next."""


class Example(NamedTuple):
    """A labelled text in the prompt."""

    text: str
    label: str
    is_flipped: bool


class Task(NamedTuple):
    """The rows of one cell, and the examples that all of them are shown."""

    about: str
    names: list[str]
    examples: list[Example]
    texts: list[str]
    labels: list[int]


class Labelled(NamedTuple):
    """What a language model made of a task.

    Attributes:
        predictions: a label for each row; -1 where the answer was no label.
        shown: how many examples each row's prompt had.
        requests: how many prompts were put to the model now.
        cached: how many answers were there already.
        cost: what all answers cost, now and earlier; None without prices.
    """

    predictions: list[int]
    shown: list[int]
    requests: int
    cached: int
    cost: float | None


def make_prompt(names: Sequence[str], examples: Sequence[Example], text: str) -> str:
    """Return the prompt; it ends where the label is to be written.

    White space in texts becomes single spaces: an empty line would look like the end of an example.

    Example:
        >>> print(make_prompt(["no", "yes"], [Example("Go  on.", "yes", False)], "Stop."))
        Label the last text with exactly one of these labels: no, yes. Answer with the label only.
        <BLANKLINE>
        Text: Go on.
        Label: yes
        <BLANKLINE>
        Text: Stop.
        Label:
    """
    head = f"Label the last text with exactly one of these labels: {', '.join(names)}. Answer with the label only."
    shown = [f"Text: {' '.join(each.text.split())}\n{ANSWER} {each.label}" for each in examples]
    return "\n\n".join([head, *shown, f"Text: {' '.join(text.split())}\n{ANSWER}"])


def how_many_fit(task: Task, length_of: Callable[[str], float], most: float | None) -> list[int]:
    """Return for each row how many examples its prompt has room for; examples are left out from the end.

    Args:
        task: the rows and the examples.
        length_of: tokens of a prompt and its answer.
        most: as many as the model takes; None: no limit is known.

    Raises:
        InputError: a text is too long even without examples.
    """
    number = len(task.examples)
    if most is None:
        return [number] * len(task.texts)

    def is_too_long(shown: int, text: str) -> bool:
        return length_of(make_prompt(task.names, task.examples[:shown], text)) > most

    fitting = []
    for text in task.texts:
        shown = number
        if is_too_long(number, text):
            first_too_long = bisect.bisect_left(range(number), True, key=functools.partial(is_too_long, text=text))
            shown = first_too_long - 1
        if shown < 0:
            raise InputError(
                f"{task.about}: the text {quoted(text)} is too long for {most:g} tokens even without examples: "
                "shorten it, leave it out, or raise --max_prompt_tokens if the model takes more"
            )
        fitting.append(shown)
    return fitting


def warn_of_missing(task: Task, shown: Sequence[int], most: float | None) -> None:
    """Say on stderr how many examples fit, if not all of them do."""
    fewer = sum(number < len(task.examples) for number in shown)
    if fewer:
        print(
            f"warning: {task.about}: of {len(shown)} test rows {fewer} have room for fewer than {len(task.examples)} "
            f"examples in {most:g} tokens: the least {min(shown)}, on average {sum(shown) / len(shown):.1f}",
            file=sys.stderr,
        )
