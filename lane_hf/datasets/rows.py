"""Collecting the rows of a data set: every row is either kept or counted as dropped, with the reason."""

import hashlib
import html
from collections import Counter
from collections.abc import Iterable, Sequence

from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Value

from ..errors import InputError
from .entry import DatasetEntry, LoadReport
from .tables import is_unicode

__all__ = ["ALL", "BROKEN", "MORE_THAN_ONE", "NOT_LISTED", "NO_LABEL", "NO_TEXT", "Rows", "hash_share"]

ALL = "all"
"""The split of sources that have none: its rows are divided 8 : 1 : 1 by `hash_share`."""

NO_TEXT = "no text"
BROKEN = "half a character in the text"
NO_LABEL = "no label"
MORE_THAN_ONE = "more than one label"
NOT_LISTED = "label not in the list of this data set"

_ORDER = ("train", "validation", "test")
_TENTHS = 10


def hash_share(name: str, text: str) -> int:
    """The tenth, 0 to 9, that a text belongs to when this package has to divide a data set.

    It depends on nothing but the name of the data set and the text: it is the same on every machine and with every
    version of every library, and equal texts are never divided. Validation is tenth 0, test is tenth 1.

    Example:
        >>> 0 <= hash_share("isear", "I passed the exam.") < 10
        True
    """
    digest = hashlib.sha256(f"{name}\t{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % _TENTHS


class Rows:
    """Rows of one data set on their way into a `DatasetDict`.

    Example:
        >>> from lane_hf.datasets import entry
        >>> rows = Rows(entry("ag-news"))
        >>> rows.add("train", "A text.", ["Sports"])
        >>> rows.add("train", "", ["Sports"])
        >>> data, report = rows.finish("example", "by hand")
        >>> report.dropped
        {'train': {'no text': 1}}
    """

    def __init__(self, entry: DatasetEntry) -> None:
        self.entry = entry
        self.notes: list[str] = []
        self._ids = {_key(name): number for number, name in enumerate(entry.label_names)}
        self._read: Counter[str] = Counter()
        self._dropped: dict[str, Counter[str]] = {}
        self._kept: dict[str, tuple[list[str], list[int]]] = {}

    def add(self, split: str, text: str | None, labels: Sequence[str | int]) -> None:
        """Keep a row with a text and exactly one known label; count any other as dropped.

        Args:
            split: "train", "validation", "test" or `ALL`.
            text: as in the source.
            labels: names (upper and lower case are the same) or class ids.
        """
        text = self._clean(text or "")
        if not text:
            self.drop(split, NO_TEXT)
        elif not is_unicode(text):
            self.drop(split, BROKEN)
        elif len(labels) != 1:
            self.drop(split, MORE_THAN_ONE if labels else NO_LABEL)
        elif (number := self._number(labels[0])) is None:
            self.drop(split, NOT_LISTED)
        else:
            self._read[split] += 1
            texts, numbers = self._kept.setdefault(split, ([], []))
            texts.append(text)
            numbers.append(number)

    def drop(self, split: str, reason: str) -> None:
        """Count a row as read and dropped."""
        self._read[split] += 1
        self._dropped.setdefault(split, Counter())[reason] += 1

    def knows(self, label: str) -> bool:
        """Whether a name is one of this data set's labels."""
        return self._number(label) is not None

    def finish(self, source: str, format_name: str) -> tuple[DatasetDict, LoadReport]:
        """Build the splits and the report.

        A source without splits is divided 8 : 1 : 1, and a source with training and test data but no validation data
        gives a tenth of its training data, both by `hash_share`.

        Raises:
            InputError: if no training row is left.
        """
        parts = self._divide()
        if not parts.get("train", ([], []))[0]:
            seen = {split: dict(reasons) for split, reasons in self._dropped.items()}
            raise InputError(
                f"{source}: no training rows of the data set {self.entry.name!r} are left "
                f"(read: {dict(self._read)}, dropped: {seen}). Expected: {self.entry.files}"
            )
        report = LoadReport(
            name=self.entry.name,
            source=source,
            format=format_name,
            rows_read=dict(self._read),
            rows_kept={split: len(parts[split][0]) for split in _ORDER if split in parts},
            dropped={split: dict(reasons) for split, reasons in self._dropped.items()},
            notes=tuple(self.notes),
        )
        features = Features({"text": Value("string"), "label": ClassLabel(names=list(self.entry.label_names))})
        info = DatasetInfo(
            description=f"{self.entry.description}\n\n{report.to_text()}",
            citation=self.entry.citation,
            license=self.entry.licence,
            features=features,
        )
        splits = {
            split: Dataset.from_dict({"text": parts[split][0], "label": parts[split][1]}, features, info, split)
            for split in _ORDER
            if split in parts
        }
        return DatasetDict(splits), report

    def _divide(self) -> dict[str, tuple[list[str], list[int]]]:
        parts = dict(self._kept)
        if ALL in parts:
            self.notes.append("the source has no splits: divided 8 : 1 : 1 by a hash of the text")
            return self._by_hash(zip(*parts.pop(ALL), strict=True), {0: "validation", 1: "test"})
        if "train" in parts and "validation" not in parts:
            self.notes.append("the source has no validation split: a tenth of train, by a hash of the text")
            parts |= self._by_hash(zip(*parts.pop("train"), strict=True), {0: "validation"})
        return parts

    def _by_hash(
        self, rows: Iterable[tuple[str, int]], tenths: dict[int, str]
    ) -> dict[str, tuple[list[str], list[int]]]:
        parts: dict[str, tuple[list[str], list[int]]] = {}
        for text, number in rows:
            split = tenths.get(hash_share(self.entry.name, text), "train")
            texts, numbers = parts.setdefault(split, ([], []))
            texts.append(text)
            numbers.append(number)
        return parts

    def _clean(self, text: str) -> str:
        if self.entry.escapes == "newline":
            text = text.replace("\\n", "\n").replace('\\"', '"')
        elif self.entry.escapes == "backslash":  # "\\nation": the n is the word's
            text = text.replace("\\", " ")
        return text.strip()

    def _number(self, label: str | int) -> int | None:
        if isinstance(label, str):
            return self._ids.get(_key(label))
        return int(label) if 0 <= label < len(self.entry.label_names) else None


def _key(name: str) -> str:
    return " ".join(html.unescape(name).split()).casefold()
