"""Which checkpoint a run goes on from: a whole one, or none.

A process that is killed while it saves, or that runs out of disk space, leaves a folder that looks like a checkpoint
and is none. Trainer would take the newest folder whatever is in it, and where its optimizer is missing go on without.
"""

import json
import warnings
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer import OPTIMIZER_NAME, OPTIMIZER_NAME_BIN, SCHEDULER_NAME, TRAINER_STATE_NAME

from .checkpoint import STATE_FILE
from .checkpoint_folders import all_checkpoints, checkpoints
from .errors import InputError

# Sharded engines write folders with the same beginning.
_OPTIMIZERS = (OPTIMIZER_NAME, OPTIMIZER_NAME_BIN, f"{OPTIMIZER_NAME_BIN.split('.')[0]}_0")


def check_checkpoint(folder: str | Path) -> None:
    """Raise `InputError` unless `folder` is a whole checkpoint of this package.

    Files are opened, not read through: what is damaged inside of them is found when they are loaded.

    Args:
        folder: the folder of a checkpoint.
    """
    problem = what_is_missing(folder)
    if problem is not None:
        raise InputError(f"cannot resume from {folder}: {problem}")


def what_is_missing(folder: str | Path) -> str | None:
    """Return why a folder is no whole checkpoint of this package, or None if it is one."""
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    # Written in this order: model, optimizer and extra state, random numbers, state of the Trainer.
    if not (folder / STATE_FILE).is_file():
        return (
            f"it has no {STATE_FILE}. It was written by another trainer, or with save_only_model=True, which leaves "
            "out what resuming needs, or saving it was cut short. Resume from another checkpoint"
        )
    wanted = {
        "weights": [*folder.glob("*model*")],
        OPTIMIZER_NAME: [folder / name for name in _OPTIMIZERS if (folder / name).exists()],
        SCHEDULER_NAME: [*folder.glob(SCHEDULER_NAME)],
        "rng_state.pth": [*folder.glob("rng_state*.pth")],
        TRAINER_STATE_NAME: [*folder.glob(TRAINER_STATE_NAME)],
    }
    absent = next((name for name, files in wanted.items() if not files), None)
    if absent is not None:
        return f"it has no {absent}: saving it was cut short. Resume from an earlier checkpoint"
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt", device="cpu"):
                pass
        except (SafetensorError, OSError) as error:
            return f"{path.name} is damaged ({error}). Resume from an earlier checkpoint"
    try:
        json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{TRAINER_STATE_NAME} is damaged. Resume from an earlier checkpoint"
    return None


def last_whole_checkpoint(output_dir: str | Path) -> Path:
    """Return the newest whole checkpoint; warns if a newer one is not whole.

    Args:
        output_dir: the folder of the run.

    Raises:
        InputError: there is none.
    """
    found = checkpoints(output_dir)
    if not found:
        earlier = all_checkpoints(output_dir)
        if earlier:
            raise InputError(
                f"there is no checkpoint in {output_dir} of the training that began last ({earlier[0].name} is of an "
                "earlier one): leave resume_from_checkpoint out, or name a folder"
            )
        raise InputError(f"there is no checkpoint in {output_dir}: leave resume_from_checkpoint out")
    problems: dict[Path, str] = {}
    for folder in found:
        problem = what_is_missing(folder)
        if problem is None:
            if problems:
                skipped = ", ".join(path.name for path in problems)
                warnings.warn(f"going on from {folder.name}, because {skipped} is not whole", stacklevel=2)
            return folder
        problems[folder] = problem
    newest, problem = next(iter(problems.items()))
    raise InputError(f"there is no whole checkpoint in {output_dir}; {newest.name}: {problem}")
