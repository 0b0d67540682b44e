"""The topic and sentiment data sets as released, made small here with the accidents of the real files."""

import json
from pathlib import Path

import pytest
from releases import named, write

from lane_hf import InputError
from lane_hf.datasets import entry, load, load_with_report
from lane_hf.datasets.rcv1 import most_specific
from lane_hf.datasets.rows import hash_share
from lane_hf.datasets.scihtc import second_level

# ---- SST ----


def test_sst_trees(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {
            "train.txt": "(3 (2 It) (4 (2 's) (4 (3 (2 a) (4 (3 lovely) (2 film))) (2 .))))\n\n"
            "(0 (1 (2 -LRB-) (1 bad)) (2 (2 -RRB-) (2 1\\/2)))\n",
            "dev.txt": "(2 (2 So) (2 -))\n",
            "test.txt": "(4 (2 D\u00e9j\u00e0) (2 vu))\n",
        },
    )
    data, report = load_with_report("sst5", folder)
    assert named(data["train"]) == [("It 's a lovely film .", "positive"), ("( bad ) 1/2", "very negative")]
    assert named(data["validation"]) == [("So -", "neutral")]
    assert named(data["test"]) == [("D\u00e9j\u00e0 vu", "very positive")]
    assert (report.format, report.total_dropped) == ("SST trees", 0)


def test_sst_lines_for_fasttext(tmp_path: Path) -> None:
    files = {
        f"sst_{split}.txt": f"__label__{n} A {split} line .\n" for n, split in enumerate(("train", "dev", "test"), 3)
    }
    data, report = load_with_report("sst5", write(tmp_path, files))
    assert [named(data[split])[0][1] for split in data] == ["neutral", "positive", "very positive"]
    assert report.format == "SST lines for fastText"
    with pytest.raises(InputError, match="line 1: neither a tree"):
        load("sst5", write(tmp_path, {"sst_dev.txt": "just a line\n"}))


# ---- TREC ----


def test_trec_label_files(tmp_path: Path) -> None:
    train = "NUM:dist How far is it to Denver ?\n\nENTY:animal What is a caf\u00e9 au lait cow ?\n"
    (tmp_path / "train_5500.label").write_bytes(train.encode("latin-1"))
    (tmp_path / "TREC_10.label").write_text("ABBR:exp What does AI stand for ?\n", encoding="utf-8")
    data, report = load_with_report("trec", str(tmp_path))
    assert sorted(named(data["train"]) + named(data["validation"])) == [
        ("How far is it to Denver ?", "numeric"),
        ("What is a caf\u00e9 au lait cow ?", "entity"),
    ]
    assert named(data["test"]) == [("What does AI stand for ?", "abbreviation")]
    assert (report.format, report.total_dropped) == ("TREC label files", 0)


def test_trec_lines_without_a_type_are_refused(tmp_path: Path) -> None:
    files = {"train_5500.label": "LOC:city What is the capital ?\nWhat is this ?\n"}
    with pytest.raises(InputError, match="line 2: 'What' is no type of question: ABBR, ENTY"):
        load("trec", write(tmp_path, files))


# ---- Zhang et al. ----


def test_zhang_csv_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    train = [
        r'"3","great, ""really""","It works.\nBut \""slowly\""."',
        '"1","","no title\nand a real line break"',
        '"5","title only",""',
        '"2","",""',
    ]
    many = [f'"4","t{n}","b"' for n in range(50)]
    folder = write(tmp_path, {"train.csv": "\n".join(train + many) + "\n", "test.csv": '"5","t","b"\r\n'})
    data, report = load_with_report("amazon", folder)
    rows = dict(named(data["train"]) + named(data["validation"]))
    assert rows['great, "really"\nIt works.\nBut "slowly".'] == "3 stars"
    assert rows["no title\nand a real line break"] == "1 star"
    assert rows["title only"] == "5 stars"
    assert named(data["test"]) == [("t\nb", "5 stars")]
    assert report.dropped == {"train": {"no text": 1}}
    assert report.rows_read == {"train": 54, "test": 1}
    assert {hash_share("amazon", text) for text in data["validation"]["text"]} == {0}


def test_zhang_csv_of_each_data_set(tmp_path: Path) -> None:
    fillers = {
        name: "".join(f'"1",{",".join([f"f{n}"] * parts)}\n' for n in range(20)) for name, parts in PARTS.items()
    }
    rows = {
        "yelp": '"2","Rude\\n\\nstaff"\n',
        "yahoo": '"5","why?","","because"\n',
        # A backslash is a line break here: the n belongs to the word.
        "ag-news": '"4","Title","about a\\nation #39;s plan"\n',
    }
    texts = {"yelp": "Rude\n\nstaff", "yahoo": "why?\nbecause", "ag-news": "Title about a nation #39;s plan"}
    labels = {"yelp": "2 stars", "yahoo": "Computers & Internet", "ag-news": "Sci/Tech"}
    for name, row in rows.items():
        files = {"train.csv": fillers[name], "test.csv": row, "classes.txt": "\n".join(entry(name).label_names)}
        data = load(name, write(tmp_path / name, files))
        assert named(data["test"]) == [(texts[name], labels[name])]


PARTS = {"yelp": 1, "yahoo": 3, "ag-news": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"1","a"\n', "line 1: 2 fields, expected 3: class index, title, description"),
        ('"0","a","b"\n', "line 1: '0' is no class index from 1 to 4"),
        ('"World","a","b"\n', "'World' is no class index"),
        ('"1","a","never closed\n', "wrong quotes"),
        ('"1","a","caf\xe9"\n', "not UTF-8"),
    ],
)
def test_a_damaged_csv_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("ag-news", write(tmp_path, {"train.csv": content}, "latin-1"))


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 classes that are not those of 'ag-news'"):
        load("ag-news", write(tmp_path, {"train.csv": '"1","a","b"\n', "classes.txt": "Sports\nWorld\n"}))


# ---- RCV1 ----


def news_item(number: int, topics: list[str], body: str = "<p>First   one.</p>\n<p>Second.</p>") -> str:
    codes = "".join(f'<code code="{topic}"><editdetail attribution="x"/></code>' for topic in topics)
    return (
        f'<?xml version="1.0" encoding="iso-8859-1" ?>\n<newsitem itemid="{number}" date="1996-08-20" xml:lang="en">\n'
        f"<title>T</title>\n<headline>A caf\xe9 opens.</headline>\n<text>\n{body}\n</text>\n<metadata>\n"
        f'<codes class="bip:countries:1.0"><code code="USA"/></codes>\n<codes class="bip:topics:1.0">{codes}</codes>\n'
        "</metadata>\n</newsitem>\n"
    )


def test_rcv1_news_items(tmp_path: Path) -> None:
    files = {
        "19960820/2286newsML.xml": news_item(2286, ["C15", "C151", "CCAT"]),
        "19960820/2287newsML.xml": news_item(2287, ["GSPO", "GCAT", "CCAT"]),
        "19960820/2288newsML.xml": news_item(2288, []),
        "19960821/26151newsML.xml": news_item(26151, ["GCAT"], "<p>&quot;Yes&quot;</p>"),
        "19960821/26152newsML.xml": news_item(26152, ["XYZ"]),
    }
    files |= {f"19960820/{n}newsML.xml": news_item(n, ["MCAT"], f"<p>{n}</p>") for n in range(2300, 2320)}
    data, report = load_with_report("rcv1", write(tmp_path, files, "latin-1"))
    assert ("A caf\xe9 opens.\nFirst one.\nSecond.", "C151") in named(data["train"]) + named(data["validation"])
    assert named(data["test"]) == [('A caf\xe9 opens.\n"Yes"', "GCAT")]
    assert report.rows_read == {"train": 23, "test": 2}
    assert report.dropped == {
        "train": {"more than one label": 1, "no label": 1},
        "test": {"label not in the list of this data set": 1},
    }
    with pytest.raises(InputError, match="not a news item of RCV1"):
        load("rcv1", write(tmp_path, {"19960822/1newsML.xml": "<newsitem>"}))


def test_rcv1_tables(tmp_path: Path) -> None:
    lines = [
        {"headline": "H", "text": "B", "topics": ["CCAT", "C15", "C152"]},
        {"headline": None, "text": "two", "topics": ["GSPO", "M11"]},
        {"headline": "half", "text": "\ud83d", "topics": ["M11"]},
    ]
    folder = write(
        tmp_path,
        {
            "train.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
            "dev.tsv": "text\ttopics\nmarkets\tM11 MCAT\n",
            "test.csv": 'title,body,labels\nT,B,"M141;MCAT;M14"\n',
        },
    )
    data, report = load_with_report("rcv1", folder)
    assert {split: named(rows) for split, rows in data.items()} == {
        "train": [("H\nB", "C152")],
        "validation": [("markets", "M11")],
        "test": [("T\nB", "M141")],
    }
    assert report.dropped == {"train": {"more than one label": 1, "half a character in the text": 1}}
    with pytest.raises(InputError, match="columns text and topics expected, got story, topics"):
        load("rcv1", write(tmp_path, {"dev.tsv": "story\ttopics\na\tM11\n"}))


def test_every_topic_of_rcv1_has_a_known_parent() -> None:
    topics = entry("rcv1").label_names
    assert most_specific(topics) == [t for t in topics if t in most_specific([t, *topics])]
    tops = {topic for topic in topics if topic.endswith("CAT")}
    assert tops == {"CCAT", "ECAT", "GCAT", "MCAT"}
    assert most_specific(["CCAT", "C15", "C151", "C1511"]) == ["C1511"]
    assert most_specific(["C15", "C15"]) == ["C15"]
    assert most_specific(["C11", "C12"]) == ["C11", "C12"]


# ---- SciHTC ----

PATH = "CCS->Networks->Network protocols->Link-layer protocols"


def test_scihtc_tables(tmp_path: Path) -> None:
    papers = [
        {"id": 1, "Title": "On links", "Subtitle": None, "Abstract": "We link.", "Category": PATH},
        {"id": 2, "Title": "Why?", "Subtitle": "A note", "Abstract": "So.", "Category": [PATH, PATH]},
        {"id": 3, "Title": "Both", "Abstract": "a", "Category": [PATH, "CCS->Hardware->Robustness"]},
        {"id": 4, "Title": "Top", "Abstract": "a", "Category": "CCS->Hardware"},
        {"id": 5, "Title": "Other", "Abstract": "a", "Category": "CCS->Hardware->Cables"},
    ]
    csv = ",id,Category,Title,Subtitle,Abstract,Keywords\n"
    folder = write(
        tmp_path,
        {
            "train.json": json.dumps(papers),
            "dev.csv": csv + '0,6,Security and privacy->Cryptography,"Keys, lost",,nan,k\n',
            "test.csv": csv + "0,7,\"['CCS->Computing methodologies->Machine learning']\",Nets,,Deep.,\n",
        },
    )
    data, report = load_with_report("scihtc", folder)
    assert {split: named(rows) for split, rows in data.items()} == {
        "train": [("On links. We link.", "Network protocols"), ("Why? A note. So.", "Network protocols")],
        "validation": [("Keys, lost", "Cryptography")],
        "test": [("Nets. Deep.", "Machine learning")],
    }
    assert report.dropped == {
        "train": {"more than one label": 1, "no label": 1, "label not in the list of this data set": 1}
    }
    assert second_level("CCS->Networks") is None


def test_scihtc_texts_and_categories_apart(tmp_path: Path) -> None:
    files = {}
    for split, number in {"train": 1, "dev": 2, "test": 3}.items():
        files[f"{split}_title_abstract_keywords.csv"] = (
            f"id,Title,Abstract,Keywords\n{number},Title,{split},k\n9,x,y,z\n"
        )
        files[f"{split}_ids_83_categories.csv"] = f"id,Category\n{number},{PATH}\n"
    data, report = load_with_report("scihtc", write(tmp_path, files))
    assert [named(data[split]) for split in data] == [
        [(f"Title. {split}", "Network protocols")] for split in ("train", "dev", "test")
    ]
    assert report.format == "SciHTC, texts and categories apart"
    (tmp_path / "dev_ids_83_categories.csv").unlink()
    with pytest.raises(InputError, match=r"the categories for dev_title_abstract_keywords\.csv"):
        load("scihtc", str(tmp_path))


def test_scihtc_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columns Title, Abstract and Category expected"):
        load("scihtc", write(tmp_path, {"train.csv": "id,Title\n1,a\n"}))
