"""Build the table of synonyms from the WordNet 3.0 database files.

Rebuild it, or check that the shipped files are what this script makes of WordNet::

    python -m lane_hf.augmentation.build_synonyms --wordnet /usr/share/wordnet --output FOLDER
    python -m lane_hf.augmentation.build_synonyms --wordnet /usr/share/wordnet --check

The table lists word *forms* ("bought", "cities"), each with forms that can stand in its place ("purchased"). All that
needs judgement (which sense, which part of speech, how to inflect) is decided here, once, and can be read in the
table; a replacement at run time is a look-up. What is doubtful is left out:

- three quarters of the weight of a form must fall on one word and part of speech (weights are uses counted in
  WordNet's tagged corpus), so that "left" and "building" have no entry;
- only the most frequent sense of a word counts, and it must make up a third of the word's uses, as it must of the uses
  of the synonym, which must occur in the corpus;
- a synonym is inflected by the regular rules, and the result must occur in WordNet's own definitions and examples, and
  be most often the part of speech that it stands for.

The build is deterministic: no random numbers, and every comparison is one of integers.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lane_hf import rebuild
from lane_hf.augmentation.synonym import LICENSE_FILE, NAME_MARK, TABLE_FILE, TABLE_HEADER
from lane_hf.datasets.build_demo import CorpusFormatError, extract_license

__all__ = ["STOP_WORDS", "build_files", "main", "regular_form"]

PARTS: Final[dict[str, str]] = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
SOURCES: Final = (
    *(f"{kind}.{part}" for part in PARTS.values() for kind in ("index", "data")),
    *(f"{part}.exc" for part in ("noun", "verb")),
    "cntlist.rev",
)
# Digest of the sources that the shipped table was built from: tells a changed source from a changed build.
SOURCE_SHA256: Final = "3bc069994a501ab70dd89cbdafc6799df8cdae7a0767524898a53327dc4e7b47"
MAX_SYNONYMS: Final = 4
MIN_OCCURRENCES: Final = 2

_SENSE_TYPES: Final = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "n": ("base", "s"),
    "v": ("base", "s", "ed", "ing"),
    "a": ("base",),
    "r": ("base",),
}
_WORD = re.compile(r"[a-z]{3,}")
_OFFENSIVE = re.compile(r"\b(offensive|slur|disparag\w*|derogatory|obscene\w*|vulgar|ethnic|taboo)\b")
_VOWELS: Final = frozenset("aeiou")

# Function words, words that work with a particle ("get up", "look after") or in fixed phrases, and number words.
_STOP_TEXT: Final = """
    a about above across after afterwards again against ago all almost alone along already also although altogether
    always am among an and another any anybody anyhow anyone anything anyway anywhere apart are around as aside ask at
    away back be became because become becomes been before beforehand behind being below beside besides best better
    between beyond billion both but by bye came can cannot could couple dear did do does doing done down dozen due
    during each eight eighteen eighth eighty either eleven else elsewhere enough etc even ever every everybody everyone
    everything everywhere except far few fifteen fifth fifty first five for former forth forty four fourteen fourth
    from further gave get gets getting give given gives giving go goes going gone got had half has have having he hello
    hence her here hers herself hey him himself his hour how however hundred if in indeed instead into is it its itself
    just keep keeps kept kind last later latter least less let lets like likely little look looked looking looks lot
    lots made make makes making many may maybe me mean means meanwhile might million mine minus minute month more
    moreover most mostly much must my myself near nearly neither never nevertheless next nine nineteen ninety ninth no
    nobody none nonetheless noone nor not nothing now nowhere of off often okay on once one ones only onto or other
    others otherwise ought our ours ourselves out outside over own part past per perhaps please plus put puts putting
    quite rather really right said same saw say saying says second see seeing seem seen sees set sets seven seventeen
    seventh seventy several shall she should since six sixteen sixth sixty so some somebody somehow someone something
    sometimes somewhere soon sort still such take taken takes taking ten tenth than thank thanks that the their theirs
    them themselves then thence there therefore these they thing third thirteen thirty this those though thousand three
    through throughout thus till time times to together told tomorrow tonight too took toward towards trillion turn
    turned turning turns twelve twenty twice two under unless unlike until unto up upon us use used usually various
    very via want wants was way week well went were what whatever when whenever where whereas wherever whether which
    whichever while who whoever whole whom whose why will with within without would year yeah yes yesterday yet you
    your yours yourself yourselves zero
"""
STOP_WORDS: Final = frozenset(_STOP_TEXT.split())
# Verbs whose past is their base: "cut" may be either, so its other forms alone would be usable. They are left out.
_ZERO_PAST_TEXT: Final = """
    beat bet bid broadcast burst cast cost cut forecast hit hurt knit let offset put quit read rid set shed shut slit
    split spread sweat thrust upset wed wet
"""
ZERO_PAST: Final = frozenset(_ZERO_PAST_TEXT.split())


class WordNet(NamedTuple):
    """What the build needs of WordNet: senses, synsets, uses, irregular forms, texts.

    `senses` maps (word, part) to its synsets, most frequent first; `synsets` maps (part, synset) to the usable words;
    `uses` maps (word, part, number of the sense, from 1) to its count in the tagged corpus; `irregular` maps
    (word, part) to its forms; `occurrences` counts words in glosses; `names` are words that are names, too.
    """

    senses: Mapping[tuple[str, str], list[str]]
    synsets: Mapping[tuple[str, str], list[str]]
    uses: Mapping[tuple[str, str, int], int]
    irregular: Mapping[tuple[str, str], list[str]]
    occurrences: Mapping[str, int]
    names: frozenset[str]

    def total(self, word: str, part: str) -> int:
        """Return how often the corpus uses the word as this part of speech."""
        return sum(self.uses.get((word, part, i + 1), 0) for i in range(len(self.senses.get((word, part), []))))


def _synset_lines(content: str) -> Iterator[str]:
    # Header lines begin with two spaces.
    return (line for line in content.split("\n") if line and not line.startswith("  "))


def _usable_words(fields: list[str], gloss: str) -> list[str]:
    """Return the words of a synset that may serve as synonyms, those of a usage domain (slang, slurs) left out."""
    count = int(fields[3], 16)
    words = fields[4 : 4 + 2 * count : 2]
    pointers = fields[5 + 2 * count :]
    marked = {int(pointers[i + 3][:2], 16) for i in range(0, 4 * int(fields[4 + 2 * count]), 4) if pointers[i] == ";u"}
    if 0 in marked or _OFFENSIVE.search(gloss):
        return []
    return [word for i, word in enumerate(words, 1) if i not in marked and _WORD.fullmatch(word)]


def _names(fields: list[str]) -> Iterator[str]:
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    for word in words:
        # "Mark_Twain" makes "mark" a name, "New_York" does not make "new" one: 18 is noun.person.
        if "_" not in word or fields[1] == "18":
            yield from (piece.lower() for piece in word.split("_") if not piece.islower())


def read_wordnet(sources: Mapping[str, str]) -> WordNet:
    """Parse the database files.

    Args:
        sources: Contents by file name, for every name in `SOURCES`.

    Raises:
        CorpusFormatError: A line does not have the documented format.
    """
    senses, synsets, irregular = {}, {}, defaultdict(list)
    uses: dict[tuple[str, str, int], int] = {}
    occurrences: Counter[str] = Counter()
    names: set[str] = set()
    line = ""
    try:
        for part, name in PARTS.items():
            for line in _synset_lines(sources[f"index.{name}"]):
                fields = line.split()
                senses[fields[0], part] = fields[-int(fields[2]) :]
            for line in _synset_lines(sources[f"data.{name}"]):
                head, _, gloss = line.partition(" | ")
                fields = head.split()
                synsets[part, fields[0]] = _usable_words(fields, gloss)
                names.update(_names(fields))
                occurrences.update(_WORD.findall(gloss))
        for name in ("noun", "verb"):
            for line in filter(None, sources[f"{name}.exc"].split("\n")):
                form, *bases = line.split()
                for base in bases:
                    irregular[base, name[0]].append(form)
        for line in filter(None, sources["cntlist.rev"].split("\n")):
            key, number, count = line.split()
            word, _, rest = key.partition("%")
            uses[word, _SENSE_TYPES[rest[0]], int(number)] = int(count)
    except (IndexError, KeyError, ValueError) as error:
        raise CorpusFormatError(f"not a line of a WordNet file: {line!r}") from error
    return WordNet(senses, synsets, uses, irregular, occurrences, frozenset(names))


def regular_form(word: str, form: str) -> str:
    """Inflect a word by the regular rules, without doubling consonants.

    Args:
        word: A noun or a verb.
        form: ``"base"``, ``"s"`` (plural or third person), ``"ed"`` or ``"ing"``.

    Example:
        >>> [regular_form("carry", form) for form in ("base", "s", "ed", "ing")]
        ['carry', 'carries', 'carried', 'carrying']
    """
    stem = word
    if form == "ing":
        if word.endswith("ie"):
            stem = word[:-2] + "y"
        elif word.endswith("e") and not word.endswith(("ee", "oe", "ye")):
            stem = word[:-1]
        return stem + "ing"
    if form == "base":
        return word
    if word.endswith("y") and word[-2] not in _VOWELS:
        stem = word[:-1] + "ie"
    if form == "s":
        return stem + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")
    return stem + ("d" if stem.endswith("e") else "ed")


def _irregular_forms(wordnet: WordNet, word: str, part: str, form: str) -> list[str]:
    forms = wordnet.irregular.get((word, part), [])
    if part == "n":
        return forms if form == "s" else []
    if form in {"base", "s"}:
        return []
    return [other for other in forms if other.endswith("ing") == (form == "ing")]


def _source_forms(wordnet: WordNet, word: str, part: str, form: str) -> set[str]:
    regular = regular_form(word, form)
    return {*_irregular_forms(wordnet, word, part, form), regular} if form != "base" else {regular}


def _target_form(wordnet: WordNet, word: str, part: str, form: str) -> str | None:
    """Inflect a synonym, or return None where the form is irregular, unattested or unsure."""
    irregular = _irregular_forms(wordnet, word, part, form)
    if part == "v" and (word in ZERO_PAST or not all(other.endswith(("ed", "ing")) for other in irregular)):
        return None
    if part == "n" and form == "base" and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return None  # "authorities" has another number than "government"
    if part == "n" and form == "s" and (irregular or word.endswith(("ness", "ics", "s", "o"))):
        return None
    # "stopped" and "travelled" are in the exception list, "stoped" occurs nowhere.
    best = max([regular_form(word, form), *irregular], key=lambda other: wordnet.occurrences[other])
    return best if wordnet.occurrences[best] >= MIN_OCCURRENCES else None


def _synonyms(wordnet: WordNet, word: str, part: str) -> list[str]:
    """Return the synonyms of the most frequent sense, the most used first, if that sense is frequent enough."""
    senses = wordnet.senses[word, part]
    total, first = wordnet.total(word, part), wordnet.uses.get((word, part, 1), 0)
    if (total == 0 and len(senses) > 1) or 3 * first < total:
        return []
    found = []
    for other in wordnet.synsets[part, senses[0]]:
        number = wordnet.senses[other, part].index(senses[0]) + 1
        used = wordnet.uses.get((other, part, number), 0)
        if other not in {word, *STOP_WORDS} and 3 * used >= max(wordnet.total(other, part), 1):
            found.append((-used, other))
    return [other for _, other in sorted(found)]


def build_table(wordnet: WordNet) -> dict[str, list[str]]:
    """Return the forms that have synonyms, each with its synonyms, the most used first."""
    candidates: defaultdict[str, list[tuple[int, str, str, str]]] = defaultdict(list)
    for word, part in wordnet.senses:
        if _WORD.fullmatch(word):
            # One use more per sense: counts of a small corpus say little about rare words.
            weight = wordnet.total(word, part) + len(wordnet.senses[word, part])
            for form in _FORMS[part]:
                for surface in _source_forms(wordnet, word, part, form):
                    candidates[surface].append((weight, word, part, form))
    table = {}
    for surface, weighted in sorted(candidates.items()):
        weight, word, part, form = max(weighted)
        unsure = 4 * weight < 3 * sum(reading[0] for reading in weighted)
        if unsure or {surface, word} & STOP_WORDS or (part == "v" and word in ZERO_PAST):
            continue
        forms = (_target_form(wordnet, other, part, form) for other in _synonyms(wordnet, word, part))
        # "wet" is a noun for "moisture", but whoever reads it takes it for an adjective.
        readable = (other for other in forms if other and max(candidates[other])[2] == part)
        found = [other for other in dict.fromkeys(readable) if other != surface and other not in STOP_WORDS]
        if found:
            table[surface] = found[:MAX_SYNONYMS]
    return table


def build_files(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Build the table and the licence from the contents of the WordNet files.

    Args:
        sources: Contents by file name, for every name in `SOURCES`.

    Returns:
        File names and contents.

    Raises:
        CorpusFormatError: A content is not that of a WordNet file.
    """
    texts = {name: content.decode("utf-8") for name, content in sources.items()}
    wordnet = read_wordnet(texts)
    rows = (
        f"{surface}\t{' '.join(synonyms)}\t{NAME_MARK if surface in wordnet.names else ''}\n"
        for surface, synonyms in build_table(wordnet).items()
    )
    license_text = extract_license(texts["data.noun"].split("\n"))
    return {TABLE_FILE: (TABLE_HEADER + "".join(rows)).encode(), LICENSE_FILE: license_text.encode()}


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
        program="python -m lane_hf.augmentation.build_synonyms",
        description="Build the synonyms from WordNet 3.0.",
        sources=SOURCES,
        build=build_files,
        digest=source_digest,
        expected_digest=SOURCE_SHA256,
        shipped=Path(__file__).parent / "data",
    )


def source_digest(sources: Mapping[str, bytes]) -> str:
    """Return one SHA-256 for all sources together."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
