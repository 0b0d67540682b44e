"""Extension of Griffe, which reads the docstrings for the site: what it does not know of how they are written here.

- A name in square brackets and backticks, as in [`Trainer`], leads to what is called so, where the site shows it.
- "Example:" holds a doctest, as "Examples:" does elsewhere.
- A field of a dataclass is described by the `help` of its metadata, from which the command line is made as well.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import griffe

_REFERENCE = re.compile(r"\[`([A-Za-z_][\w.]*)`\](?![\[(])")
_EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
_log = griffe.get_logger(__name__)


class Docstrings(griffe.Extension):
    """Mends the docstrings of a package once all of it is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Mend all docstrings of a package."""
        every = list(_objects(pkg))
        by_name = defaultdict(set)
        for each in every:
            by_name[each.name].add(each.path)
        for each in every:
            if isinstance(each, griffe.Attribute):
                _describe_field(each)
            if each.docstring is not None:
                text = _EXAMPLE.sub(r"\1Examples:", each.docstring.value)
                each.docstring.value = _REFERENCE.sub(lambda match, at=each: _link(match[1], at, by_name), text)


def _objects(at: griffe.Object) -> Iterator[griffe.Object]:
    yield at
    for member in at.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _link(name: str, at: griffe.Object, by_name: dict[str, set[str]]) -> str:
    path = _path_of(name, at, by_name)
    if path is None:
        _log.warning("%s: nothing is called %s, or more than one thing is", at.path, name)
        return f"`{name}`"
    # Optional: a link where the site shows it, and plain code where it does not.
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'


def _path_of(name: str, at: griffe.Object, by_name: dict[str, set[str]]) -> str | None:
    """Return what a name means: from the class inside to the module, then what has that name alone."""
    first, _, rest = name.partition(".")
    scope: griffe.Object | None = at
    while scope is not None:
        owner = scope.members.get(first)
        if owner is None and scope.is_class:
            owner = scope.inherited_members.get(first)
        if owner is not None:
            path = owner.target_path if owner.is_alias else owner.path
            return f"{path}.{rest}" if rest else path
        scope = scope.parent
    if rest and name.startswith(f"{at.package.name}."):
        return name
    owners = by_name[first]
    path = next(iter(owners)) if len(owners) == 1 else None
    return f"{path}.{rest}" if path and rest else path


def _describe_field(attribute: griffe.Attribute) -> None:
    """Give a field its help text as docstring, and its default as value, instead of the call of `field`."""
    if attribute.value is None or not str(attribute.value).startswith("field("):
        return
    call = ast.parse(str(attribute.value), mode="eval").body
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    attribute.value = ast.unparse(given["default"]) if "default" in given else None
    if attribute.docstring is None and "metadata" in given:
        metadata = given["metadata"]
        texts = {key.value: value for key, value in zip(metadata.keys, metadata.values, strict=True)}
        if isinstance(texts.get("help"), ast.Constant):
            attribute.docstring = griffe.Docstring(texts["help"].value, parent=attribute)
