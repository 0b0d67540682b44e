"""Released checkpoints: which there are, and loading one of them, verified."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..display import quoted
from ..errors import InputError
from ..hub.upload import MODEL_FILES, hub_errors_named
from ..packaged_model import verify_sha256
from . import recipes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = "model.safetensors"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The one file of weights whose hash is known; adapters and parts of weights would be loaded unverified.
_FILES = [pattern for pattern in MODEL_FILES if pattern == WEIGHTS or not pattern.startswith(("model", "adapter"))]
_OF_THE_DOWNLOAD = ("cache_dir", "token", "local_files_only", "force_download")
_SETTLED = ("revision", "trust_remote_code", "use_safetensors", "subfolder")


@dataclass(frozen=True)
class Release:
    """A checkpoint on the Hub.

    Attributes:
        repo_id: its repository.
        revision: the commit, all 40 digits: a branch or a tag can be moved.
        sha256: of `model.safetensors`.
        metrics: its scores on the test split, in [0, 1].

    Raises:
        InputError: revision is no commit, or sha256 is no SHA-256.

    Example:
        >>> Release("user/model", "0" * 40, "0" * 64).repo_id
        'user/model'
    """

    repo_id: str
    revision: str
    sha256: str
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that neither what is loaded nor what it is compared with can change."""
        if not _COMMIT.fullmatch(self.revision):
            raise InputError(f"the revision of a release is a commit of 40 digits, got {quoted(self.revision)}")
        if not _SHA256.fullmatch(self.sha256):
            raise InputError(f"sha256 of a release has 64 digits, got {quoted(self.sha256)}")


RELEASED: Mapping[str, Release] = MappingProxyType({})
"""The released checkpoints by name. None so far; `lane release push` prints the line to add for a new one."""


def from_pretrained(name: str, **kwargs: Any) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a released checkpoint by its name, at the commit that was released.

    The SHA-256 of the weights is compared before they are loaded.

    Args:
        name: one of `lane release list`, such as "goemotions-bert".
        **kwargs: `cache_dir`, `token`, `local_files_only` and `force_download` are for the download, all others for
            `AutoModelForSequenceClassification.from_pretrained`.

    Returns:
        The classifier and its tokenizer.

    Raises:
        InputError: there is no such release, an argument is settled by the release, or the weights are not those that
            were released.
        HubError: the Hub refused, or could not be reached.

    Example:
        >>> from_pretrained("goemotions-bertha")
        Traceback (most recent call last):
        ...
        lane_hf.errors.InputError: there is no released checkpoint 'goemotions-bertha': none is released yet
    """
    release = _release(name)
    for settled in _SETTLED:
        if settled in kwargs:
            raise InputError(f"{settled} is settled by the release {name}: leave it out")
    from huggingface_hub import snapshot_download
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    download = {key: kwargs.pop(key) for key in _OF_THE_DOWNLOAD if key in kwargs}
    with hub_errors_named(f"{release.repo_id} could not be downloaded", "Try again once the Hub can be reached"):
        folder = snapshot_download(release.repo_id, revision=release.revision, allow_patterns=_FILES, **download)
    remedy = f"load {name} again with force_download=True, and do not use it if that does not help"
    verify_sha256(Path(folder) / WEIGHTS, release.sha256, remedy)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False, **kwargs
    )
    return model, tokenizer


def _release(name: str) -> Release:
    if name in RELEASED:
        return RELEASED[name]
    known = f"the released ones are {', '.join(sorted(RELEASED))}" if RELEASED else "none is released yet"
    if name in recipes.names():
        command = recipes.recipe(name).command
        raise InputError(f"the checkpoint {name!r} is not released ({known}). Train it yourself: {command}")
    raise InputError(f"there is no released checkpoint {quoted(name)}: {known}")
