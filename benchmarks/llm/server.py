"""Labels from a server that speaks OpenAI's protocol: what a language model answers, at temperature 0.

The key comes from OPENAI_API_KEY. It is part of no file and no message, also where a server repeats it.
"""

import os
import re
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lane_hf.display import first_line
from lane_hf.errors import InputError

from .answers import UNPARSED, label_of
from .cache import AnswerCache, key_of
from .prompts import Labelled, Task, how_many_fit, make_prompt, warn_of_missing

KEY_VARIABLE = "OPENAI_API_KEY"
WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further attempt; after the last one the run stops."""

MAX_ANSWER_TOKENS = 32
MAX_RETRY_AFTER = 120
_CHARACTERS = 4  # a token, roughly
_TOO_MANY = 429
_SERVER_FAULT = 500
_RETRIED = (408, 409, _TOO_MANY)
_NO_ACCESS = (401, 403)


class ServerError(RuntimeError):
    """The server gave no answer, however often it was asked; what it answered before is kept."""


class Prices(NamedTuple):
    """What a million tokens cost."""

    into: float
    out: float

    def of(self, tokens_in: float, tokens_out: float) -> float:
        """Return the price of a request."""
        return (self.into * tokens_in + self.out * tokens_out) / 1e6


class Estimate(NamedTuple):
    """What tasks will cost at most, as far as it can be told from the number of characters."""

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def __str__(self) -> str:
        cost = "no prices given" if self.cost is None else f"cost about {self.cost:.2f}"
        tokens = f"about {self.tokens_in:,} tokens in and at most {self.tokens_out:,} out"
        return f"{self.requests:,} requests, {tokens}, {cost}"


def read_key() -> str:
    """Return the key out of the environment.

    Raises:
        InputError: there is none, or it cannot be one.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise InputError(f"set {KEY_VARIABLE} to the server's key, or to any word if it asks for none")
    if not re.fullmatch(r"[!-~]+", key):
        raise InputError(f"{KEY_VARIABLE} holds characters that no key has, such as spaces or letters beyond ASCII")
    return key


def check_address(address: str) -> str:
    """Return the host of a server's address.

    Raises:
        InputError: it is no address, or a name and password stand in it.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname
        _ = parts.port  # raises if it is no number
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise InputError("--server must be an address such as https://api.openai.com/v1")
    if parts.username or parts.password or parts.query:
        raise InputError(f"--server must not hold a name, a password or a query: the key comes from {KEY_VARIABLE}")
    return host


class Pace:
    """Keeps requests apart.

    Args:
        per_minute: how many there may be; None: no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next request may start."""
        now = monotonic()
        if now < self._next:
            sleep(self._next - now)
        self._next = max(now, self._next) + self._gap


class ServerLabeller:
    """Labels the rows of tasks; answers are kept in a cache.

    Args:
        address: of the server, such as https://api.openai.com/v1.
        model: its name there.
        cache: where answers are kept.
        prices: for the estimate and the cost.
        per_minute: how many requests there may be a minute.
        timeout: seconds until a request counts as failed.
        max_prompt_tokens: what the model takes; estimated from the number of characters.
    """

    def __init__(
        self,
        address: str,
        model: str,
        cache: AnswerCache,
        *,
        prices: Prices | None = None,
        per_minute: float | None = None,
        timeout: float = 60.0,
        max_prompt_tokens: int | None = None,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise InputError("--server needs the package openai: pip install openai") from error
        self._openai = openai
        self._host = check_address(address)
        self._key = read_key()
        # Attempts are counted and waited for here: the client's own would not keep to the pace.
        self._client = openai.OpenAI(base_url=address, api_key=self._key, max_retries=0, timeout=timeout)
        self._model = model
        self._cache = cache
        self._prices = prices
        self._pace = Pace(per_minute)
        self._limit = max_prompt_tokens

    def estimate(self, tasks: list[Task]) -> Estimate:
        """Return what is still to be asked, and what it may cost."""
        unknown = {}
        for task in tasks:
            for prompt in self._prompts(task)[0]:
                key = self._key_of(prompt)
                if self._cache.get(key) is None:
                    unknown[key] = len(prompt) / _CHARACTERS
        tokens = round(sum(unknown.values())), len(unknown) * MAX_ANSWER_TOKENS
        return Estimate(len(unknown), *tokens, self._prices.of(*tokens) if self._prices else None)

    def label(self, task: Task) -> Labelled:
        """Return a label for every row of the task.

        Raises:
            InputError: the server refuses what it is asked.
            ServerError: the server fails.
        """
        prompts, shown = self._prompts(task)
        warn_of_missing(task, shown, self._limit)
        predictions, costs, requests = [], {}, 0
        for prompt in prompts:
            key = self._key_of(prompt)
            kept = self._cache.get(key)
            if kept is None:
                kept = self._cache.put(key, **self._ask(prompt))
                requests += 1
            predictions.append(label_of(kept["answer"], task.names))
            costs[key] = self._prices.of(kept["tokens_in"], kept["tokens_out"]) if self._prices else 0.0
        cost = sum(costs.values()) if self._prices else None
        return Labelled(predictions, shown, requests, len(prompts) - requests, cost)

    def _prompts(self, task: Task) -> tuple[list[str], list[int]]:
        shown = how_many_fit(task, lambda prompt: len(prompt) / _CHARACTERS + MAX_ANSWER_TOKENS, self._limit)
        pairs = zip(task.texts, shown, strict=True)
        return [make_prompt(task.names, task.examples[:number], text) for text, number in pairs], shown

    def _request(self, prompt: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        return {"model": self._model, "messages": messages, "temperature": 0, "max_tokens": MAX_ANSWER_TOKENS}

    def _key_of(self, prompt: str) -> str:
        return key_of(self._request(prompt))

    def _ask(self, prompt: str) -> dict[str, Any]:
        """Return answer and tokens; ask again if the server is busy or fails."""
        for wait in (*WAITS, None):
            self._pace.wait()
            try:
                return self._read(self._client.chat.completions.create(**self._request(prompt)), prompt)
            except self._openai.APIStatusError as error:
                if error.status_code not in _RETRIED and error.status_code < _SERVER_FAULT:
                    raise InputError(self._refusal(error)) from None
                problem, least = self._said(error), _retry_after(error.response.headers.get("retry-after", ""))
            except (self._openai.APIConnectionError, ValueError) as error:  # ValueError: what came back is no answer
                problem, least = self._said(error.__cause__ or error), 0.0
            if wait is not None:
                sleep(max(wait, least))
        raise ServerError(
            f"{self._host} failed {len(WAITS) + 1} times ({problem}): what was answered is kept, "
            "run the same command again to go on"
        )

    def _read(self, response: Any, prompt: str) -> dict[str, Any]:
        choices = getattr(response, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        content = getattr(message, "content", None) or ""  # a refusal has none
        if message is None or not isinstance(content, str):
            raise ValueError("the response holds no answer")
        answer = self._without_key(content)
        used = response.usage
        return {
            "answer": answer,
            "tokens_in": getattr(used, "prompt_tokens", None) or round(len(prompt) / _CHARACTERS),
            "tokens_out": getattr(used, "completion_tokens", None) or round(len(answer) / _CHARACTERS),
        }

    def _refusal(self, error: Any) -> str:
        if error.status_code in _NO_ACCESS:  # these messages like to show parts of the key
            return f"{self._host} refuses the key in {KEY_VARIABLE} ({error.status_code})"
        return f"{self._host} refuses the request: {self._said(error)}"

    def _said(self, error: BaseException) -> str:
        return first_line(ValueError(self._without_key(str(error))))  # before it is cut: half a key is too much

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]")


def count_unparsed(labelled: Labelled) -> int:
    """Return how many answers were no label."""
    return labelled.predictions.count(UNPARSED)


def _retry_after(header: str) -> float:
    """Return the seconds that a server asks for, at most two minutes; 0 if it says a date or nothing."""
    return min(float(header), MAX_RETRY_AFTER) if re.fullmatch(r"\d+(\.\d+)?", header) else 0.0
