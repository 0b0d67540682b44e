"""The extra state of a training checkpoint, as safetensors: nothing in it can run code when it is loaded."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import InputError

STATE_FILE = "lane_state.safetensors"
FORMAT_VERSION = 1


def save_state(folder: str | Path, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, int]) -> Path:
    """Write the state of several parts into `folder`, all or nothing.

    Args:
        folder: an existing checkpoint folder.
        parts: tensors by name, by part; names of parts hold no slash.
        facts: numbers that must agree when the state is loaded, such as the number of rows.

    Returns:
        The file written.
    """
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().contiguous().clone()
        for part, state in parts.items()
        for name, tensor in state.items()
    }
    path = Path(folder) / STATE_FILE
    partial = path.with_suffix(".partial")
    # Empty parts (a module without parameters) leave no tensor behind, so the parts are listed too.
    lists = {"facts": json.dumps(dict(facts)), "parts": json.dumps(list(parts))}
    metadata = {"format_version": str(FORMAT_VERSION), **lists}
    save_file(tensors, partial, metadata=metadata)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def load_state(folder: str | Path, expected_parts: set[str], facts: Mapping[str, int]) -> dict[str, dict[str, Tensor]]:
    """Read what [`save_state`] wrote.

    Args:
        folder: the checkpoint folder.
        expected_parts: names of the parts that this trainer has.
        facts: numbers that must agree.

    Returns:
        Tensors by name, by part, in main memory.

    Raises:
        InputError: the file is missing, unreadable, of another format, or of another training run.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        raise InputError(
            f"cannot resume from {folder}: it has no {STATE_FILE}. It was written by another trainer, or with "
            "save_only_model=True, which leaves out what resuming needs"
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dictionary
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"cannot resume from {folder}: {STATE_FILE} is damaged ({error}). Resume from an earlier checkpoint"
        ) from error
    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        raise InputError(
            f"cannot resume from {folder}: {STATE_FILE} has format version {version}, this version of lane_hf reads "
            f"{FORMAT_VERSION}"
        )
    _check_facts(folder, json.loads(metadata.get("facts", "{}")), facts)
    stored = set(json.loads(metadata.get("parts", "[]")))
    if stored != expected_parts:
        raise InputError(
            f"cannot resume from {folder}: it holds the state of {sorted(stored)}, this trainer has "
            f"{sorted(expected_parts)}. Resume with the settings (auxiliary, reweight, similarity) of the first run"
        )
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in stored}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    return parts


def _check_facts(folder: str | Path, stored: Mapping[str, int], facts: Mapping[str, int]) -> None:
    for name, value in facts.items():
        if stored.get(name) != value:
            raise InputError(
                f"cannot resume from {folder}: it was written with {name.replace('_', ' ')} = {stored.get(name)}, now "
                f"it is {value}. Resume with the data set and model of the first run"
            )
