"""The folders of checkpoints in the folder of a run, and whose they are.

Trainer goes on from the folder with the most steps, and saves into one that is there already. Where a folder is used
twice, the first may be of an earlier training, and the second a mixture of two, which looks whole.
"""

import os
import re
import shutil
from pathlib import Path

EARLIER = "of_an_earlier_training.txt"
_SAYS = "A later training began in the folder above. Nothing goes on from this checkpoint unless it is named.\n"
_FOLDER = re.compile(r"checkpoint-(\d+)")


def checkpoints(output_dir: str | Path) -> list[Path]:
    """Return the folders of the checkpoints of the last training there, newest first, whole or not."""
    return [path for path in all_checkpoints(output_dir) if not (path / EARLIER).exists()]


def all_checkpoints(output_dir: str | Path) -> list[Path]:
    """Return the folders of all checkpoints there, of whichever training, most steps first."""
    found = Path(output_dir).glob("checkpoint-*")
    folders = [path for path in found if path.is_dir() and _FOLDER.fullmatch(path.name)]
    return sorted(folders, key=lambda path: int(path.name.partition("-")[2]), reverse=True)


def set_aside(output_dir: str | Path) -> None:
    """Mark the checkpoints in a folder as those of an earlier training, because one begins anew."""
    for folder in checkpoints(output_dir):
        times = folder.stat()
        (folder / EARLIER).write_text(_SAYS, encoding="utf-8")
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))  # by which Trainer tells the oldest


def take_up(folder: str | Path) -> None:
    """Count a checkpoint to the last training again, because that goes on from it."""
    (Path(folder) / EARLIER).unlink(missing_ok=True)


def clear_earlier(folder: str | Path) -> None:
    """Empty a checkpoint's folder that an earlier training left: what is saved there now may not mix with it."""
    folder = Path(folder)
    if not (folder / EARLIER).exists():
        return
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != EARLIER:
            path.unlink()
    take_up(folder)  # last: until then, what is left is not taken for a checkpoint
