"""RCV1: Reuters news items as xml files, or as tables with a column of topics."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..errors import InputError
from .files import SPLIT_FILES, find, missing
from .rows import Rows
from .tables import read_table

__all__ = ["FORMAT", "FORMAT_TABLE", "most_specific", "parent", "read"]

FORMAT = "RCV1 news items (xml)"
FORMAT_TABLE = "RCV1 as tables"

_TOPICS = "bip:topics:1.0"
_SUFFIXES = (".jsonl", ".json", ".tsv", ".csv")
# LYRL2004: the items up to this number are training data.
_LAST_TRAINING_ITEM = 26150
_GROUP_CODE_LENGTH = 3  # C15 is right under CCAT; C151 under C15


def parent(topic: str) -> str | None:
    """The topic above a topic of RCV1, which follows from its code; None for the four at the top.

    Example:
        >>> [parent(topic) for topic in ("C151", "C15", "GSPO", "GCAT")]
        ['C15', 'CCAT', 'GCAT', None]
    """
    if topic.endswith("CAT"):
        return None
    return topic[:-1] if topic[1:].isdecimal() and len(topic) > _GROUP_CODE_LENGTH else f"{topic[0]}CAT"


def most_specific(topics: Iterable[str]) -> list[str]:
    """The topics without those that stand above another of them.

    RCV1 gives an item every topic above its own, so that hardly any has one topic only: C151 comes with C15 and CCAT.

    Example:
        >>> most_specific(["CCAT", "C15", "C151"])
        ['C151']
    """
    kept = list(dict.fromkeys(topics))
    above: set[str | None] = set()
    for topic in kept:
        higher = parent(topic)
        while higher is not None:
            above.add(higher)
            higher = parent(higher)
    return [topic for topic in kept if topic not in above]


def read(folder: Path, rows: Rows) -> str:
    """Read the news items with exactly one most specific topic.

    Raises:
        InputError: files are missing or damaged.
    """
    if find(folder, SPLIT_FILES["train"], _SUFFIXES) is not None:
        _read_tables(folder, rows)
        return FORMAT_TABLE
    count = 0
    for path in sorted(folder.rglob("*.xml")):
        number, text, topics = _news_item(path)
        rows.add("train" if number <= _LAST_TRAINING_ITEM else "test", text, most_specific(topics))
        count += 1
    if not count:
        raise missing(rows.entry, folder)
    return FORMAT


def _news_item(path: Path) -> tuple[int, str, list[str]]:
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - files that the user has from NIST
        number = int(root.get("itemid", ""))
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a news item of RCV1 ({error})") from error
    headline = "".join(root.findtext("headline") or "")
    body = [" ".join("".join(part.itertext()).split()) for part in root.iterfind("text/p")]
    topics = [
        code.get("code", "")
        for codes in root.iterfind("metadata/codes")
        if codes.get("class") == _TOPICS
        for code in codes.iterfind("code")
    ]
    return number, "\n".join(part for part in (headline.strip(), *body) if part), topics


def _read_tables(folder: Path, rows: Rows) -> None:
    for split, stems in SPLIT_FILES.items():
        path = find(folder, stems, _SUFFIXES)
        if path is not None:
            for text, topics in _table_rows(path):
                rows.add(split, text, most_specific(topics))


def _table_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    table = read_table(path)
    columns = {str(name).casefold(): name for name in table.columns}
    topics = next((columns[name] for name in ("topics", "topic", "labels", "label") if name in columns), None)
    text = next((columns[name] for name in ("text", "body") if name in columns), None)
    if topics is None or text is None:
        raise InputError(f"{path}: columns text and topics expected, got {', '.join(map(str, table.columns))}")
    headline = next((columns[name] for name in ("headline", "title") if name in columns), None)
    for row in table.to_dict("records"):
        parts = [row[headline] if headline is not None else None, row[text]]
        cell = row[topics]
        names = cell if isinstance(cell, list) else re.split(r"[\s,;|]+", cell or "")
        yield "\n".join(str(part).strip() for part in parts if part), [str(name) for name in names if name]
