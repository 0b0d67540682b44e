"""Summaries of data sets, on rows counted by hand."""

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from lane_hf.datasets import entry
from lane_hf.datasets.summary import describe, summarise

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["sad", "glad", "never"])})


def rows(texts: list[str], labels: list[int]) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": labels}, features=FEATURES)


def test_rows_labels_lengths_and_duplicates() -> None:
    data = DatasetDict(
        train=rows(["one two", "ONE  two", "one two", "three", "x y z w"], [0, 1, 0, 1, 1]),
        validation=rows(["Three", "new"], [1, 0]),
        test=rows(["one two", "one two", "four"], [0, 0, 1]),
    )
    summary = summarise(data)
    train = summary["splits"]["train"]
    assert train["rows"] == 5
    assert train["labels"] == {"sad": 2, "glad": 3, "never": 0}
    assert train["characters"] == {"min": 5, "median": 7.0, "p95": 7.8, "max": 8}
    assert train["words"] == {"min": 1, "median": 2.0, "p95": 3.6, "max": 4}
    assert train["duplicates"] == 2
    assert train["conflicts"] == 1
    assert summary["splits"]["test"]["duplicates"] == 1
    assert summary["splits"]["test"]["conflicts"] == 0
    assert summary["across"] == {"train/validation": 1, "train/test": 2, "validation/test": 0}


def test_a_split_without_labels_or_rows_has_a_summary() -> None:
    data = DatasetDict(test=Dataset.from_dict({"text": ["a"]}), train=rows([], []))
    splits = summarise(data)["splits"]
    assert splits["test"]["labels"] == {}
    assert splits["train"]["words"] == {"min": 0, "median": 0, "p95": 0, "max": 0}


def test_an_entry_is_described_in_lines_for_a_terminal() -> None:
    text = describe(entry("canceremo"))
    assert text.startswith("canceremo: Sentences from")
    assert "8: anger, anticipation" in text
    assert "tsosea2@uic.edu" in text
    assert "not published" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "at f98486401898395781df446735b32951aff18ba9" in describe(entry("goemotions"))
    assert "at its newest version" in describe(entry("ag-news"))
    assert ", ..." in describe(entry("rcv1"))
