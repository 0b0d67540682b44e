"""Answers on disk, one JSON line each: a run that was killed asks nothing twice."""

import hashlib
import json
from pathlib import Path
from typing import Any

from lane_hf.display import first_line
from lane_hf.errors import InputError


def key_of(*parts: Any) -> str:
    """Return a name for what was asked: a hash of the parts, which JSON can write.

    Example:
        >>> key_of("model", [1, 2]) == key_of("model", [1, 2]), key_of("a", "b") == key_of("ab")
        (True, False)
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Answers by key, in a file that only grows.

    The last line may be half written, if the run was killed: it counts as not asked.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[str, dict[str, Any]] = {}
        try:
            content = path.read_text() if path.exists() else ""
            for line in content.splitlines():
                try:
                    answer = json.loads(line)
                    self._answers[answer["key"]] = answer
                except (ValueError, TypeError, KeyError):
                    continue
            self._file = path.open("a")
            if content and not content.endswith("\n"):
                self._file.write("\n")
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: the cache of answers cannot be used ({first_line(error)})") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what `put` was given, or None."""
        return self._answers.get(key)

    def put(self, key: str, **answer: Any) -> dict[str, Any]:
        """Keep an answer; it is with the operating system when this returns."""
        self._answers[key] = {"key": key, **answer}
        self._file.write(json.dumps(self._answers[key]) + "\n")
        self._file.flush()
        return self._answers[key]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
