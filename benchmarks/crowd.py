"""Real label noise: sentences whose sentiment some twenty people have rated, and one of them labels the training set.

    pip download --no-deps vaderSentiment==0.5
    python benchmarks/crowd.py --archive vaderSentiment-0.5.zip --labels 3 5 --output DATA
    python benchmarks/accuracy.py --data_dir DATA --datasets nyt-3 nyt-5 --noise clean column:one_rater \
        --methods plain lane --output results.jsonl

Writes a folder for each source and number of labels (`nyt-3`, `tweets-5`, ...), each with `train.csv`,
`validation.csv` and `test.csv`. `label` is the label that most raters gave (a sentence with a tie is left out);
`one_rater` is that of one rater, drawn for each sentence: what a cheap annotation would have been. With 3 labels a
rating counts by its sign, with 5 ratings of 2 to 4 are one label, likewise -2 to -4. Sentences of one article stay in
one split (70, 10 and 20% of the articles).

The ratings belong to C. J. Hutto and E. Gilbert, VADER (ICWSM 2014), and are part of the package under its licence.
"""

import argparse
import ast
import csv
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

SOURCES = {
    "movies": "movieReviewSnippets",
    "tweets": "tweets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
}
NAMES = {
    3: ["negative", "neutral", "positive"],
    5: ["very negative", "negative", "neutral", "positive", "very positive"],
}
SPLITS = {"train": 0.7, "validation": 0.8, "test": 1.0}


def read_ratings(archive: Path, source: str) -> pd.DataFrame:
    """Return the sentences of a source: `article`, `text`, and `ratings` from -4 to 4.

    Raises:
        KeyError: the archive holds no such file.
        ValueError: a line is not what it should be.
    """
    with zipfile.ZipFile(archive) as outer:
        inner = next(name for name in outer.namelist() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        content = outer.read(inner)
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        texts, ratings = (
            files.extractfile(f"hutto_ICWSM_2014/{SOURCES[source]}_{part}.txt").read().decode("utf-8-sig")
            for part in ("GroundTruth", "anonDataRatings")
        )
    rated = {key: ast.literal_eval(values) for key, _, _, values in _lines(ratings)}
    rows = [(key.split("_")[0], text.strip(), rated[key]) for key, _, text in _lines(texts)]
    return pd.DataFrame(rows, columns=["article", "text", "ratings"])


def _lines(table: str) -> list[list[str]]:
    lines = csv.reader(io.StringIO(table, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [[cell.strip() for cell in line] for line in lines if line]


def label_rows(rows: pd.DataFrame, labels: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return `article`, `text`, `label` (of most raters) and `one_rater`, without sentences that end in a tie."""
    highest = labels // 2
    kept = []
    for article, text, ratings in rows.itertuples(index=False):
        votes = np.clip(ratings, -highest, highest) + highest
        counts = np.bincount(votes, minlength=labels)
        one = rng.choice(votes)
        if np.sum(counts == counts.max()) == 1:
            kept.append((article, text, NAMES[labels][counts.argmax()], NAMES[labels][one]))
    return pd.DataFrame(kept, columns=["article", "text", "label", "one_rater"])


def split_rows(rows: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Return training, validation and test rows, no article in two of them."""
    articles = rng.permutation(rows["article"].unique())
    place = rows["article"].map({article: (rank + 0.5) / len(articles) for rank, article in enumerate(articles)})
    split = np.searchsorted(list(SPLITS.values()), place)
    return {name: rows[split == number].drop(columns="article") for number, name in enumerate(SPLITS)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="vaderSentiment-0.5.zip, from PyPI.")
    parser.add_argument("--labels", nargs="+", type=int, choices=list(NAMES), default=[3])
    parser.add_argument("--sources", nargs="+", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    for source in args.sources:
        try:
            rows = read_ratings(args.archive, source)
        except (OSError, zipfile.BadZipFile, StopIteration, KeyError, ValueError) as error:
            print(f"error: {args.archive}: not vaderSentiment-0.5.zip ({error})", file=sys.stderr)
            return 2
        for labels in args.labels:
            rng = np.random.default_rng(args.seed)
            labelled = label_rows(rows, labels, rng)
            folder = args.output / f"{source}-{labels}"
            folder.mkdir(parents=True, exist_ok=True)
            splits = split_rows(labelled, rng)
            for name, split in splits.items():
                split.to_csv(folder / f"{name}.csv", index=False)
            wrong = (labelled["label"] != labelled["one_rater"]).mean()
            sizes = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
            print(f"{folder}: {sizes}; {wrong:.1%} of the labels of one rater are not those of most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
