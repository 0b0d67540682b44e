"""What a run's `run_config.json` says of how it was trained: read with care, as people edit such files."""

from typing import Any

from ..errors import InputError

GROUPS = ("ModelArguments", "DataArguments", "RunConfig", "versions")


def group_of(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a group of a run's settings, empty if there is none.

    Args:
        settings: of a [`RunRecord`].
        name: such as "DataArguments".

    Raises:
        InputError: the group is no object.

    Example:
        >>> group_of({"RunConfig": {"seed": 7}}, "RunConfig")
        {'seed': 7}
    """
    group = settings.get(name) or {}
    if not isinstance(group, dict):
        raise InputError(f"run_config.json: {name} is no object. Restore the file as the run has written it")
    return group


def text_of(group: dict[str, Any], name: str) -> str | None:
    """Return a setting that is a text, None if it is not set.

    Raises:
        InputError: it is something else.

    Example:
        >>> text_of({"train_file": "rows.csv"}, "train_file")
        'rows.csv'
    """
    value = group.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"run_config.json: {name} is no text. Restore the file as the run has written it")
    return value or None
