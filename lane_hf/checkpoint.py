"""The extra state of a training checkpoint: tensors as safetensors, facts as JSON in the same file's header.

Nothing in it can run code when it is loaded. It is written beside Trainer's own files, all or nothing.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import InputError
from .fingerprint import difference

STATE_FILE = "lane_state.safetensors"
FORMAT_VERSION = 6
ARGUMENTS = ("method", "seed", "rows_per_step")  # facts that are compared last: other rows say more of what went wrong


def save_state(
    folder: str | Path,
    parts: Mapping[str, Mapping[str, Tensor]],
    facts: Mapping[str, int | str],
    dataset: Mapping[str, Any] | None = None,
) -> Path:
    """Write the state of several parts into `folder`, all or nothing.

    Args:
        folder: an existing checkpoint folder.
        parts: tensors by name, by part; names of parts hold no slash.
        facts: what must agree when the state is loaded, such as the number of labels.
        dataset: fingerprint of the training set.

    Returns:
        The file written.
    """
    tensors: dict[str, Tensor] = {}
    memory: set[int] = set()
    for part, state in parts.items():
        for name, tensor in state.items():
            tensors[f"{part}/{name}"] = _of_its_own(tensor.detach().cpu().contiguous(), memory)
    path = Path(folder) / STATE_FILE
    partial = path.with_suffix(".partial")
    # Empty parts (a module without parameters) leave no tensor behind, so the parts are listed too.
    header = {"facts": dict(facts), "parts": list(parts), "dataset": dict(dataset or {})}
    metadata = {name: json.dumps(value) for name, value in header.items()}
    save_file(tensors, partial, metadata={"format_version": str(FORMAT_VERSION), **metadata})
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def _of_its_own(tensor: Tensor, memory: set[int]) -> Tensor:
    """Copy a tensor if it shares its memory with another: safetensors stores every byte once."""
    storage = tensor.untyped_storage()
    if storage.data_ptr() in memory or storage.nbytes() != tensor.nbytes:
        tensor = tensor.clone()
    memory.add(tensor.untyped_storage().data_ptr())
    return tensor


def check_state(folder: str | Path, facts: Mapping[str, int | str], dataset: Mapping[str, Any] | None = None) -> None:
    """Raise `InputError` unless the state in `folder` belongs to this training run; reads the header only.

    Args:
        folder: the checkpoint folder.
        facts: what must agree.
        dataset: fingerprint of the training set, to be compared if given.
    """
    with _opened(folder) as file:
        header = _header(folder, file)
    _check_facts(folder, header["facts"], {name: value for name, value in facts.items() if name not in ARGUMENTS})
    if dataset is not None:
        problem = difference(header["dataset"], dataset)
        if problem is not None:
            raise InputError(f"cannot resume from {folder}: {problem}")
    _check_facts(folder, header["facts"], {name: value for name, value in facts.items() if name in ARGUMENTS})


def _check_facts(folder: str | Path, known: Mapping[str, Any], facts: Mapping[str, int | str]) -> None:
    for name, value in facts.items():
        stored = known.get(name)
        if stored != value:
            raise InputError(
                f"cannot resume from {folder}: it was written with {name.replace('_', ' ')} = {stored}, now "
                f"it is {value}. Resume with the data set, model and arguments of the first run"
            )


def load_state(folder: str | Path, expected_parts: set[str]) -> dict[str, dict[str, Tensor]]:
    """Read what [`save_state`] wrote.

    Args:
        folder: the checkpoint folder.
        expected_parts: names of the parts that this trainer has.

    Returns:
        Tensors by name, by part, in main memory.

    Raises:
        InputError: the file is missing, unreadable, of another format, or of another kind of training run.
    """
    with _opened(folder) as file:
        stored = set(_header(folder, file)["parts"])
        if stored != expected_parts:
            raise InputError(
                f"cannot resume from {folder}: it holds the state of {sorted(stored)}, this trainer has "
                f"{sorted(expected_parts)}. Resume with the settings (auxiliary, reweight, similarity, "
                "weight_averaging) of the first run"
            )
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in stored}
        for key in file.keys():  # noqa: SIM118 -- not a dictionary
            part, _, name = key.partition("/")
            parts[part][name] = file.get_tensor(key)
    return parts


@contextmanager
def _opened(folder: str | Path) -> Iterator[Any]:
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        raise InputError(
            f"cannot resume from {folder}: it has no {STATE_FILE}. It was written by another trainer, or with "
            "save_only_model=True, which leaves out what resuming needs"
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"cannot resume from {folder}: {STATE_FILE} is damaged ({error}). Resume from an earlier checkpoint"
        ) from error


def _header(folder: str | Path, file: Any) -> dict[str, Any]:
    metadata = file.metadata() or {}
    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        raise InputError(
            f"cannot resume from {folder}: {STATE_FILE} has format version {version}, this version of lane_hf reads "
            f"{FORMAT_VERSION}"
        )
    try:
        return {name: json.loads(metadata[name]) for name in ("facts", "parts", "dataset")}
    except (KeyError, ValueError) as error:
        raise InputError(
            f"cannot resume from {folder}: the header of {STATE_FILE} cannot be read. Resume from an earlier one"
        ) from error
