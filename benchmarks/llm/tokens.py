"""Where a prompt ends and a label begins, in tokens.

A token may span the place where a label begins, and tokens depend on what stands beside them, so prompt and label are
turned into tokens together. What is scored of each label begins where the first label's tokens part from the prompt's,
so all labels are scored after the same tokens.

The token that ends the answer is scored with the label: otherwise "1" could never be less probable than "10", which
begins with it. It is what the chat template writes after an answer, or what follows a label among the examples.
"""

import bisect
from collections.abc import Sequence
from typing import Any, NamedTuple

from lane_hf.display import first_line, quoted
from lane_hf.errors import InputError

from .prompts import AFTER_ANSWER


class Choices(NamedTuple):
    """A question in tokens.

    Attributes:
        context: what all labels follow.
        labels: for each label, the tokens that are scored.
    """

    context: list[int]
    labels: list[list[int]]


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two texts begin with in common.

    Example:
        >>> common_length([1, 2, 3], [1, 2, 4])
        2
    """
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


class Questions:
    """Turns prompts into tokens, with the tokenizer's chat template if it has one.

    Args:
        tokenizer: of a causal language model; a fast one.

    Raises:
        InputError: the tokenizer is not fast.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise InputError("the model's tokenizer does not say where tokens end: a fast tokenizer is needed")
        self._tokenizer = tokenizer
        self._is_chat = bool(getattr(tokenizer, "chat_template", None))
        bos = tokenizer.bos_token_id
        begins = not self._is_chat and bos is not None and tokenizer("a").input_ids[:1] == [bos]
        self._start = [bos] if begins else []  # a chat template writes it by itself

    def choices(self, prompt: str, names: Sequence[str]) -> Choices:
        """Return the tokens of a prompt and of each label as its answer.

        Raises:
            InputError: two labels have the same tokens, or the chat template fails.
        """
        whole, answers = self._render(prompt, names)
        (prompt_tokens, _), *ended = self._encode([whole, *(whole + answer + end for answer, end in answers)])
        start = min(common_length(prompt_tokens, tokens) for tokens, _ in ended)
        if start == 0:
            raise InputError("the tokenizer's tokens of a prompt depend on what follows: its labels cannot be scored")
        labels: list[list[int]] = []
        for name, (answer, _), (tokens, ends) in zip(names, answers, ended, strict=True):
            # The first token that reaches beyond the label is the last one that is scored.
            scored = tokens[start : bisect.bisect_right(ends, len(whole + answer)) + 1]
            if scored in labels:
                other = names[labels.index(scored)]
                raise InputError(f"the labels {quoted(other)} and {quoted(name)} are the same tokens: rename one")
            labels.append(scored)
        return Choices(prompt_tokens[:start], labels)

    def length(self, prompt: str, names: Sequence[str]) -> int:
        """Return how many tokens a prompt and its longest answer have at most."""
        whole, answers = self._render(prompt, names)
        (prompt_tokens, _), *others = self._encode([whole, *map("".join, answers)])
        return len(prompt_tokens) + max(len(tokens) for tokens, _ in others)

    def _render(self, prompt: str, names: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
        """Return the prompt as the model sees it; for each label how it is written, and what ends it."""
        if not self._is_chat:
            return prompt, [(f" {name}", AFTER_ANSWER) for name in names]
        whole = self._chat(prompt, None)
        end = self._tokenizer.eos_token or "\n"
        answers = []
        for name in names:
            full = self._chat(prompt, name)
            before, found, after = full.removeprefix(whole).partition(name)
            # Some templates write finished answers in another way than the one that is to come.
            usual = full.startswith(whole) and found
            answers.append((before + name, after or end) if usual else (name, end))
        return whole, answers

    def _chat(self, prompt: str, answer: str | None) -> str:
        messages = [{"role": "user", "content": prompt}]
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        try:
            # Templates that know no thinking do not look at `enable_thinking`.
            return self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=answer is None, enable_thinking=False
            )
        except Exception as error:  # a template is a program of the model's authors
            raise InputError(f"the model's chat template fails ({first_line(error)})") from error

    def _encode(self, texts: list[str]) -> list[tuple[list[int], list[int]]]:
        """Return for each text its tokens, and where in the text each ends."""
        encoded = self._tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [
            ([*self._start, *tokens], [*[0] * len(self._start), *(end for _, end in places)])
            for tokens, places in pairs
        ]
