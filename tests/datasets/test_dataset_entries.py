"""The registry's entries: complete, consistent, and cheap to import."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lane_hf import InputError
from lane_hf.datasets import DatasetEntry, entry, load, load_with_report, names
from lane_hf.datasets.demo import DEMO_LABELS
from lane_hf.datasets.entry import METRICS
from lane_hf.datasets.summary import describe
from lane_hf.label_space import distances_for, plutchik_distances

PAPER = {
    "ag-news": 4,
    "amazon": 5,
    "canceremo": 8,
    "empathetic-dialogues": 32,
    "goemotions": 28,
    "isear": 7,
    "rcv1": 103,
    "scihtc": 84,
    "sst5": 5,
    "yahoo": 10,
    "yelp": 5,
}
OTHERS = {"demo": len(DEMO_LABELS), "trec": 6}
ENTRIES = [entry(name) for name in names()]
GEOMETRIES = {"amazon": "ordinal", "yelp": "ordinal", "sst5": "ordinal", "rcv1": "hierarchy", "scihtc": "hierarchy"}
EMOTIONS = ["canceremo", "empathetic-dialogues", "goemotions", "isear"]


def test_the_papers_data_sets_the_demo_and_trec_are_there() -> None:
    assert {name: len(entry(name).label_names) for name in names()} == PAPER | OTHERS
    assert entry("demo").label_names == DEMO_LABELS


@pytest.mark.parametrize("item", ENTRIES, ids=lambda item: item.name)
def test_an_entry_is_complete(item: DatasetEntry) -> None:
    assert len(set(item.label_names)) == len(item.label_names)
    assert len({name.casefold() for name in item.label_names}) == len(item.label_names)
    assert item.metric in METRICS
    assert item.description.endswith(".")
    assert item.licence
    assert item.files
    assert item.text_fields
    assert item.citation.startswith("@")
    assert item.citation.count("{") == item.citation.count("}")
    assert set(item.split_sizes) <= {"all", "train", "validation", "test"}
    assert item.access.partition(":")[0] in {"package", "hub", "files", "request"}
    assert (item.access == "hub") == (item.hub_id is not None)
    # A revision is a full commit or none at all: a short one would be looked up as a branch.
    assert item.revision is None or (len(item.revision) == 40 and int(item.revision, 16))
    assert len(item.language) == 2
    assert item.name in describe(item)


@pytest.mark.parametrize("item", ENTRIES, ids=lambda item: item.name)
def test_the_geometry_suits_the_labels(item: DatasetEntry) -> None:
    expected = "plutchik" if item.name in EMOTIONS else GEOMETRIES.get(item.name, "none")
    assert item.geometry == expected
    if item.geometry == "plutchik":
        assert plutchik_distances(item.label_names).shape == (len(item.label_names),) * 2
    elif item.noise_geometry != "none":
        assert distances_for(item.noise_geometry, item.label_names)[0, -1] == len(item.label_names) - 1
    else:
        with pytest.raises(InputError, match="no known geometry"):
            distances_for(item.noise_geometry, item.label_names)


def test_label_orders_are_those_of_the_releases() -> None:
    assert entry("isear").label_names == ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
    assert entry("ag-news").label_names == ("World", "Sports", "Business", "Sci/Tech")
    assert entry("sst5").label_names[::4] == ("very negative", "very positive")
    goemotions = entry("goemotions").label_names
    assert goemotions[:27] == tuple(sorted(goemotions[:27]))
    assert goemotions[27] == "neutral"
    assert entry("yahoo").label_names[4] == "Computers & Internet"


@pytest.mark.parametrize("name", ["canceremo", "isear", "rcv1", "scihtc"])
def test_what_must_be_requested_says_from_whom(name: str) -> None:
    whom = entry(name).access.removeprefix("request: ").split(" (")[0]
    with pytest.raises(InputError, match=r"must be requested from .*data_dir") as caught:
        load(name)
    assert whom in str(caught.value)
    assert entry(name).files in str(caught.value)


@pytest.mark.parametrize("name", ["amazon", "empathetic-dialogues"])
def test_what_must_be_downloaded_says_where_it_is(name: str) -> None:
    with pytest.raises(InputError, match=r"must be downloaded from https://.*data_dir"):
        load(name)


@pytest.mark.parametrize("name", PAPER)
def test_a_folder_without_the_files_names_what_is_expected(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected: ") as caught:
        load(name, str(tmp_path))
    assert entry(name).files in str(caught.value)
    assert "columns text and label" in str(caught.value)
    with pytest.raises(InputError, match="no such folder") as caught:
        load(name, str(tmp_path / "nowhere"))
    assert "\n" not in str(caught.value)


def test_unknown_names_have_no_entry() -> None:
    with pytest.raises(InputError, match=r"'demoo' has no entry here: the names are ag-news, .*demo"):
        entry("demoo")


def test_the_demo_has_a_report() -> None:
    data, report = load_with_report("demo")
    assert report.rows_kept == {split: len(rows) for split, rows in data.items()}
    assert report.total_dropped == 0
    assert "the package" in report.to_text()


def test_names_and_entries_need_no_heavy_import() -> None:
    code = (
        "import sys, lane_hf.datasets as d; d.names(); d.entry('yelp'); "
        "print([name for name in ('torch', 'datasets', 'pandas', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", PAPER)
def test_every_data_set_has_a_reader(name: str) -> None:
    reader = import_module(f"lane_hf.datasets.{entry(name).reader}")
    assert callable(reader.read)
    assert isinstance(reader.FORMAT, str)
