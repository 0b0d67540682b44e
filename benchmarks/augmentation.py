"""Speed of the augmentations on one core, beside nlpaug's SynonymAug on the same rows in the same run.

    python benchmarks/augmentation.py --rows 100000 --output augmentation.json

Rows are the texts of the demo data (about 12 words, as in GoEmotions), repeated as often as needed. Times are those of
the processor, the best of `--repeats` passes over the rows; a line of its own tells what the first pass takes. nlpaug
is slow and gets the first `--peer_rows` rows only. It is compared where it is installed (`pip install nlpaug nltk`)
and finds WordNet, in NLTK's data or in `--wordnet`. Its part-of-speech tagger is part of its work; where the tagger's
model is missing, a tagger that costs nothing stands in for it, which favours nlpaug, and the line says so.
"""

import argparse
import gc
import importlib
import json
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lane_hf.augmentation import SwitchOut, SynonymReplacement
from lane_hf.datasets.demo import load_demo
from lane_hf.rebuild import DEFAULT_WORDNET

SEED = 0
BATCH = 32
VOCABULARY = 30_522
ORDINARY_FROM = 1_000  # BERT's special and unused tokens come first


def demo_rows(count: int) -> list[str]:
    """The demo texts, again and again."""
    texts = [text for split in load_demo().values() for text in split["text"]]
    return [texts[i % len(texts)] for i in range(count)]


def token_rows(texts: Sequence[str]) -> list[list[int]]:
    """Random ids, one for each word and two specials: SwitchOut does not care which."""
    generator = np.random.default_rng(SEED)
    return [[1, *generator.integers(ORDINARY_FROM, VOCABULARY, len(text.split())).tolist(), 2] for text in texts]


def padded_batches(rows: Sequence[list[int]]) -> list[np.ndarray]:
    batches = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        batch = np.zeros((len(part), max(map(len, part))), dtype=np.int64)
        for target, row in zip(batch, part, strict=True):
            target[: len(row)] = row
        batches.append(batch)
    return batches


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    gc.collect()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def measure(name: str, work: Callable[[], object], rows: int, repeats: int, note: str = "") -> dict[str, Any]:
    seconds = best_seconds(work, repeats)
    result = {"name": name, "rows": rows, "seconds": round(seconds, 4), "rows_per_second": round(rows / seconds)}
    print(f"{name:<40} {rows:>9,} {seconds:>9.3f} {rows / seconds:>12,.0f}  {note}", flush=True)
    return {**result, "note": note}


def own_results(texts: list[str], repeats: int) -> list[dict[str, Any]]:
    count = len(texts)
    synonyms = SynonymReplacement(seed=SEED)
    switch = SwitchOut(VOCABULARY, range(ORDINARY_FROM), seed=SEED)
    ids = token_rows(texts)
    batches = padded_batches(ids)

    def switch_batches() -> None:
        for number, batch in enumerate(batches):
            switch.batch(batch, row_ids=np.arange(len(batch)) + number * BATCH)

    print(f"{'':<40} {'rows':>9} {'seconds':>9} {'rows/s':>12}")
    distinct = texts[: len(set(texts))]
    first = measure(
        "synonyms, augment, first pass",
        lambda: [synonyms.augment(text, i) for i, text in enumerate(distinct)],
        len(distinct),
        1,
        "reads the table, caches are empty",
    )
    changed = sum(a != b for a, b in zip(texts, synonyms.batch(texts, row_ids=range(count)), strict=True)) / count
    changed_ids = sum(a != switch.augment(a, i) for i, a in enumerate(ids)) / count
    return [
        first,
        measure(
            "synonyms, augment (a row a call)",
            lambda: [synonyms.augment(text, i) for i, text in enumerate(texts)],
            count,
            repeats,
            f"changes {changed:.0%} of the rows",
        ),
        measure("synonyms, batch", lambda: synonyms.batch(texts, row_ids=range(count)), count, repeats),
        measure(
            "SwitchOut, augment (a row a call)",
            lambda: [switch.augment(row, i) for i, row in enumerate(ids)],
            count,
            repeats,
            f"changes {changed_ids:.0%} of the rows",
        ),
        measure(f"SwitchOut, batch of {BATCH}", switch_batches, count, repeats),
    ]


def use_wordnet(folder: Path, work: Path) -> None:
    """Let nlpaug read a WordNet folder when NLTK's data has none: the database, and a list of lexicographer files."""
    import nltk
    from nltk.corpus import wordnet
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    try:
        wordnet.synsets("test")
    except LookupError:
        # A copy: NLTK reads no files outside its folders, to which this one is added.
        nltk.data.path.append(str(work))
        for path in filter(Path.is_file, folder.iterdir()):
            shutil.copy(path, work)
        # Only names that NLTK attaches to synsets; the comparison does not look at them.
        (work / "lexnames").write_text("".join(f"{number:02}\tname{number}\t1\n" for number in range(45)))
        # Not `import ... as`: the package has another thing of the module's name.
        module = importlib.import_module("nlpaug.model.word_dict.wordnet")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other languages are not needed
            # The map to other versions, for other languages, needs a file that Debian does not ship.
            module.wordnet = type("Reader", (WordNetCorpusReader,), {"map_wn": lambda self: None})(str(work), None)


def make_nlpaug(folder: Path, work: Path) -> tuple[Callable[[str], object], str]:
    """nlpaug's SynonymAug as it comes, and what was done to make it run."""
    import nlpaug.augmenter.word as naw
    import nltk
    from nlpaug.model.word_dict.wordnet import WordNet

    use_wordnet(folder, work)
    note = f"nlpaug {version('nlpaug')}"
    try:
        nltk.pos_tag(["test"])
    except LookupError:
        WordNet.pos_tag = classmethod(lambda cls, tokens: [(token, "") for token in tokens])
        note += ", with a tagger that costs nothing"
    # As many words as ours: a tenth, at least one.
    return naw.SynonymAug(aug_src="wordnet", aug_p=0.1, aug_min=1).augment, note


def peer_results(texts: list[str], folder: Path, repeats: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as work:
        try:
            augment, note = make_nlpaug(folder, Path(work))
        except (ImportError, LookupError, OSError, PackageNotFoundError) as error:
            print(f"nlpaug is left out: {error}")
            return []
        changed = sum(augment(text) != [text] for text in texts) / len(texts)
        note = f"{note}; changes {changed:.0%} of the rows"
        return [measure("nlpaug SynonymAug", lambda: [augment(text) for text in texts], len(texts), repeats, note)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Speed of the augmentations.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peer_rows", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wordnet", type=Path, default=DEFAULT_WORDNET)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    texts = demo_rows(options.rows)
    words = sum(len(text.split()) for text in texts) / len(texts)
    print(f"{len(texts):,} rows of {words:.1f} words, processor time of one core, best of {options.repeats}")
    results = own_results(texts, options.repeats)
    results += peer_results(texts[: options.peer_rows], options.wordnet, options.repeats)
    report = {
        "rows": len(texts),
        "words_per_row": round(words, 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "results": results,
    }
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
