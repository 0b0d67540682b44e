"""Loading from the Hub: the same rows, ids and reductions as from files. No test uses the network."""

from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

from lane_hf import InputError
from lane_hf.datasets import entry, load, load_with_report
from lane_hf.datasets.rows import hash_share


class FakeHub:
    """Stands for `datasets.load_dataset`: remembers what it was asked for."""

    def __init__(self, answer: DatasetDict | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, name: str, config: str | None = None, revision: str | None = None) -> DatasetDict:
        self.asked.append((name, config, revision))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def use(monkeypatch: pytest.MonkeyPatch, answer: DatasetDict | Exception) -> FakeHub:
    hub = FakeHub(answer)
    monkeypatch.setattr(datasets, "load_dataset", hub)
    return hub


def table(columns: dict[str, list[Any]], features: dict[str, Any]) -> Dataset:
    return Dataset.from_dict(columns, features=Features(features))


def test_goemotions_is_pinned_and_reduced_to_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {"text": Value("string"), "labels": Sequence(ClassLabel(names=list(entry("goemotions").label_names)))}
    rows = table({"text": ["a", "b", "c", " "], "labels": [[27], [0, 1], [], [2]]}, features)
    hub = use(monkeypatch, DatasetDict(train=rows, validation=rows.select([0]), test=rows.select([0])))
    data, report = load_with_report("goemotions")
    sha = "f98486401898395781df446735b32951aff18ba9"
    assert hub.asked == [("google-research-datasets/go_emotions", "simplified", sha)]
    assert data["train"].to_dict() == {"text": ["a"], "label": [27]}
    assert report.dropped == {"train": {"more than one label": 1, "no label": 1, "no text": 1}}
    assert sha in report.source
    assert "more than one label" in data["train"].info.description


def test_yahoo_joins_the_parts_and_makes_a_validation_split(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = range(60)
    rows = table(
        {
            "id": list(numbers),
            "topic": [number % 10 for number in numbers],
            "question_title": [f"title {number}" for number in numbers],
            "question_content": [""] * len(numbers),
            "best_answer": ["line\\nline"] * len(numbers),
        },
        {
            "id": Value("int32"),
            "topic": ClassLabel(names=list(entry("yahoo").label_names)),
            "question_title": Value("string"),
            "question_content": Value("string"),
            "best_answer": Value("string"),
        },
    )
    use(monkeypatch, DatasetDict(train=rows, test=rows))
    data, report = load_with_report("yahoo")
    assert data["test"]["text"][0] == "title 0\nline\nline"
    assert len(data["train"]) + len(data["validation"]) == 60
    assert all(hash_share("yahoo", text) == 0 for text in data["validation"]["text"])
    assert report.rows_read == {"train": 60, "test": 60}
    assert "no validation split" in report.notes[0]


@pytest.mark.parametrize(
    ("name", "hub_names"),
    [
        ("sst5", None),  # plain whole numbers there
        ("yelp", ["1 star", "2 star", "3 stars", "4 stars", "5 stars"]),
        ("ag-news", ["World", "Sports", "Business", "Sci/Tech"]),
    ],
)
def test_class_ids_are_kept_and_names_are_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, hub_names: list[str] | None
) -> None:
    label = ClassLabel(names=hub_names) if hub_names else Value("int64")
    rows = table({"text": ["a", "b", "c"], "label": [0, 1, 3]}, {"text": Value("string"), "label": label})
    hub = use(monkeypatch, DatasetDict(train=rows, validation=rows, test=rows))
    data = load(name)
    assert data["train"]["label"][:] == [0, 1, 3]
    assert data["train"].features["label"].names == list(entry(name).label_names)
    assert hub.asked == [(entry(name).hub_id, None, entry(name).revision)]


def test_a_copy_that_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text, label = Value("string"), ClassLabel(names=["a", "b"])
    rows = table({"text": ["a"], "label": [0]}, {"text": text, "label": label})
    use(monkeypatch, DatasetDict(train=rows))
    with pytest.raises(InputError, match="2 classes, but 'ag-news' has 4"):
        load("ag-news")
    use(monkeypatch, DatasetDict(train=rows.rename_column("label", "topic")))
    with pytest.raises(InputError, match="no column 'label': the columns are text, topic"):
        load("ag-news")
    use(monkeypatch, DatasetDict(test=rows))
    with pytest.raises(InputError, match="no split 'train'"):
        load("ag-news")


def test_without_the_hub_the_message_says_what_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, ConnectionError("Couldn't reach the Hub\nsecond line"))
    with pytest.raises(InputError, match=r"Couldn't reach the Hub\. Without the Hub, give a data_dir with") as caught:
        load("sst5")
    assert "\n" not in str(caught.value)
