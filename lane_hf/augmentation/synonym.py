"""SynonymReplacement: views of a text in which a few words give way to synonyms of WordNet.

What may replace what is decided when the table is built, see `lane_hf.augmentation.build_synonyms`. Here, words are
found and chosen: no part-of-speech tagger, no language model, no state.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib.resources import files
from typing import Final, NamedTuple

from ..errors import InputError
from .collator import view_seed

__all__ = ["SynonymReplacement", "draw"]

TABLE_FILE: Final = "synonyms.tsv"
LICENSE_FILE: Final = "WORDNET_LICENSE.txt"
TABLE_HEADER: Final = "word\tsynonyms\tname\n"
NAME_MARK: Final = "name"

_MASK: Final = (1 << 64) - 1
_GAP = re.compile(r"(\s+)")
# Opening and closing punctuation is listed, rather than all that is no letter: @ # $ / _ [ < & and digits mark
# mentions, tags, paths, placeholders and the like, which stay as they are.
# Escapes: \u2014 is a dash, \u2018 to \u201d are curly quotes, \u2026 is an ellipsis.
_OPENING: Final = r"""["'(*\u2018\u2019\u201c\u201d\u00ab\u00bf\u00a1\u2014]*"""
_CLOSING: Final = r"""[.,;:!?"')*\u2018\u2019\u201c\u201d\u00bb\u2026\u2014]*"""
_CHUNK = re.compile(f"({_OPENING})([A-Za-z]{{2,}})({_CLOSING})")
_SENTENCE_END = re.compile(r"""[.!?\u2026]["')*\u2018\u2019\u201c\u201d\u00bb]*\Z""")
_I = re.compile(r"I(?!\w)")
_CACHED_CHUNKS: Final = 1 << 17


class _Slot(NamedTuple):
    """What may stand in the place of a chunk of text, punctuation included, and where it may."""

    options: tuple[str, ...]
    title: bool
    by_article: dict[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def _load_table() -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Read the shipped table: synonyms by word, and the words that are names, too."""
    content = (files(__package__) / "data" / TABLE_FILE).read_bytes().decode("ascii")
    rows = [line.split("\t") for line in content.removeprefix(TABLE_HEADER).splitlines()]
    synonyms = {word: tuple(others.split(" ")) for word, others, _ in rows}
    return synonyms, frozenset(word for word, _, mark in rows if mark)


# The cache holds what depends on the chunk alone. It belongs to the module: an instance that changed with use would
# change the fingerprint under which `Dataset.map` finds its results again.
@lru_cache(maxsize=_CACHED_CHUNKS)
def _slot(chunk: str) -> _Slot | None:
    match = _CHUNK.fullmatch(chunk)
    if match is None:
        return None
    before, word, after = match.groups()
    lower = word.lower()
    synonyms, names = _load_table()
    if lower not in synonyms or (word != lower and lower in names):
        return None
    if word == lower:
        words = synonyms[lower]
    elif word == word.upper():
        words = tuple(other.upper() for other in synonyms[lower])
    elif word == word.capitalize():
        words = tuple(other.capitalize() for other in synonyms[lower])
    else:
        return None
    options = tuple(f"{before}{other}{after}" for other in words)
    by_article = {
        article: tuple(option for option, other in zip(options, words, strict=True) if _takes_an(other) == takes_an)
        for article, takes_an in (("a", False), ("an", True))
    }
    return _Slot(options, title=word == word.capitalize(), by_article=by_article)


def _takes_an(word: str) -> bool:
    lower = word.lower()
    if lower.startswith(("hour", "honest", "honor", "heir")):
        return True
    return lower[0] in "aeiou" and not lower.startswith(("uni", "eu", "use", "usu", "uti", "one"))


def _begins_sentence(parts: Sequence[str], index: int) -> bool:
    """Whether the chunk stands where any word is capitalised, and is not the first of several capitalised words."""
    following = parts[index + 2] if index + 2 < len(parts) else ""
    if following[:1].isupper() and not _I.match(following):
        return False
    if index == 0 or parts[index - 2] == "" or "\n" in parts[index - 1]:
        return True
    return _SENTENCE_END.search(parts[index - 2]) is not None


def _find_slots(parts: Sequence[str]) -> list[tuple[int, tuple[str, ...]]]:
    """Return the index of every replaceable chunk with what may replace it; `parts` alternates chunks and gaps."""
    found = []
    for number, slot in enumerate(map(_slot, parts[::2])):
        if slot is None:
            continue
        index = 2 * number
        if slot.title and not _begins_sentence(parts, index):
            continue
        article = parts[index - 2].lower() if index else ""
        options = slot.by_article[article] if article in {"a", "an"} else slot.options
        if options:
            found.append((index, options))
    return found


def draw(seed: int, counter: int) -> int:
    """Return 64 random bits: number `counter` of the stream of a seed (SplitMix64; Steele et al., OOPSLA 2014).

    Unlike a `random.Random`, it costs nothing to start.

    Example:
        >>> draw(0, 0) == draw(0, 0), draw(0, 0) == draw(0, 1)
        (True, False)
    """
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class SynonymReplacement:
    """Replaces a few words of an English text by synonyms, as in EDA (Wei & Zou, EMNLP-IJCNLP 2019).

    Only words of a shipped table derived from WordNet 3.0 are replaced: common words in their most frequent sense,
    whose part of speech their form gives away. Case and inflection are kept ("Bought" becomes "Purchased"), spaces and
    punctuation stay as they are, to the byte. Function words, numbers, words with digits, addresses, mentions, tags,
    placeholders in brackets, and capitalised words within a sentence are never replaced. After "a" and "an" only
    synonyms come in that agree with the article. A text with nothing to replace is returned unchanged.

    Other than EDA, which picks words at random among all synonyms in WordNet, whatever their sense, and counts `n`
    against the length of the text, this counts against the words that can be replaced.

    The result depends on the arguments alone: it is the same in every worker, process and rank. Nothing detects the
    language: words of another language that are spelled like an English word of the table are replaced.

    Args:
        rate: share of the replaceable words that is replaced, in (0, 1]; at least one word is.
        n: number of words to replace, instead of `rate`; all where fewer can be replaced.
        seed: seed of calls that name no seed of their own.

    Raises:
        InputError: `rate` is not in (0, 1], or `n` is not positive.

    Example:
        >>> replace = SynonymReplacement(n=1)
        >>> replace("They (Bill, too) bought it; see #bought.", row_id=0)
        'They (Bill, too) purchased it; see #bought.'
    """

    def __init__(self, rate: float = 0.1, *, n: int | None = None, seed: int = 0) -> None:
        if not 0 < rate <= 1:
            raise InputError(f"rate must be above 0 and at most 1, got {rate}")
        if n is not None and n < 1:
            raise InputError(f"n must be at least 1, got {n}")
        self.rate = rate
        self.n = n
        self.seed = seed

    def augment(self, text: str, seed: int) -> str:
        """Return a view of the text that depends on the text and this seed only.

        Args:
            text: any text.
            seed: any integer; lies in place of the seed of the instance.

        Returns:
            The text with `n` words replaced, or `max(1, round(rate * replaceable words))`.

        Example:
            >>> SynonymReplacement().augment("hola", 7)
            'hola'
        """
        parts = _GAP.split(text)
        slots = _find_slots(parts)
        if not slots:
            return text
        number = self.n if self.n is not None else max(1, round(self.rate * len(slots)))
        for count in range(min(number, len(slots))):
            # The last slot takes the place of the drawn one, so that none is drawn twice.
            drawn = draw(seed, 2 * count) * len(slots) >> 64
            slots[drawn], slots[-1] = slots[-1], slots[drawn]
            index, options = slots.pop()
            parts[index] = options[draw(seed, 2 * count + 1) * len(options) >> 64]
        return "".join(parts)

    def __call__(self, text: str, *, row_id: int | None = None, view: int = 0, epoch: int = 0) -> str:
        """Return the view of a row that its seed, epoch and number give.

        Args:
            text: any text.
            row_id: the row; without one, equal texts have equal views.
            view: number of the view.
            epoch: the epoch.
        """
        key = _text_id(text) if row_id is None else row_id
        return self.augment(text, view_seed(self.seed, key, epoch, view))

    def batch(
        self, texts: Sequence[str], *, row_ids: Iterable[int] | None = None, view: int = 0, epoch: int = 0
    ) -> list[str]:
        """Return one view of every text: what calls one by one would return.

        Raises:
            ValueError: there are not as many row ids as texts.

        Example:
            >>> SynonymReplacement().batch(["", "42"], row_ids=[5, 6])
            ['', '42']
        """
        keys: Iterable[int | None] = [None] * len(texts) if row_ids is None else row_ids
        pairs = zip(texts, keys, strict=True)
        return [self(text, row_id=None if key is None else int(key), view=view, epoch=epoch) for text, key in pairs]


def _text_id(text: str) -> int:
    # Python's own hash differs between processes. Lone surrogates are no reason to fail.
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
