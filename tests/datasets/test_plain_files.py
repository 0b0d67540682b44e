"""Every data set as plain csv files with label names."""

from pathlib import Path

import pytest
from releases import named, write

from lane_hf import InputError
from lane_hf.datasets import entry, load, load_with_report


@pytest.mark.parametrize("name", ["ag-news", "empathetic-dialogues", "isear", "rcv1", "scihtc", "sst5", "yelp"])
def test_plain_csv_for_every_data_set(tmp_path: Path, name: str) -> None:
    first, last = entry(name).label_names[0], entry(name).label_names[-1]
    rows = f'text,label\n"a, b",{quote(first)}\n,{quote(last)}\nc,{quote(last.upper())}\nd,\n'
    folder = write(
        tmp_path, {"train.csv": rows, "validation.csv": rows, "test.csv": "label,text\n" + f"{quote(last)},e\n"}
    )
    data, report = load_with_report(name, folder)
    assert named(data["train"]) == [("a, b", first), ("c", last)]
    assert named(data["test"]) == [("e", last)]
    assert report.format == "plain csv"
    assert report.dropped["train"] == {"no text": 1, "no label": 1}


def quote(cell: str) -> str:
    return f'"{cell}"'


def test_plain_csv_with_a_wrong_label_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train.csv": "text,label\na,neutral\nb,great\n"})
    with pytest.raises(InputError, match=r"train.csv, row 2: 'great' is no label of 'sst5': expected .*very negative"):
        load("sst5", folder)
    write(tmp_path, {"train.csv": "text,label\na,neutral\n", "test.csv": "sentence,label\na,neutral\n"})
    with pytest.raises(InputError, match=r"test.csv: no column 'text'"):
        load("sst5", folder)


def test_a_source_with_nothing_to_train_on_says_why(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train.tsv": "a\t1,2\tx\n", "test.tsv": "a\t1\tx\n"})
    with pytest.raises(InputError, match=r"no training rows .* are left .*'more than one label': 1"):
        load("goemotions", folder)
