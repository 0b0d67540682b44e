"""The demo data set: WordNet 3.0 noun glosses labelled with their supersense.

Each text is the definition of a WordNet noun sense and each label is the lexicographer file ("supersense") that the
sense is filed under, 25 in all. The labels were given by lexicographers, so the set is clean to begin with and can be
used as the ground truth when noise is injected. It is part of the package: loading it needs no network.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Split, Value

__all__ = [
    "DEMO_CITATION",
    "DEMO_DESCRIPTION",
    "DEMO_LABELS",
    "DEMO_LICENSE",
    "DEMO_SIZES",
    "load_demo",
    "read_demo_license",
]

DATA_FILE: Final = "wordnet_supersenses.tsv"
LICENSE_FILE: Final = "WORDNET_LICENSE.txt"
COLUMNS: Final[tuple[str, ...]] = ("split", "label", "synset", "text")

DEMO_LABELS: Final[tuple[str, ...]] = (
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
)
"""Names of the classes; the position of a name is its class id."""

DEMO_SIZES: Final[dict[str, int]] = {"train": 8007, "validation": 993, "test": 2007}
"""Number of rows in each split."""

DEMO_DESCRIPTION: Final = (
    "Definitions of WordNet 3.0 noun senses, labelled with one of 25 supersenses (the lexicographer file of the "
    "sense). Example sentences are removed, and frequent supersenses are capped."
)

DEMO_LICENSE: Final = (
    "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. The full licence text is shipped "
    f"beside the data as {LICENSE_FILE}."
)

DEMO_CITATION: Final = """\
@book{fellbaum1998wordnet,
  title     = {{WordNet}: An Electronic Lexical Database},
  editor    = {Fellbaum, Christiane},
  publisher = {MIT Press},
  year      = {1998}
}
@article{miller1995wordnet,
  title     = {{WordNet}: A Lexical Database for {English}},
  author    = {Miller, George A.},
  journal   = {Communications of the ACM},
  volume    = {38},
  number    = {11},
  pages     = {39--41},
  year      = {1995}
}
@inproceedings{ciaramita2003supersense,
  title     = {Supersense Tagging of Unknown Nouns in {WordNet}},
  author    = {Ciaramita, Massimiliano and Johnson, Mark},
  booktitle = {Proceedings of the 2003 Conference on Empirical Methods in Natural Language Processing},
  pages     = {168--175},
  year      = {2003}
}
"""


def load_demo() -> DatasetDict:
    """Load the demo data set that ships with the package.

    The rows are read from a text file inside the package straight into memory, so neither a network connection nor a
    writable folder is needed. The rows of each split are already in a fixed, shuffled order.

    Returns:
        The splits ``train``, ``validation`` and ``test``, each with the features ``text`` (string) and ``label``
        (``ClassLabel`` with the names in ``DEMO_LABELS``).

    Raises:
        FileNotFoundError: The package was installed without its data file.
        ValueError: The data file does not have the expected columns, splits or labels.

    Example:
        >>> demo = load_demo()
        >>> demo["train"].features["label"].names[:3]
        ['act', 'animal', 'artifact']
    """
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(DEMO_LABELS))})
    columns = _read_splits(_read_text(DATA_FILE))
    return DatasetDict({split: _to_dataset(rows, split, features) for split, rows in columns.items()})


def read_demo_license() -> str:
    """Return the licence of the demo data set, verbatim.

    Returns:
        The text of the WordNet 3.0 licence.

    Raises:
        FileNotFoundError: The package was installed without the licence file.

    Example:
        >>> "Princeton University" in read_demo_license()
        True
    """
    return _read_text(LICENSE_FILE)


def _read_text(name: str) -> str:
    return (files("lane_hf.datasets") / "data" / name).read_text(encoding="utf-8")


def _read_splits(content: str) -> dict[str, dict[str, list[str]]]:
    # Fields never hold a tab or a line break, so plain splitting is exact; a CSV reader would interpret quotes.
    header, *lines = content.rstrip("\n").split("\n")
    if tuple(header.split("\t")) != COLUMNS:
        raise ValueError(f"{DATA_FILE}: expected the columns {', '.join(COLUMNS)}, found {header!r}")
    splits: dict[str, dict[str, list[str]]] = {split: {"text": [], "label": []} for split in DEMO_SIZES}
    for number, line in enumerate(lines, start=2):
        fields = line.split("\t")
        if len(fields) != len(COLUMNS) or fields[0] not in splits or fields[1] not in DEMO_LABELS:
            raise ValueError(f"{DATA_FILE}, line {number}: not a valid row: {line!r}")
        splits[fields[0]]["label"].append(fields[1])
        splits[fields[0]]["text"].append(fields[3])
    return splits


def _to_dataset(columns: dict[str, list[str]], split: str, features: Features) -> Dataset:
    info = DatasetInfo(description=DEMO_DESCRIPTION, citation=DEMO_CITATION, license=DEMO_LICENSE, features=features)
    return Dataset.from_dict(columns, features=features, info=info, split=Split(split))
