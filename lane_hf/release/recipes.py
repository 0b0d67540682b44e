"""Recipes: the arguments of `lane train` behind each checkpoint that this project means to release.

A recipe is a yaml file in `recipe_files`, which is part of the package: `lane release train NAME` and the messages of
`lane_hf.from_pretrained` need the recipes where the library is installed, with no checkout of the repository at hand.
The folder `model_cards` of the repository holds only what is generated from them.
"""

import difflib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..config_file import read_config
from ..datasets.registry import entry
from ..display import quoted
from ..errors import InputError
from ..packaged_model import HUB_ID

FOLDER = Path(__file__).with_name("recipe_files")
_KEYS = ("name", "repo", "summary", "arguments")
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_ENCODER = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
# A recipe is the same for everybody: where files lie, and who uploads what, belongs to one run.
_OF_ONE_RUN = (
    *("data_dir", "train_file", "validation_file", "test_file", "cache_dir", "output_dir", "logging_dir"),
    *("hub_token", "hub_model_id", "push_to_hub", "resume_from_checkpoint"),
    *("dataset_num_proc", "overwrite_cache"),
)


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint is trained.

    Attributes:
        name: of the checkpoint, and of the file.
        repo: its repository on the Hub; None until somebody releases it.
        summary: what it is, in one line.
        arguments: of `lane train`, by name, without paths.

    Example:
        >>> recipe("goemotions-bert").command
        'lane release train goemotions-bert'
    """

    name: str
    repo: str | None
    summary: str
    arguments: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.arguments["dataset"])

    @property
    def encoder(self) -> str:
        """Hub id of the encoder."""
        return str(self.arguments.get("model_name_or_path") or HUB_ID)

    @property
    def needs_files(self) -> bool:
        """Whether the data set is not on the Hub, so that its files must be at hand."""
        found = entry(self.dataset)
        return found.hub_id is None and found.access != "package"

    @property
    def words(self) -> list[str]:
        """The arguments as words of a command line."""
        return [
            word
            for name, value in self.arguments.items()
            for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
        ]

    @property
    def command(self) -> str:
        """The command that trains it; FOLDER stands for the files of the data set, where they are needed."""
        return f"lane release train {self.name}{self._data_dir}"

    @property
    def plain_command(self) -> str:
        """The same run as a command that names every argument."""
        return f"{shlex.join(['lane', 'train', *self.words])}{self._data_dir}"

    @property
    def _data_dir(self) -> str:
        return " --data_dir FOLDER" if self.needs_files else ""


def names() -> list[str]:
    """Return the names of the recipes, sorted.

    Example:
        >>> "goemotions-bert" in names()
        True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        InputError: there is none of this name, or its file is damaged.

    Example:
        >>> recipe("sst5-minilm").encoder
        'sentence-transformers/all-MiniLM-L6-v2'
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(f"there is no recipe {quoted(name)}{meant}: lane release list shows them all")
    return read_recipe(FOLDER / f"{name}.yaml")


def read_recipe(path: str | Path) -> Recipe:
    """Read and check the file of a recipe.

    Whether `lane train` takes the values of the arguments is checked when it is run: that takes torch.

    Args:
        path: a yaml file with `name`, `repo`, `summary` and `arguments`.

    Raises:
        InputError: the file cannot be read, lacks something, holds something else, or names no known data set.

    Example:
        >>> read_recipe(FOLDER / "sst5-bert.yaml").dataset
        'sst5'
    """
    path = Path(path)
    content = read_config(path)
    absent = [key for key in _KEYS if key not in content]
    if absent:
        raise InputError(f"{path}: a recipe needs {absent[0]!r}: it has {', '.join(_KEYS)} and nothing else")
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise InputError(f"{path}: a recipe has no {quoted(unknown[0])}: it has {', '.join(_KEYS)} and nothing else")
    name, repo, summary, arguments = (content[key] for key in _KEYS)
    if name != path.stem:
        raise InputError(f"{path}: name is {quoted(name)}, but the file is called {path.stem!r}: make them the same")
    if repo is not None and not (isinstance(repo, str) and _REPO.fullmatch(repo)):
        raise InputError(f"{path}: repo must be null or a repository such as user/model, got {quoted(repo)}")
    if not isinstance(summary, str) or not summary.strip() or len(summary.splitlines()) > 1:
        raise InputError(f"{path}: summary must be one line of text")
    _check_arguments(path, arguments)
    return Recipe(name, repo, summary, MappingProxyType(arguments))


def _check_arguments(path: Path, arguments: Any) -> None:
    if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
        raise InputError(f"{path}: arguments must be names and values, such as 'dataset: goemotions'")
    for name, value in arguments.items():
        if name in _OF_ONE_RUN:
            raise InputError(f"{path}: {name} belongs to one run, not to a recipe: give it to lane release train")
        if not all(isinstance(each, str | int | float) for each in (value if isinstance(value, list) else [value])):
            raise InputError(f"{path}: {quoted(name)} needs a text, a number or a list of them")
    if "dataset" not in arguments:
        raise InputError(f"{path}: arguments need a dataset, such as 'dataset: goemotions'")
    try:
        entry(arguments["dataset"])
    except (InputError, TypeError) as error:  # a list cannot be looked up
        raise InputError(f"{path}: {error}") from error
    encoder = arguments.get("model_name_or_path")
    if encoder is not None and not _ENCODER.fullmatch(str(encoder)):
        raise InputError(f"{path}: model_name_or_path must be the id of a model on the Hub, got {quoted(encoder)}")
