"""The command that repeats a run, from its settings."""

import functools
import json
import shlex
from pathlib import Path
from typing import Any

from .packaged_model import is_path

GROUPS = ("ModelArguments", "DataArguments", "RunConfig")
_NOT_SHOWN = (
    "output_dir",
    "logging_dir",
    "hub_token",
    "push_to_hub",
    "hub_model_id",
    "resume_from_checkpoint",
    "method",
)
_NAMES_OR_PATHS = ("model_name_or_path", "dataset")
_PATHS = ("_file", "_dir", "deepspeed", "_config")


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
    for group, defaults in zip(GROUPS, _defaults(method), strict=True):
        for name, value in settings.get(group, {}).items():
            if name in _NOT_SHOWN or name not in defaults or value is None or same(value, defaults[name]):
                continue
            words += [f"--{name}", *_words(name, value, is_local(settings, name))]
    return shlex.join(words)


@functools.cache
def _defaults(method: str) -> tuple[dict[str, Any], ...]:
    from .run_arguments import parse

    groups = parse(["--method", method])
    return tuple(group.to_dict() if hasattr(group, "to_dict") else vars(group) for group in groups)


def same(value: Any, other: Any) -> bool:
    """Return whether two values of an argument are the same, one of which may have been written as JSON.

    Example:
        >>> same(0.5, "0.5"), same(1, 2)
        (True, False)
    """
    return bool(value == other or str(value) == str(other))


def is_local(settings: dict[str, Any], name: str) -> bool | None:
    """Return whether a run took a model or data set from a folder; None if its settings do not say.

    Args:
        settings: the content of a run's `run_config.json`; those of older runs do not say.
        name: of the argument, such as "model_name_or_path".

    Example:
        >>> is_local({"local_paths": ["dataset"]}, "dataset"), is_local({}, "dataset")
        (True, None)
    """
    local = settings.get("local_paths")
    return name in local if isinstance(local, list) else None


def _words(name: str, value: Any, local: bool | None) -> list[str]:
    """Return an argument's values as words; of files and folders the names only."""
    if isinstance(value, list):
        return [word for each in value for word in _words(name, each, local)]
    if isinstance(value, dict):
        return [json.dumps(value)]
    if not isinstance(value, str):
        return [str(value)]
    if name in _NAMES_OR_PATHS:
        is_file = is_path(value) if local is None else local
    else:
        is_file = name.endswith(_PATHS) or Path(value).is_absolute()
    return [Path(value).name if is_file else value]
