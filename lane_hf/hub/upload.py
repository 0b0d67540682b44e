"""What goes to the Hub, and what is said if the Hub refuses.

Only the files of a plain classifier are uploaded, by name. Whatever else lies in a run's folder (the label table,
predictions, texts for the report, further networks, pickled arguments, tables of the user's) stays where it is.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from ..display import first_line, hidden_tokens, quoted
from ..errors import HubError, InputError

# What the Hub answers, and what happens on the way: the client's versions have taken different HTTP packages.
_REFUSED: Any = HfHubHTTPError.__bases__

CARD_FILE = "README.md"
ARGUMENTS_FILE = "training_args.json"
PICKLED_ARGUMENTS = "training_args.bin"

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Patterns of the files that a plain classifier consists of."""


def upload_model(folder: str | Path, repo_id: str, **kwargs: Any) -> Any:
    """Upload the model in a folder, with its card and its arguments, in one commit.

    Args:
        folder: what `save_model` has written, and perhaps more, which is left out.
        repo_id: the repository, such as "user/model".
        **kwargs: further arguments of `huggingface_hub.HfApi.upload_folder`.

    Returns:
        What `upload_folder` returns; a future if `run_as_future`.

    Example:
        >>> upload_model("lane_output", "user/model")  # doctest: +SKIP
    """
    patterns = [*MODEL_FILES, CARD_FILE, ARGUMENTS_FILE]
    return HfApi().upload_folder(folder_path=str(folder), repo_id=repo_id, allow_patterns=patterns, **kwargs)


def upload_checkpoint(folder: str | Path, repo_id: str, path_in_repo: str, **kwargs: Any) -> Any:
    """Upload a checkpoint with everything that is needed to go on from it, except pickled arguments.

    Args:
        folder: the checkpoint.
        repo_id: the repository.
        path_in_repo: folder there, such as "last-checkpoint".
        **kwargs: further arguments of `huggingface_hub.HfApi.upload_folder`.
    """
    return HfApi().upload_folder(
        folder_path=str(folder),
        repo_id=repo_id,
        path_in_repo=path_in_repo,
        ignore_patterns=[PICKLED_ARGUMENTS],
        **kwargs,
    )


def kept_for_upload(folder: str | Path, copy: str | Path) -> Path:
    """Return a copy of a folder that an upload in the background can read while the folder itself may be removed.

    Files are linked where the file system can, so that nothing is written twice.

    Args:
        folder: a checkpoint, which the next one may replace.
        copy: the folder to make; one that is there is replaced.
    """
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(folder, copy, copy_function=_link))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target


def check_repo_id(name: str, argument: str) -> None:
    """Raise `InputError` unless a repository of the Hub can have this name.

    Args:
        name: such as "user/model".
        argument: with which the user names it.

    Example:
        >>> check_repo_id("user/model", "--repo_id")
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(
            f"the repository cannot be called {quoted(name)} ({first_line(error)}): name it with {argument}, such as "
            "user/model"
        ) from error


@contextmanager
def hub_errors_named(what: str, remedy: str) -> Iterator[None]:
    """Turn what goes wrong with the Hub into a `HubError` that says what to do.

    Args:
        what: what was tried, such as "user/model could not be uploaded".
        remedy: how to go on.

    Raises:
        HubError: the Hub refused, or could not be reached.
    """
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise HubError(f"{what}: there is no token. Log in with hf auth login. {remedy}") from error
    # RuntimeError: the client wraps what happens to large files on their way in it, and its storage raises it itself.
    except (*_REFUSED, OSError, RuntimeError) as error:
        said = [first_line(each) for each in (error, error.__cause__) if each is not None]
        raise HubError(f"{what} ({hidden_tokens(': '.join(said))}). {remedy}") from error
