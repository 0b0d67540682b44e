"""How probable a causal language model thinks each of several continuations is."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from .tokens import Choices, common_length


class Scorer:
    """Log-probabilities of continuations, several in one batch.

    What a prompt has in common with the one before it, which is all of the examples, is encoded once. Models whose
    cache does not hold every token (sliding windows, recurrent layers) encode everything anew.

    Args:
        model: a causal language model.
        batch_size: how many continuations at once; each has a copy of the prompt's keys and values.
    """

    def __init__(self, model: Any, batch_size: int = 8) -> None:
        self._model = model.eval()
        self._batch_size = batch_size
        self._cuts_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.shares_prompts = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
        self._forget()

    @torch.inference_mode()
    def log_probabilities(self, choices: Choices) -> list[float]:
        """Return the sum of the log-probabilities of each label's tokens after the context."""
        known: list[int] = []
        if self.shares_prompts:
            known = choices.context[:-1]  # the last token's logits belong to the first token of each label
            self._encode(known)
        rest = choices.context[len(known) :]
        totals = []
        for first in range(0, len(choices.labels), self._batch_size):
            totals += self._score(rest, choices.labels[first : first + self._batch_size])
        return totals

    def _score(self, rest: list[int], labels: Sequence[Sequence[int]]) -> list[float]:
        width = max(map(len, labels))
        # What fills up a row stands behind all that counts, and no token of a causal model looks at later ones.
        rows = [[*rest, *label[:-1], *[0] * (width - len(label))] for label in labels]
        logits = self._forward(rows, width)
        scored = torch.tensor([[*label, *[0] * (width - len(label))] for label in labels], device=logits.device)
        lengths = torch.tensor([len(label) for label in labels], device=logits.device)
        found = _at_least_float32(logits).log_softmax(-1).gather(-1, scored[..., None]).squeeze(-1)
        counts = torch.arange(width, device=logits.device) < lengths[:, None]
        return found.double().masked_fill(~counts, 0.0).sum(1).tolist()

    def _forward(self, rows: list[list[int]], width: int) -> torch.Tensor:
        """Return the logits `[rows, width, V]` of the last positions; the cache is as it was."""
        if not self.shares_prompts or not self._held:
            return self._logits(rows, width)
        self._cache.batch_repeat_interleave(len(rows))
        logits = self._logits(rows, width, past_key_values=self._cache)
        self._cache.batch_select_indices(torch.zeros(1, dtype=torch.long, device=logits.device))
        self._cache.crop(-len(rows[0]))
        return logits

    def _encode(self, tokens: list[int]) -> None:
        """Make the cache hold these tokens."""
        shared = common_length(self._held, tokens)
        if shared == 0:
            self._forget()
        elif shared < len(self._held):
            self._cache.crop(shared - len(self._held))
        if shared < len(tokens):
            self._logits([tokens[shared:]], 1, past_key_values=self._cache)
        self._held = tokens

    def _logits(self, rows: list[list[int]], width: int, **cache: Any) -> torch.Tensor:
        cut = {"logits_to_keep": width} if self._cuts_logits else {}
        inputs = torch.tensor(rows, device=self._model.device)
        return self._model(input_ids=inputs, use_cache=bool(cache), **cache, **cut).logits[:, -width:]

    def _forget(self) -> None:
        self._held: list[int] = []
        self._cache = DynamicCache(config=self._model.config)


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()
