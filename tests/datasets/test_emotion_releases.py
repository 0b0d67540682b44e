"""The emotion data sets as released, made small here with the accidents of the real files."""

from pathlib import Path

import pytest
from releases import named, write

from lane_hf import InputError
from lane_hf.datasets import entry, load, load_with_report
from lane_hf.datasets.rows import hash_share

# ---- GoEmotions ----


def test_goemotions_keeps_rows_with_one_label(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {
            # Quotes are text; a line separator of Unicode (U+2028) ends no line; \r\n does.
            "train.tsv": '"quoted" at the start\t27\teebbqej\r\nHe said "no\t0\ted00q6i\ntwo labels\t2,14\tx1\n'
            "a line\u2028separator\t17\tx2\n\t5\tx3\nno labels\t\tx4\ndamaged\nout of range\t28\tx5\n",
            "dev.tsv": "dev\t1\tx6\n",
            "test.tsv": "test\t2\tx7\n",
            "emotions.txt": "\n".join(entry("goemotions").label_names),
        },
    )
    data, report = load_with_report("goemotions", folder)
    assert named(data["train"]) == [
        ('"quoted" at the start', "neutral"),
        ('He said "no', "admiration"),
        ("a line\u2028separator", "joy"),
    ]
    assert named(data["validation"]) == [("dev", "amusement")]
    assert named(data["test"]) == [("test", "anger")]
    assert report.format == "GoEmotions tsv"
    assert report.rows_read == {"train": 8, "validation": 1, "test": 1}
    assert report.dropped == {
        "train": {
            "more than one label": 1,
            "no text": 1,
            "no label": 1,
            "damaged row": 1,
            "label not in the list of this data set": 1,
        }
    }
    assert report.total_dropped == 5
    assert "dropped from train: 1 (more than one label)" in report.to_text()


def test_goemotions_with_other_labels_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train.tsv": "a\tjoy\tx\n"})
    with pytest.raises(InputError, match=r"train.tsv, line 1: label ids expected .* got 'joy'"):
        load("goemotions", folder)
    write(tmp_path, {"emotions.txt": "anger\ndisgust\n"})
    with pytest.raises(InputError, match="2 names that are not those of the release"):
        load("goemotions", folder)


# ---- Empathetic Dialogues ----


def test_empathetic_dialogues_keeps_first_turns(tmp_path: Path) -> None:
    header = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
    folder = write(
        tmp_path,
        {
            "train.csv": header
            + "hit:0_conv:1,1,sentimental,I remember,1,I saw fireworks_comma_ with a friend.,5|5|5,\n"
            "hit:0_conv:1,2,sentimental,I remember,0,Was this a friend?,5|5|5,\n"
            # A quote that is never closed, more fields than the header, and a Windows line end.
            'hit:1_conv:2,1,afraid,I was,2,"Help_comma_ I said,5|5|5,<TAG>,extra,fields\r\n'
            "hit:2_conv:4,1,afraid\nhit:3_conv:6,one,proud,p,1,text,1,\nhit:4_conv:8,1,bored,p,1,text,1,\n",
            "valid.csv": header + "hit:5_conv:9,1,proud,p,1,I won.,5|5|5,\n",
            "test.csv": header + "hit:6_conv:9,1,joyful,p,1,I won,\n",
        },
    )
    data, report = load_with_report("empathetic-dialogues", folder)
    assert named(data["train"]) == [
        ("I saw fireworks, with a friend.", "sentimental"),
        ('"Help, I said', "afraid"),
    ]
    assert named(data["validation"]) == [("I won.", "proud")]
    assert named(data["test"]) == [("I won", "joyful")]
    assert report.dropped == {
        "train": {"later turn": 1, "damaged row": 2, "label not in the list of this data set": 1}
    }


# ---- ISEAR ----

ISEAR_HEADER = "ID|CITY|EMOT|Field1|Field3|SIT|STATE\n"
ISEAR_ROWS = [
    '11001|1|1|joy|3|"During the time of love, each time that we met and á\nespecially after a long time."|1\n',
    "11002|1|2|fear|3|When I was involved in a traffic accident.|1\n",
    "11003|1|3|anger|3|[ No response.]|1\n",
    "11004|1|4|sadness|3|NO RESPONSE.|1\n",
    "11005|1|5|disgust|3|[ Never experienced.]|1\n",
    '11006|1|6|shame|3|A quote " that is never closed á and a | bar.|1\n',
    '11007|1|7|guilt|3|"He said ""no"" to me."|1\n',
    "11008|1|7|GUILT |3||1\n",
    "11009|1|7|boredom|3|Nothing to do.|1\n",
    "11010|1|7|joy\n",
    "11011|1|1|joy|3|Málaga (in brackets) [at first] was fun.|1\n",
]


def isear(folder: Path, encoding: str = "utf-8", line_end: str = "\n") -> str:
    content = ISEAR_HEADER + "".join(ISEAR_ROWS) + "".join(f"{n}|1|1|joy|3|I was glad {n}|1\n" for n in range(50))
    return write(folder, {"ISEAR.csv": content.replace("\n", line_end)}, encoding)


@pytest.mark.parametrize(("encoding", "line_end"), [("utf-8", "\n"), ("latin-1", "\r\n"), ("utf-8-sig", "\r\n")])
def test_isear_is_mended_and_its_non_answers_are_dropped(tmp_path: Path, encoding: str, line_end: str) -> None:
    data, report = load_with_report("isear", isear(tmp_path, encoding, line_end))
    rows = dict(row for split in data.values() for row in named(split) if "I was glad" not in row[0])
    assert rows == {
        "During the time of love, each time that we met and especially after a long time.": "joy",
        "When I was involved in a traffic accident.": "fear",
        'A quote " that is never closed and a | bar.': "shame",
        'He said "no" to me.': "guilt",
        "Málaga (in brackets) [at first] was fun.": "joy",
    }
    assert report.rows_read == {"all": 61}
    assert report.dropped == {
        "all": {"no answer": 3, "no text": 1, "label not in the list of this data set": 1, "damaged row": 1}
    }
    assert sum(report.rows_kept.values()) == 55
    assert any("not UTF-8" in note for note in report.notes) == (encoding == "latin-1")


def test_isear_is_divided_by_a_hash_of_the_text(tmp_path: Path) -> None:
    data = load("isear", isear(tmp_path))
    shares = {"validation": {0}, "test": {1}, "train": set(range(2, 10))}
    for split, rows in data.items():
        assert {hash_share("isear", text) for text in rows["text"]} <= shares[split]
    # The rule must not change with a version of anything: these two are what it gave when it was written.
    assert [hash_share("isear", text) for text in ("I was glad 1", "I was glad 2")] == [9, 2]


def test_isear_with_two_columns(tmp_path: Path) -> None:
    content = 'joy,"On days, when I feel close",\n guit,"I lied.",\nanger,[ No response.],\n'
    data, report = load_with_report("isear", write(tmp_path, {"isear.csv": content + "joy,I am glad.\n" * 3}))
    assert {("On days, when I feel close", "joy"), ("I lied.", "guilt")} <= {
        row for split in data.values() for row in named(split)
    }
    assert report.format == "ISEAR, two columns"
    assert report.dropped == {"all": {"no answer": 1}}


def test_isear_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'sit'"):
        load("isear", write(tmp_path, {"isear.csv": "ID|Field1\n1|joy\n"}))


# ---- CancerEmo ----


def test_canceremo_joins_its_eight_files(tmp_path: Path) -> None:
    files = {
        f"{name.capitalize()}.csv": f"Sentence,{name.capitalize()},Split\n" for name in entry("canceremo").label_names
    }
    files["Joy.csv"] += '"Good news, at last!",1,0\nWe hoped.,1,0\nI cried.,0,0\nIt rained.,0,0\n'
    files["Sadness.csv"] += "I cried.,1,1\nWe hoped.,1,2\nGoodbye.,1,2\nGoodbye.,1,2\n"
    files["Trust.csv"] += "My nurse is great.,1.0,0.0\n"
    data, report = load_with_report("canceremo", write(tmp_path, files_with_rows(files)))
    assert named(data["train"])[:2] == [("Good news, at last!", "joy"), ("My nurse is great.", "trust")]
    assert named(data["validation"]) == [("I cried.", "sadness")]
    assert named(data["test"]) == [("Goodbye.", "sadness")]
    assert report.dropped["train"]["no label"] == 2  # the filler and "It rained."
    assert report.dropped["test"] == {"more than one label": 1}


def files_with_rows(files: dict[str, str]) -> dict[str, str]:
    return {name: content + "Filler.,0,0\n" for name, content in files.items()}


def test_canceremo_needs_all_its_files(tmp_path: Path) -> None:
    folder = write(tmp_path, {"Anger.csv": "Sentence,Anger,Split\nOh no.,1,0\n"})
    with pytest.raises(InputError, match=r"the file Anticipation.csv of the data set 'canceremo'"):
        load("canceremo", folder)
    write(tmp_path, {"Anger.csv": "Sentence,Anger,Split\nOh no.,2,0\n"})
    with pytest.raises(InputError, match=r"Anger\.csv, row 1: expected 0 or 1"):
        load("canceremo", folder)
    write(tmp_path, {"Anger.csv": "Sentence,Label,Split\nOh no.,1,0\n"})
    with pytest.raises(InputError, match="no column 'anger'"):
        load("canceremo", folder)


# ---- What all of them share ----


def test_bytes_that_mean_nothing_in_windows_1252_are_read_as_latin_1(tmp_path: Path) -> None:
    rows = "".join(f"joy,caf\xe9 \x81 {number}\n" for number in range(30))
    data, report = load_with_report("isear", write(tmp_path, {"isear.csv": rows}, "latin-1"))
    assert all(text.startswith("caf\xe9 \x81 ") for text in data["train"]["text"])
    assert "not UTF-8" in report.notes[0]


def test_other_releases_must_be_utf_8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.tsv: not UTF-8"):
        load("goemotions", write(tmp_path, {"train.tsv": "caf\xe9\t1\tx\n"}, "latin-1"))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("empathetic-dialogues", {"train.csv": "".join(f"c{n},1,proud,p,1,text {n},\n" for n in range(40))}),
        ("goemotions", {"train.tsv": "".join(f"text {n}\t3\tx\n" for n in range(40))}),
        ("sst5", {"train.txt": "".join(f"(1 (2 text) (2 {n}))\n" for n in range(40))}),
    ],
)
def test_missing_splits_are_made_or_left_out(tmp_path: Path, name: str, files: dict[str, str]) -> None:
    data, report = load_with_report(name, write(tmp_path, files))
    assert set(data) == {"train", "validation"}
    assert sum(report.rows_kept.values()) == 40
    assert {hash_share(name, text) for text in data["validation"]["text"]} == {0}
    # Loading again gives the same rows in the same order.
    assert load(name, str(tmp_path))["validation"]["text"][:] == data["validation"]["text"][:]


def test_the_files_of_another_data_set_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train.csv": '"1","title","body"\n' * 3})
    with pytest.raises(InputError, match=r"no training rows of the data set 'empathetic-dialogues'.*'damaged row': 3"):
        load("empathetic-dialogues", folder)
    with pytest.raises(InputError, match="columns Title, Abstract and Category expected"):
        load("scihtc", folder)
