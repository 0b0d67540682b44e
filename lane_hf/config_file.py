"""Configuration files: names and values in plain yaml or json, refused in one line if they are anything else."""

import json
from pathlib import Path
from typing import Any

import yaml

from .display import one_line
from .errors import InputError

CONFIG_SUFFIXES = (".yaml", ".yml", ".json")


class _Loader(yaml.SafeLoader):
    """Plain yaml only: aliases can blow a small file up to any size, and a repeated name hides a setting."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a name occurs more than once", node.start_mark)
        return mapping


def read_config(path: Path) -> dict[Any, Any]:
    """Return the names and values of a yaml or json file.

    Raises:
        InputError: there is no such file, or it is no plain yaml or json with names and values.

    Example:
        >>> read_config(Path("config.yaml"))  # doctest: +SKIP
        {'seed': 7}
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = path.read_text(encoding="utf-8-sig")
        is_json = path.suffix.lower() == ".json"
        values = json.loads(content, object_pairs_hook=_unique) if is_json else _Loader(content).get_single_data()
    except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may hold a token
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise InputError(f"{path}: cannot be read ({one_line(reason)}{where})") from error
    except Exception as error:  # yaml leaves many errors of wrongly typed values as they come
        raise InputError(f"{path}: cannot be read ({one_line(str(error) or type(error).__name__)})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected names and values, such as 'seed: 7'")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a name occurs more than once")
    return mapping
