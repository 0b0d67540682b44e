"""The data with human label noise: what is read, which label counts, and what comes into which split."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import crowd as benchmark


def archive(path: Path, texts: str, ratings: str) -> Path:
    """Write an archive of the shape of the real one: a tar file in a zip file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as files:
        for name, table in (("GroundTruth", texts), ("anonDataRatings", ratings)):
            data = ("\ufeff" + table).encode()
            member = tarfile.TarInfo(f"hutto_ICWSM_2014/nytEditorialSnippets_{name}.txt")
            member.size = len(data)
            files.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz", content.getvalue())
    return path


def test_sentences_meet_their_ratings_whatever_the_order(tmp_path: Path) -> None:
    texts = '1_1\t0.4\tIt "works".\n1_2\t-1\tIt\'s bad, very bad.\n2_1\t0\tA day.\n'
    ratings = "2_1\t0\t0\t[0, 0]\n1_2\t-1\t1\t[-2, 0, -1]\n1_1 \t1\t0\t[1]\n"
    rows = benchmark.read_ratings(archive(tmp_path / "a.zip", texts, ratings), "nyt")
    assert rows["text"].tolist() == ['It "works".', "It's bad, very bad.", "A day."]
    assert rows["article"].tolist() == ["1", "1", "2"]
    assert rows["ratings"].tolist() == [[1], [-2, 0, -1], [0, 0]]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(3, ["positive", "negative", "neutral"]), (5, ["very positive", "negative", "neutral"])],
)
def test_most_raters_decide_and_a_tie_is_left_out(labels: int, expected: list[str]) -> None:
    ratings = [[4, 2, 1, 3], [-1, -1, -3, 1], [0, 0, 1], [1, 1, -4, -4]]
    rows = pd.DataFrame({"article": range(4), "text": list("abcd"), "ratings": ratings})
    assert benchmark.label_rows(rows, labels, np.random.default_rng(0))["label"].tolist() == expected


def test_one_rater_is_each_of_them_equally_often() -> None:
    rows = pd.DataFrame({"article": range(4000), "text": "a", "ratings": [[3, 3, 0, -1]] * 4000})
    drawn = benchmark.label_rows(rows, 3, np.random.default_rng(0))["one_rater"].value_counts(normalize=True)
    assert drawn[["positive", "neutral", "negative"]].to_numpy() == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


def test_no_article_is_in_two_splits_and_none_is_lost() -> None:
    rows = pd.DataFrame({"article": np.repeat(range(100), 3), "text": range(300)})
    splits = benchmark.split_rows(rows, np.random.default_rng(0))
    assert {name: len(split) for name, split in splits.items()} == {"train": 210, "validation": 30, "test": 60}
    texts = pd.concat(splits.values())["text"]
    assert sorted(texts) == list(range(300))
    articles = [set(split["text"] // 3) for split in splits.values()]
    assert sum(map(len, articles)) == 100


def test_files_are_written_and_another_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = range(20)
    texts = "".join(f"{number}\t1\tText {number}\n" for number in numbers)
    ratings = "".join(f"{number}\t1\t1\t[1, 1, -1]\n" for number in numbers)
    real = archive(tmp_path / "a.zip", texts, ratings)
    command = ["crowd.py", "--sources", "nyt", "--output", str(tmp_path / "data"), "--archive"]
    monkeypatch.setattr(sys, "argv", [*command, str(real)])
    assert benchmark.main() == 0
    table = pd.read_csv(tmp_path / "data" / "nyt-3" / "train.csv")
    assert table.columns.tolist() == ["text", "label", "one_rater"]
    assert len(table) == 14
    (tmp_path / "b.zip").write_bytes(b"no archive")
    for other in ("b.zip", "c.zip"):
        monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / other)])
        assert benchmark.main() == 2
        assert "not vaderSentiment-0.5.zip" in capsys.readouterr().err
