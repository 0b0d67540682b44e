"""What is in a data set: sizes, labels, lengths and duplicates; and what an entry of the registry says."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .entry import DatasetEntry

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = ["describe", "summarise"]

_WIDTH = 100
_PERCENT = 95
_MANY = 12


def summarise(data: "DatasetDict") -> dict[str, Any]:
    """Count rows, labels, lengths and duplicates.

    Texts are the same if they are equal but for upper and lower case and spaces.

    Args:
        data: splits with the features `text` and `label` (`ClassLabel`); a split may lack `label`.

    Returns:
        `splits`: for each split `rows`, `labels` (rows by label name, in the order of the class ids), `characters`
        and `words` (each min, median, p95, max; to one decimal), `duplicates` (rows whose text an earlier row of the
        split has) and `conflicts` (different texts of the split that occur with more than one label); and `across`:
        for each pair of splits "a/b" the number of rows of b whose text is in a.

    Example:
        >>> from lane_hf.datasets import load
        >>> summarise(load("demo"))["splits"]["test"]["rows"]
        2007
    """
    keys = {split: [" ".join(text.split()).casefold() for text in rows["text"]] for split, rows in data.items()}
    splits = {}
    for split, rows in data.items():
        texts, labels = list(rows["text"]), list(rows["label"]) if "label" in rows.column_names else []
        splits[split] = {
            "rows": len(texts),
            "labels": _label_counts(labels, rows.features["label"].names) if labels else {},
            "characters": _lengths([len(text) for text in texts]),
            "words": _lengths([len(text.split()) for text in texts]),
            "duplicates": len(texts) - len(set(keys[split])),
            "conflicts": _conflicts(keys[split], labels),
        }
    names = list(data)
    across = {}
    for place, first in enumerate(names):
        known = set(keys[first])
        for second in names[place + 1 :]:
            across[f"{first}/{second}"] = sum(key in known for key in keys[second])
    return {"splits": splits, "across": across}


def describe(entry: DatasetEntry) -> str:
    """Say in a few lines what an entry of the registry says.

    Example:
        >>> from lane_hf.datasets import entry
        >>> print(describe(entry("ag-news")).splitlines()[0])
        ag-news: Titles and first sentences of news articles, four topics.
    """
    sizes = ", ".join(f"{split} {count:,}" for split, count in entry.split_sizes.items()) or "not published"
    names = ", ".join(entry.label_names[:_MANY]) + (", ..." if len(entry.label_names) > _MANY else "")
    facts = {
        "labels": f"{len(entry.label_names)}: {names}",
        "geometry": entry.geometry,
        "metric": entry.metric,
        "rows": sizes,
        "text": " + ".join(entry.text_fields),
        "access": entry.access,
        "Hub": f"{entry.hub_id} at {entry.revision or 'its newest version'}" if entry.hub_id else "none",
        "files": entry.files,
        "source": entry.source_url or "this package",
        "licence": entry.licence,
    }
    lines = [f"{entry.name}: {entry.description}"]
    lines += [_line(f"{name}: ".rjust(12), fact) for name, fact in facts.items()]
    lines += [_line("note: ".rjust(12), note) for note in entry.assumptions]
    return "\n".join(lines)


def _line(name: str, fact: str) -> str:
    return textwrap.fill(
        fact,
        _WIDTH,
        initial_indent=name,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _label_counts(labels: Sequence[int], names: Sequence[str]) -> dict[str, int]:
    counts = Counter(labels)
    return {name: counts[number] for number, name in enumerate(names)}


def _lengths(lengths: Sequence[int]) -> dict[str, float]:
    if not lengths:
        return dict.fromkeys(("min", "median", "p95", "max"), 0)
    median, high = np.percentile(lengths, (50, _PERCENT))
    return {"min": min(lengths), "median": round(float(median), 1), "p95": round(float(high), 1), "max": max(lengths)}


def _conflicts(keys: Sequence[str], labels: Sequence[int]) -> int:
    if not labels:
        return 0
    distinct = Counter(key for key, _ in set(zip(keys, labels, strict=True)))
    return sum(count > 1 for count in distinct.values())
