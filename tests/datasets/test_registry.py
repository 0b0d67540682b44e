"""Data sets by name: those of the package, and those that `datasets` loads."""

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from lane_hf import InputError
from lane_hf.datasets import load, names
from lane_hf.datasets.demo import DEMO_SIZES
from lane_hf.datasets.registry import load_from_hub

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["sad", "glad"])})


def write_split(folder: Path, split: str, labels: list[int | None]) -> None:
    """Write a split as parquet, which keeps the names of its classes."""
    folder.mkdir(exist_ok=True)
    columns = {"text": [f"{split} {row}" for row in range(len(labels))], "label": labels}
    Dataset.from_dict(columns, features=FEATURES).to_parquet(folder / f"{split}.parquet")


def test_the_demo_has_a_name() -> None:
    assert names() == sorted(names())
    assert "demo" in names()
    assert {split: len(rows) for split, rows in load("demo").items()} == DEMO_SIZES


def test_unknown_names_and_useless_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the data set 'demoo' has no entry here: the names are .*demo"):
        load("demoo")
    with pytest.raises(InputError, match="leave data_dir out"):
        load("demo", str(tmp_path))


def test_a_folder_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    for split, labels in {"train": [1, 0, 1], "validation": [0, 1], "test": [1]}.items():
        write_split(tmp_path / "data", split, labels)
    splits = load_from_hub(str(tmp_path / "data"))
    # The order of the names is alphabetical, whatever it was.
    assert splits["train"].features["label"].names == ["glad", "sad"]
    labels = {split: rows["label"][:] for split, rows in splits.items()}
    assert labels == {"train": [0, 1, 0], "validation": [1, 0], "test": [0]}


def test_hidden_test_labels_are_left_out(tmp_path: Path) -> None:
    write_split(tmp_path / "data", "train", [1, 0])
    write_split(tmp_path / "data", "test", [-1, -1])
    splits = load_from_hub(str(tmp_path / "data"))
    assert splits["test"].column_names == ["text"]
    assert len(splits["test"]) == 2


@pytest.mark.parametrize("hidden", [-1, None])
def test_hidden_training_labels_are_missing(tmp_path: Path, hidden: int | None) -> None:
    write_split(tmp_path / "data", "train", [1, hidden, 0])
    with pytest.raises(InputError, match=r"train data: 1 row \(row 1\) has no label"):
        load_from_hub(str(tmp_path / "data"))


def test_hidden_validation_labels_are_missing(tmp_path: Path) -> None:
    write_split(tmp_path / "data", "train", [1, 0])
    write_split(tmp_path / "data", "validation", [-1, -1])
    with pytest.raises(InputError, match=r"validation data: 2 rows \(row 0, 1\) have no label"):
        load_from_hub(str(tmp_path / "data"))


def test_columns_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,phrase,mood\n1,one,glad\n2,two,sad\n")
    rows = load_from_hub(str(tmp_path), "phrase", "mood")["train"]
    assert rows.to_dict() == {"text": ["one", "two"], "label": [0, 1]}
    with pytest.raises(InputError, match="no column looks like the labels"):
        load_from_hub(str(tmp_path))


def test_what_cannot_be_loaded_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'demoo' is neither a built-in name \(.*demo.*\) nor a Hub id"):
        load_from_hub("demoo")
    with pytest.raises(InputError, match="'nobody/nothing' cannot be loaded") as caught:
        load_from_hub("nobody/nothing")
    assert "\n" not in str(caught.value)
    # Two tables with different columns: an exception of `datasets` with a message of many lines.
    for name in ("train_1.csv", "train_2.csv"):
        (tmp_path / name).write_text(f"text,{name[:7]}\na,b\n")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load_from_hub(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_data_set_needs_a_training_split(tmp_path: Path) -> None:
    write_split(tmp_path / "data", "test", [1, 0])
    with pytest.raises(InputError, match="has no split 'train': its splits are test"):
        load_from_hub(str(tmp_path / "data"))
