"""Making small releases and looking at what was read of them."""

from pathlib import Path

from datasets import Dataset


def write(folder: Path, files: dict[str, str], encoding: str = "utf-8") -> str:
    """Write files, in folders if need be, and return the folder as users give it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode(encoding))
    return str(folder)


def named(split: Dataset) -> list[tuple[str, str]]:
    """The rows of a split as text and label name."""
    names = split.features["label"].names
    return [(row["text"], names[row["label"]]) for row in split]
