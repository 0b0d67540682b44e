"""The folders of checkpoints in the folder of a run, and whose they are.

Trainer goes on from the folder with the most steps, saves into one that is there already, and loads the best model
from one by its name. Where a folder is used twice, the first may be of an earlier training, the second a mixture of
two, which looks whole, and the third another model. So what a training does not go on from is marked when it begins.
"""

import os
import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path

EARLIER = "of_an_earlier_training.txt"
_SAYS = "A later training began in the folder above. Nothing goes on from what is here unless it is named.\n"
_APART = 2 * 10**9  # nanoseconds
_FOLDER = re.compile(r"checkpoint-(\d+)")


def checkpoints(output_dir: str | Path) -> list[Path]:
    """Return the folders of the checkpoints of the last training there, newest first, whole or not."""
    return [path for path in all_checkpoints(output_dir) if not is_earlier(path)]


def all_checkpoints(output_dir: str | Path) -> list[Path]:
    """Return the folders of all checkpoints there, of whichever training, most steps first."""
    found = Path(output_dir).glob("checkpoint-*")
    return sorted((path for path in found if path.is_dir() and _FOLDER.fullmatch(path.name)), key=_steps, reverse=True)


def _steps(folder: Path) -> int:
    return int(folder.name.partition("-")[2])


def stages(output_dir: str | Path) -> list[Path]:
    """Return the folders of the stages before the last one, of whichever training."""
    return sorted(path for path in Path(output_dir).glob("stage-*") if path.is_dir())


def is_earlier(folder: str | Path) -> bool:
    """Return whether a checkpoint or stage is marked as one of an earlier training."""
    return (Path(folder) / EARLIER).exists()


def set_aside(folders: Collection[Path]) -> None:
    """Mark checkpoints or stages as those of an earlier training."""
    for folder in folders:
        if not is_earlier(folder):
            times = folder.stat()
            (folder / EARLIER).write_text(_SAYS, encoding="utf-8")
            # By which Trainer tells the oldest, unless all are of the same second.
            os.utime(folder, ns=(times.st_atime_ns, min(times.st_mtime_ns, time.time_ns() - _APART)))


def go_on_from(folder: str | Path, best: str | Path | None, output_dir: str | Path) -> None:
    """Mark what a resumed training does not go on from, and nothing else.

    Args:
        folder: the checkpoint that it goes on from.
        best: the checkpoint of the best model so far.
        output_dir: where it goes on; the checkpoint may lie elsewhere.
    """
    folder = Path(folder).resolve()
    ours = {folder, *([] if best is None else [Path(best).resolve()])}
    others = [path for path in checkpoints(output_dir) if path.resolve() not in ours]
    if not is_earlier(folder) and folder.parent == Path(output_dir).resolve() and _FOLDER.fullmatch(folder.name):
        others = [path for path in others if _steps(path) > _steps(folder)]  # those before are its own
    set_aside(others)
    for path in ours:
        (path / EARLIER).unlink(missing_ok=True)


def remove_if_earlier(folder: str | Path) -> None:
    """Remove a checkpoint of an earlier training: what is saved there now may not mix with it, nor pass for it."""
    folder = Path(folder)
    if not is_earlier(folder):
        return
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != EARLIER:
            path.unlink()
    shutil.rmtree(folder)  # the mark last: until then, what is left is not taken for a checkpoint
