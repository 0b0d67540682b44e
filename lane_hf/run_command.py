"""The command that repeats a run, from its settings."""

import functools
import shlex
from pathlib import Path
from typing import Any

_GROUPS = ("ModelArguments", "DataArguments", "RunConfig")
_NOT_SHOWN = (
    "output_dir",
    "logging_dir",
    "hub_token",
    "push_to_hub",
    "hub_model_id",
    "resume_from_checkpoint",
    "method",
)


def command_of(settings: dict[str, Any]) -> str:
    """Return the command line that repeats a run: every argument that differs from what it would be by itself.

    Args:
        settings: the content of a run's `run_config.json`.

    Returns:
        One line. Of files only the name is shown, because paths are the user's own.

    Example:
        >>> command_of({"RunConfig": {"method": "aum", "seed": 7}, "DataArguments": {"train_file": "/data/rows.csv"}})
        'lane train --method aum --train_file rows.csv --seed 7'
    """
    run = settings.get("RunConfig", {})
    method = run.get("method", "lane")
    words = ["lane", "train", *(["--method", method] if method != "lane" else [])]
    for group, defaults in zip(_GROUPS, _defaults(method), strict=True):
        for name, value in settings.get(group, {}).items():
            if name in _NOT_SHOWN or name not in defaults or value is None or _same(value, defaults[name]):
                continue
            words += [f"--{name}", *map(_word, value if isinstance(value, list) else [value])]
    return shlex.join(words)


@functools.cache
def _defaults(method: str) -> tuple[dict[str, Any], ...]:
    from .run_arguments import parse

    groups = parse(["--method", method])
    return tuple(group.to_dict() if hasattr(group, "to_dict") else vars(group) for group in groups)


def _same(value: Any, default: Any) -> bool:
    return value == default or str(value) == str(default)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    path = Path(value)
    is_file = path.is_absolute() or (path.suffix != "" and len(path.parts) > 1)  # "user/model" is an id of the Hub
    return path.name if is_file else value
