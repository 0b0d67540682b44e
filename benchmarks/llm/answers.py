"""Which label a written answer means."""

import re
from collections.abc import Sequence

UNPARSED = -1

_WORDS = re.compile(r"[^\W_]+")


def label_of(answer: str, names: Sequence[str]) -> int:
    """Return the label that an answer names, or -1.

    The answer is a label, up to white space; or it is one up to case and punctuation; or it contains one label, and
    not another. A label within a longer one, "positive" in "very positive", does not count.

    Example:
        >>> names = ["positive", "very positive"]
        >>> [label_of(each, names) for each in ("Positive.", "It is Very_positive!", "positive, very positive", "?")]
        [0, 1, -1, -1]
    """
    exact = [name.strip() for name in names]
    if answer.strip() in exact:
        return exact.index(answer.strip())
    plain = [_plain(name) for name in names]
    said = _plain(answer)
    # Names that are punctuation, or differ by it alone, were to be written exactly.
    known = {name: index for index, name in enumerate(plain) if name and plain.count(name) == 1}
    if said in known:
        return known[said]
    found = []
    for name in sorted({name for name in plain if name}, key=len, reverse=True):
        without = re.sub(rf"(?<!\S){re.escape(name)}(?!\S)", "|", said)
        if without != said:
            found.append(name)
        said = without
    return known.get(found[0], UNPARSED) if len(found) == 1 else UNPARSED


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))
