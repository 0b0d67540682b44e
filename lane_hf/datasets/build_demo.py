"""Build the demo data set from the WordNet 3.0 database files.

Rebuild it, or check that the shipped files are what this script makes of WordNet::

    python -m lane_hf.datasets.build_demo --wordnet /usr/share/wordnet --output FOLDER
    python -m lane_hf.datasets.build_demo --wordnet /usr/share/wordnet --check

The database files are those of the Debian package ``wordnet-base``. The build is deterministic: rows are ordered by a
digest of their content rather than by a random number generator, and all sizes come from integer arithmetic.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lane_hf import rebuild
from lane_hf.datasets.demo import COLUMNS, DATA_FILE, LICENSE_FILE

__all__ = [
    "CorpusFormatError",
    "Sense",
    "build_files",
    "build_rows",
    "extract_definition",
    "extract_license",
    "main",
    "parse_noun_line",
    "select_senses",
]

NOUN_FILE: Final = "data.noun"
# Digest of the data.noun that the shipped files were built from: tells a changed source from a changed build.
SOURCE_SHA256: Final = "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2"

SEED: Final = 20240
MAX_PER_LABEL: Final = 466
MIN_WORDS: Final = 3
# Shares of the rows of a label, in elevenths: 8 to train, 1 to validation, 2 to test.
VALIDATION_PARTS: Final = 1
TEST_PARTS: Final = 2
TOTAL_PARTS: Final = 11
SPLIT_ORDER: Final = ("train", "validation", "test")

# lexnames(5WN). File 03, noun.Tops, is left out: it holds the roots of the hierarchy and is no supersense.
SUPERSENSES: Final[dict[str, str]] = {
    "04": "act",
    "05": "animal",
    "06": "artifact",
    "07": "attribute",
    "08": "body",
    "09": "cognition",
    "10": "communication",
    "11": "event",
    "12": "feeling",
    "13": "food",
    "14": "group",
    "15": "location",
    "16": "motive",
    "17": "object",
    "18": "person",
    "19": "phenomenon",
    "20": "plant",
    "21": "possession",
    "22": "process",
    "23": "quantity",
    "24": "relation",
    "25": "shape",
    "26": "state",
    "27": "substance",
    "28": "time",
}

_LICENSE_LINE = re.compile(r" {2}\d+ (.*)")
_SENSE_LINE = re.compile(r"(?P<synset>\d{8}) (?P<file>\d{2}) n .*? \| (?P<gloss>.*)")


class CorpusFormatError(ValueError):
    """The WordNet files do not have the documented format.

    Example:
        >>> parse_noun_line("not a line of data.noun")
        Traceback (most recent call last):
        ...
        lane_hf.datasets.build_demo.CorpusFormatError: not a noun synset: 'not a line of data.noun'
    """


class Sense(NamedTuple):
    """A definition, the supersense it is filed under and the offset of its synset in ``data.noun``.

    Example:
        >>> Sense(label="act", synset="00977132", text="an invasion or hostile attack").label
        'act'
    """

    label: str
    synset: str
    text: str


def extract_definition(gloss: str) -> str | None:
    """Return the definition part of a gloss, without its quoted example sentences.

    A gloss is a list of definitions and quoted examples, separated by semicolons. A quotation counts as an example
    when it stands at the beginning or after ``;``, ``:`` or ``,``, outside parentheses; other quotations belong to the
    definition they stand in. What follows an example up to the next semicolon is its source and is dropped, too.

    Args:
        gloss: The gloss as it stands in ``data.noun``.

    Returns:
        The definitions joined with ``"; "``, with single spaces, or ``None`` if the quotes are not balanced, so that
        definition and examples cannot be told apart.

    Example:
        >>> extract_definition('a visible entity; one that casts a shadow; "balls; and other objects"')
        'a visible entity; one that casts a shadow'
    """
    # Even positions lie outside quotes, odd ones inside.
    pieces = gloss.split('"')
    if len(pieces) % 2 == 0:
        return None
    kept = pieces[0]
    for quoted, following in zip(pieces[1::2], pieces[2::2], strict=True):
        if _opens_example(kept):
            kept += _after_source(following)
        else:
            kept += f'"{quoted}"{following}'
    return re.sub(r"(?:\s*;)+", ";", " ".join(kept.split())).strip(" ;:,")


def _opens_example(before: str) -> bool:
    in_parentheses = before.count("(") > before.count(")")
    return not in_parentheses and before.rstrip()[-1:] in {"", ";", ":", ","}


def _after_source(following: str) -> str:
    _, semicolon, rest = following.partition(";")
    return semicolon + rest


def parse_noun_line(line: str) -> Sense | None:
    """Parse one synset line of ``data.noun``.

    Args:
        line: The line, with or without its line break.

    Returns:
        The sense, or ``None`` where the line yields none: a synset of noun.Tops or a gloss with unbalanced quotes.

    Raises:
        CorpusFormatError: The line is not a noun synset, or names an unknown lexicographer file.

    Example:
        >>> parse_noun_line("00977132 04 n 01 inroad 0 001 @ 00976531 n 0000 | an invasion or hostile attack  ")
        Sense(label='act', synset='00977132', text='an invasion or hostile attack')
    """
    match = _SENSE_LINE.fullmatch(line.rstrip("\r\n"))
    if match is None:
        raise CorpusFormatError(f"not a noun synset: {line!r}")
    if match["file"] == "03":
        return None
    if match["file"] not in SUPERSENSES:
        raise CorpusFormatError(f"unknown lexicographer file {match['file']}: {line!r}")
    text = extract_definition(match["gloss"])
    return None if text is None else Sense(SUPERSENSES[match["file"]], match["synset"], text)


def extract_license(lines: Iterable[str]) -> str:
    """Return the licence text that heads every WordNet database file, without its line numbers.

    Args:
        lines: The lines of the file.

    Returns:
        The licence, its lines ended with ``"\\n"`` and without trailing spaces.

    Raises:
        CorpusFormatError: The file does not begin with the licence.

    Example:
        >>> extract_license(["  1 This software  ", "  2 and database  ", "00001740 03 n 01 entity 0 000 | x"])
        'This software\\nand database\\n'
    """
    header: list[str] = []
    for line in lines:
        match = _LICENSE_LINE.match(line)
        if match is None:
            break
        header.append(match[1].rstrip())
    if not header:
        raise CorpusFormatError("the file does not begin with the WordNet licence")
    return "\n".join(header) + "\n"


def select_senses(senses: Iterable[Sense]) -> list[Sense]:
    """Keep one sense for each text, and none for a text that is too short or has several labels.

    Texts that differ only in case, punctuation or spacing count as the same text.

    Args:
        senses: Senses in the order of their synsets; the first of several equal ones is kept.

    Returns:
        The senses that are left, in the same order.

    Example:
        >>> select_senses([Sense("act", "1", "a quick throw"), Sense("event", "2", "A quick throw")])
        []
    """
    first: dict[str, Sense] = {}
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for sense in senses:
        words = re.findall(r"\w+", sense.text.casefold())
        key = " ".join(words)
        labels[key].add(sense.label)
        if len(words) >= MIN_WORDS and len(sense.text.split()) >= MIN_WORDS:
            first.setdefault(key, sense)
    return [sense for key, sense in first.items() if len(labels[key]) == 1]


def build_rows(senses: Iterable[Sense], *, seed: int = SEED, max_per_label: int = MAX_PER_LABEL) -> list[list[str]]:
    """Sample the senses and divide them into splits, label by label.

    Args:
        senses: The senses to choose from, as returned by `select_senses`.
        seed: Part of the digests that order the senses; another seed gives another sample.
        max_per_label: A label with more senses than this is cut to so many; others stay as they are.

    Returns:
        Rows of split, label, synset and text, by split and within a split in a shuffled order.

    Example:
        >>> build_rows([Sense("act", "00977132", "an invasion or hostile attack")])
        [['train', 'act', '00977132', 'an invasion or hostile attack']]
    """
    groups: defaultdict[str, list[Sense]] = defaultdict(list)
    for sense in sorted(senses, key=lambda sense: _digest(sense, f"sample {seed}")):
        groups[sense.label].append(sense)
    splits: dict[str, list[Sense]] = {split: [] for split in SPLIT_ORDER}
    for group in groups.values():
        chosen = group[:max_per_label]
        validation = _share(len(chosen), VALIDATION_PARTS)
        test = validation + _share(len(chosen), TEST_PARTS)
        splits["validation"] += chosen[:validation]
        splits["test"] += chosen[validation:test]
        splits["train"] += chosen[test:]
    # A digest of its own mixes the labels evenly: the rows taken from a large label all have small sampling digests.
    return [
        [split, *sense]
        for split, members in splits.items()
        for sense in sorted(members, key=lambda sense: _digest(sense, f"order {seed}"))
    ]


def _digest(sense: Sense, salt: str) -> str:
    return hashlib.sha256(f"{salt}\t{sense.synset}\t{sense.text}".encode()).hexdigest()


def _share(count: int, parts: int) -> int:
    # Rounds half up in integers; round() would round halves to even.
    return (2 * count * parts + TOTAL_PARTS) // (2 * TOTAL_PARTS)


def build_files(noun_data: bytes) -> dict[str, bytes]:
    """Build the demo files from the content of ``data.noun``.

    Args:
        noun_data: The content of the file ``data.noun`` of WordNet 3.0.

    Returns:
        File names and contents: the data set and the licence.

    Raises:
        CorpusFormatError: The content is not that of a WordNet noun database file.

    Example:
        >>> files = build_files(Path("/usr/share/wordnet/data.noun").read_bytes())  # doctest: +SKIP
        >>> sorted(files)  # doctest: +SKIP
        ['WORDNET_LICENSE.txt', 'wordnet_supersenses.tsv']
    """
    lines = noun_data.decode("utf-8").rstrip("\n").split("\n")
    license_text = extract_license(lines)
    # The licence has as many lines here as in the file, whose synsets start right after it.
    parsed = (parse_noun_line(line) for line in lines[license_text.count("\n") :])
    rows = build_rows(select_senses(sense for sense in parsed if sense is not None))
    table = "".join("\t".join(row) + "\n" for row in [list(COLUMNS), *rows])
    return {DATA_FILE: table.encode("utf-8"), LICENSE_FILE: license_text.encode("utf-8")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments, by default those of the process.

    Returns:
        The exit status: 0 for success, 1 if ``--check`` found a difference, 2 if WordNet could not be read.

    Example:
        >>> main(["--check"])  # doctest: +SKIP
        0
    """
    return rebuild.run(
        arguments,
        program="python -m lane_hf.datasets.build_demo",
        description="Build the demo data set from WordNet 3.0.",
        sources=[NOUN_FILE],
        build=lambda sources: build_files(sources[NOUN_FILE]),
        digest=lambda sources: hashlib.sha256(sources[NOUN_FILE]).hexdigest(),
        expected_digest=SOURCE_SHA256,
        shipped=Path(__file__).parent / "data",
    )


if __name__ == "__main__":
    sys.exit(main())
