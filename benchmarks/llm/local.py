"""Labels from a causal language model on this machine: the label that it thinks most probable as the answer."""

import hashlib
import math
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lane_hf.display import first_line
from lane_hf.errors import InputError
from lane_hf.run_arguments import has_fast_bf16

from .cache import AnswerCache, key_of
from .prompts import Labelled, Task, how_many_fit, make_prompt, warn_of_missing
from .scoring import Scorer
from .tokens import Questions


def load_model(name: str) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer, in bfloat16 where that is fast.

    Raises:
        InputError: it cannot be loaded.
    """
    dtype = torch.bfloat16 if has_fast_bf16() else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except Exception as error:  # from_pretrained raises whatever its parsers raise
        raise InputError(f"{name}: no causal language model can be loaded ({first_line(error)})") from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def digest_of(model: Any) -> str:
    """Return a hash of some numbers of every parameter: other weights under the same name have another one."""
    digest = hashlib.sha256()
    for name, values in model.named_parameters():
        some = values.detach().flatten()[:: max(1, values.numel() // 64)][:64]
        digest.update(f"{name} {tuple(values.shape)} {values.dtype} {some.tolist()}".encode())
    return digest.hexdigest()


def longest_prompt(model: Any, tokenizer: Any) -> int | None:
    """Return how many tokens the model takes, or None if neither it nor its tokenizer says so."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if found is None and tokenizer.model_max_length < 10**9:  # a tokenizer that knows no limit says 10**30
        found = tokenizer.model_max_length
    return found


class LocalLabeller:
    """Labels the rows of tasks; scores are kept in a cache.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        cache: where scores are kept.
        normalise: "sum" or "mean" of the log-probabilities of a label's tokens.
        batch_size: how many labels are scored at once.
        max_prompt_tokens: a limit below the model's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        cache: AnswerCache,
        *,
        normalise: str = "sum",
        batch_size: int = 8,
        max_prompt_tokens: int | None = None,
    ) -> None:
        self._questions = Questions(tokenizer)
        self._scorer = Scorer(model, batch_size)
        self._digest = digest_of(model)
        self._cache = cache
        self._is_mean = normalise == "mean"
        limits = [limit for limit in (longest_prompt(model, tokenizer), max_prompt_tokens) if limit is not None]
        self._limit = min(limits, default=None)

    def label(self, task: Task) -> Labelled:
        """Return a label for every row of the task.

        Raises:
            InputError: a prompt is too long, the labels cannot be told apart, or the model gives no numbers.
        """
        shown = how_many_fit(task, lambda prompt: self._questions.length(prompt, task.names), self._limit)
        warn_of_missing(task, shown, self._limit)
        predictions, cached = [], 0
        for text, number in zip(task.texts, shown, strict=True):
            scores, was_there = self._scores(make_prompt(task.names, task.examples[:number], text), task.names)
            predictions.append(max(range(len(scores)), key=scores.__getitem__))
            cached += was_there
        return Labelled(predictions, shown, len(shown) - cached, cached, None)

    def _scores(self, prompt: str, names: list[str]) -> tuple[list[float], bool]:
        """Return the score of every label, and whether it was in the cache."""
        choices = self._questions.choices(prompt, names)
        key = key_of(self._digest, choices.context, choices.labels)
        kept = self._cache.get(key)
        found = kept or self._cache.put(key, scores=self._log_probabilities(choices))
        if not self._is_mean:
            return found["scores"], kept is not None
        pairs = zip(found["scores"], choices.labels, strict=True)
        return [score / len(label) for score, label in pairs], kept is not None

    def _log_probabilities(self, choices: Any) -> list[float]:
        try:
            scores = self._scorer.log_probabilities(choices)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"out of memory at a prompt of {len(choices.context)} tokens and {len(choices.labels)} labels: "
                "lower --batch_size, --examples or --max_prompt_tokens"
            ) from error
        if any(map(math.isnan, scores)):
            raise InputError(
                "the model's probabilities are NaN: its weights are damaged or overflow in this precision"
            )
        return scores
