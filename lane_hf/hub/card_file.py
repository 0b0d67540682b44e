"""The card in a run's folder: written anew whenever its run is pushed, unless people have worked on it."""

import hashlib
from pathlib import Path

from .upload import CARD_FILE

_NOTE = "_report/card.sha256"  # in folders of the main job, which have _report for their report


def write_card(folder: str | Path, text: str) -> None:
    """Write a card into a folder, and note which one in a folder of the main job.

    Args:
        folder: where the model lies.
        text: the card.
    """
    folder = Path(folder)
    (folder / CARD_FILE).write_text(text, encoding="utf-8")
    if (folder / _NOTE).parent.is_dir():
        (folder / _NOTE).write_text(f"{_digest(folder / CARD_FILE)}\n", encoding="utf-8")


def is_changed(folder: str | Path) -> bool:
    """Return whether a folder holds a card that [`write_card`] has not written, or that was changed since.

    Example:
        >>> is_changed("lane_output")  # doctest: +SKIP
        False
    """
    card, note = Path(folder) / CARD_FILE, Path(folder) / _NOTE
    return card.is_file() and (not note.is_file() or note.read_text(encoding="utf-8").strip() != _digest(card))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
