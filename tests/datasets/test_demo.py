"""The shipped demo data, its loader, and the script that builds it."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from datasets import ClassLabel, DatasetDict, Value

from lane_hf.datasets import build_demo, demo
from lane_hf.datasets.build_demo import CorpusFormatError, Sense
from lane_hf.datasets.demo import DEMO_LABELS, DEMO_SIZES, load_demo, read_demo_license
from lane_hf.rebuild import DEFAULT_WORDNET

REPOSITORY = Path(__file__).parents[2]
DATA = files("lane_hf.datasets") / "data"
WORDNET_NOUNS = DEFAULT_WORDNET / build_demo.NOUN_FILE
needs_wordnet = pytest.mark.skipif(
    not WORDNET_NOUNS.is_file(), reason=f"{WORDNET_NOUNS} is missing: install the Debian package wordnet-base"
)

LICENSE_LINES = "  1 This software and database  \n  2   \n  3 Princeton University.  \n"
HEAD = "04 n 02 foray 0 raid 0 002 @ 00975452 n 0000 + 02020255 v 0301"


@pytest.fixture(scope="module")
def shipped() -> DatasetDict:
    return load_demo()


@pytest.fixture(scope="module")
def shipped_rows() -> list[list[str]]:
    content = (DATA / demo.DATA_FILE).read_bytes().decode("utf-8")
    return [line.split("\t") for line in content.removesuffix("\n").split("\n")[1:]]


def normalised(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


# The shipped data


def test_splits_have_the_documented_sizes(shipped: DatasetDict) -> None:
    assert {split: len(rows) for split, rows in shipped.items()} == DEMO_SIZES
    assert list(shipped) == ["train", "validation", "test"]
    assert sum(DEMO_SIZES.values()) == pytest.approx(11_000, rel=0.02)


def test_features_are_text_and_sorted_class_labels(shipped: DatasetDict) -> None:
    for rows in shipped.values():
        assert rows.features == {"text": Value("string"), "label": ClassLabel(names=sorted(DEMO_LABELS))}
    assert len(DEMO_LABELS) == len(set(DEMO_LABELS)) == 25
    assert list(DEMO_LABELS) == sorted(DEMO_LABELS)
    assert set(DEMO_LABELS) == set(build_demo.SUPERSENSES.values())


def test_every_split_has_every_label(shipped: DatasetDict) -> None:
    for rows in shipped.values():
        assert set(rows["label"]) == set(range(len(DEMO_LABELS)))


def test_labels_are_stratified(shipped: DatasetDict) -> None:
    counts = {split: Counter(rows["label"]) for split, rows in shipped.items()}
    for label in range(len(DEMO_LABELS)):
        total = sum(counts[split][label] for split in counts)
        assert total <= build_demo.MAX_PER_LABEL
        assert abs(counts["validation"][label] - total / 11) <= 0.5
        assert abs(counts["test"][label] - total * 2 / 11) <= 0.5


def test_no_text_occurs_twice(shipped: DatasetDict) -> None:
    texts = Counter(normalised(text) for rows in shipped.values() for text in rows["text"])
    assert [text for text, count in texts.items() if count > 1] == []


def test_texts_are_clean(shipped: DatasetDict) -> None:
    for rows in shipped.values():
        for text in rows["text"]:
            assert text == " ".join(text.split())
            assert len(text.split()) >= build_demo.MIN_WORDS
            assert text.count('"') % 2 == 0
            assert not re.search(r"(^|[;:,]) ?\"", text), f"an example sentence is left: {text}"
            assert text[-1] not in ";:,"


def test_rows_are_shuffled(shipped: DatasetDict) -> None:
    for rows in shipped.values():
        assert len(set(rows["label"][:100])) >= 20


def test_synsets_belong_to_one_row(shipped_rows: list[list[str]]) -> None:
    synsets = [row[2] for row in shipped_rows]
    assert len(set(synsets)) == len(synsets)
    assert all(re.fullmatch(r"\d{8}", synset) for synset in synsets)


@pytest.mark.parametrize(
    ("text", "label"),
    [("a gland that secretes externally through a duct", "body"), ("a moving crowd", "group")],
)
def test_known_texts_have_their_supersense(shipped_rows: list[list[str]], text: str, label: str) -> None:
    assert [row[1] for row in shipped_rows if row[3] == text] == [label]


def test_data_file_is_small_plain_text() -> None:
    content = (DATA / demo.DATA_FILE).read_bytes()
    assert len(content) < 1_500_000
    assert content.startswith(b"split\tlabel\tsynset\ttext\n")
    assert content.endswith(b"\n")
    assert b"\r" not in content


def test_licence_is_shipped() -> None:
    text = read_demo_license()
    assert text.startswith("This software and database is being provided to you, the LICENSEE")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in text
    assert text.endswith("Princeton University and LICENSEE agrees to preserve same.\n")


def test_datasets_carry_licence_and_citation(shipped: DatasetDict) -> None:
    for rows in shipped.values():
        assert rows.info.license == demo.DEMO_LICENSE
        assert rows.info.citation == demo.DEMO_CITATION
    for author in ("Fellbaum", "Miller", "Ciaramita"):
        assert author in demo.DEMO_CITATION


# The loader


def test_loading_leaves_no_files(tmp_path: Path) -> None:
    folders = {"HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path / "datasets"), "HOME": str(tmp_path)}
    script = "from lane_hf.datasets.demo import load_demo; print(load_demo()['train'].cache_files)"
    # From the repository, so that the package is found whether it is installed or not.
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_loading_twice_gives_the_same(shipped: DatasetDict) -> None:
    again = load_demo()
    assert all(again[split].to_dict() == shipped[split].to_dict() for split in shipped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("split\tlabel\ttext\n", "expected the columns"),
        ("split\tlabel\tsynset\ttext\ntrain\tact\t00000001\n", "line 2"),
        ("split\tlabel\tsynset\ttext\ntrain\tnonsense\t00000001\ta text\n", "line 2"),
        ("split\tlabel\tsynset\ttext\nextra\tact\t00000001\ta text\n", "line 2"),
    ],
)
def test_damaged_data_is_refused(monkeypatch: pytest.MonkeyPatch, content: str, message: str) -> None:
    monkeypatch.setattr(demo, "_read_text", lambda _name: content)
    with pytest.raises(ValueError, match=message):
        load_demo()


# Parsing


@pytest.mark.parametrize(
    ("gloss", "definition"),
    [
        ("a sudden short attack  ", "a sudden short attack"),
        ('an attack; "the strike was at dawn"  ', "an attack"),
        ('tangible; casting a shadow; "full of rackets; balls"', "tangible; casting a shadow"),
        ('first; "an example"; second; "another; one"; third', "first; second; third"),
        ('"an example"; the definition', "the definition"),
        ('an area of power: "the range of a jet"; "the reach of the law"', "an area of power"),
        ('easy earnings, "they make a fast buck"', "easy earnings"),
        ('a rock; "upon this rock"--Gospel According to Matthew', "a rock"),
        ('a duty; "every right; every opportunity"- J. D. Rockefeller; an obligation', "a duty; an obligation"),
        ('not wearing a jacket; "in your shirtsleeves" means without', "not wearing a jacket"),
        (
            'progress (in the phrase "make strides"); "they made big strides"',
            'progress (in the phrase "make strides")',
        ),
        ('direct speech (e.g., "he said `I am a fool\'")', 'direct speech (e.g., "he said `I am a fool\'")'),
        ('a promise as in "carrot and stick"; "the carrot; the stick";', 'a promise as in "carrot and stick"'),
        ("(biology)  the unit;   of life ;", "(biology) the unit; of life"),
        ("a thing of A's or `B' or ``C''", "a thing of A's or `B' or ``C''"),
        ('"only an example"', ""),
        ("", ""),
    ],
)
def test_definition_is_split_from_examples(gloss: str, definition: str) -> None:
    assert build_demo.extract_definition(gloss) == definition


@pytest.mark.parametrize("gloss", ['a local branch"', 'bondage; "he was in fear:; "he sought release"; "a self"'])
def test_unbalanced_quotes_give_no_definition(gloss: str) -> None:
    assert build_demo.extract_definition(gloss) is None
    assert build_demo.parse_noun_line(f"00976953 {HEAD} | {gloss}") is None


def test_synset_line_is_parsed() -> None:
    line = f'00976953 {HEAD} | a sudden attack; a raid; "a raid; at dawn"  \n'
    assert build_demo.parse_noun_line(line) == Sense("act", "00976953", "a sudden attack; a raid")


def test_gloss_may_hold_the_separator() -> None:
    sense = build_demo.parse_noun_line(f"00976953 {HEAD} | the sign | used in logic")
    assert sense == Sense("act", "00976953", "the sign | used in logic")


def test_roots_of_the_hierarchy_are_left_out() -> None:
    assert build_demo.parse_noun_line("00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is known") is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "  1 This software and database",
        "00976953 04 n 01 foray 0 000",
        "00976953 30 v 01 raid 0 000 | to attack",
        "00976953 29 n 01 raid 0 000 | a lexicographer file of verbs",
    ],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(CorpusFormatError):
        build_demo.parse_noun_line(line)


def test_licence_is_cut_from_the_header() -> None:
    lines = [*LICENSE_LINES.splitlines(), f"00976953 {HEAD} | a raid", "  9 not the header"]
    assert build_demo.extract_license(lines) == "This software and database\n\nPrinceton University.\n"


def test_file_without_licence_is_refused() -> None:
    with pytest.raises(CorpusFormatError, match="licence"):
        build_demo.extract_license([f"00976953 {HEAD} | a raid"])


# Selection and splits


def test_duplicates_conflicts_and_short_texts_are_dropped() -> None:
    kept = Sense("act", "00000001", "a quick, short throw")
    senses = [
        kept,
        kept._replace(synset="00000002", text="A quick short throw"),
        Sense("act", "00000003", "a text of two"),
        Sense("event", "00000004", "A text (of two)"),
        Sense("act", "00000005", "too short"),
        Sense("act", "00000006", "- - short text -"),
    ]
    assert build_demo.select_senses(senses) == [kept]


def make_senses(label: str, count: int) -> list[Sense]:
    return [Sense(label, f"{number:08}", f"{label} number {number}") for number in range(count)]


def test_rows_are_capped_and_stratified() -> None:
    rows = build_demo.build_rows(make_senses("act", 60) + make_senses("motive", 11), max_per_label=44)
    assert Counter((row[0], row[1]) for row in rows) == {
        ("train", "act"): 32,
        ("validation", "act"): 4,
        ("test", "act"): 8,
        ("train", "motive"): 8,
        ("validation", "motive"): 1,
        ("test", "motive"): 2,
    }
    assert len({row[3] for row in rows}) == len(rows)


def test_rows_do_not_depend_on_the_order_of_the_senses() -> None:
    senses = make_senses("act", 60) + make_senses("motive", 11)
    rows = build_demo.build_rows(senses)
    assert build_demo.build_rows(senses[::-1]) == rows
    assert build_demo.build_rows(senses, seed=1) != rows


def test_every_sense_below_the_cap_is_used_once() -> None:
    senses = make_senses("act", 23)
    assert sorted(row[2] for row in build_demo.build_rows(senses)) == [sense.synset for sense in senses]


# The command line


@pytest.fixture
def small_wordnet(tmp_path: Path) -> Path:
    lines = [f"{number:08} {HEAD} | a raid number {number}  \n" for number in range(22)]
    folder = tmp_path / "wordnet"
    folder.mkdir()
    (folder / "data.noun").write_bytes((LICENSE_LINES + "".join(lines)).encode())
    return folder


def test_output_is_written_with_plain_line_breaks(small_wordnet: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder"
    assert build_demo.main(["--wordnet", str(small_wordnet), "--output", str(output)]) == 0
    table = (output / demo.DATA_FILE).read_bytes().split(b"\n")
    assert table[0] == b"split\tlabel\tsynset\ttext"
    assert Counter(line.split(b"\t")[0] for line in table[1:-1]) == {b"train": 16, b"validation": 2, b"test": 4}
    assert (output / demo.LICENSE_FILE).read_bytes() == b"This software and database\n\nPrinceton University.\n"


def test_check_reports_a_difference(small_wordnet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_demo.main(["--wordnet", str(small_wordnet), "--check"]) == 1
    message = capsys.readouterr().err
    assert re.search(rf"DIFFERENT: .*{demo.DATA_FILE} differs from the rebuild, first in line 2", message)
    assert "is not the one that the shipped files were built from" in message


def test_check_reports_missing_files(
    small_wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_demo, "__file__", str(tmp_path / "build_demo.py"))
    assert build_demo.main(["--wordnet", str(small_wordnet), "--check"]) == 1
    assert "MISSING" in capsys.readouterr().err


def test_missing_wordnet_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_demo.main(["--wordnet", str(tmp_path), "--check"]) == 2
    assert "wordnet-base" in capsys.readouterr().err


def test_foreign_file_is_explained(small_wordnet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small_wordnet / "data.noun").write_bytes(b"not WordNet\n")
    assert build_demo.main(["--wordnet", str(small_wordnet), "--check"]) == 2
    assert "licence" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--check", "--output", "x"]])
def test_one_action_is_needed(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        build_demo.main(arguments)


@needs_wordnet
def test_rebuild_equals_the_shipped_files() -> None:
    assert hashlib.sha256(WORDNET_NOUNS.read_bytes()).hexdigest() == build_demo.SOURCE_SHA256
    done = subprocess.run(
        [sys.executable, "-B", "-m", "lane_hf.datasets.build_demo", "--check"],
        cwd=REPOSITORY,
        # Another hash seed than that of this process: no result may hang on the order of a set.
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OK")
