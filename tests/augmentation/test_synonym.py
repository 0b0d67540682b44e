"""Synonyms: what is replaced, what never is, on what the result depends, and the script that builds the table."""

import re
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.augmentation import build_synonyms
from lane_hf.augmentation.build_synonyms import STOP_WORDS, regular_form
from lane_hf.augmentation.collator import view_seed
from lane_hf.augmentation.synonym import LICENSE_FILE, TABLE_FILE, SynonymReplacement, _load_table
from lane_hf.datasets.build_demo import CorpusFormatError
from lane_hf.errors import InputError
from lane_hf.rebuild import DEFAULT_WORDNET

DATA = files("lane_hf.augmentation") / "data"
SYNONYMS, NAMES = _load_table()
needs_wordnet = pytest.mark.skipif(
    not all((DEFAULT_WORDNET / name).is_file() for name in build_synonyms.SOURCES),
    reason="install the Debian package wordnet-base",
)
ALL = SynonymReplacement(rate=1.0)
WORDS = "bought Bought BOUGHT car, (movie) the Bill a an automobile car2 @car #car http://car.com/car [NAME] quickly."
PIECES = st.sampled_from([*WORDS.split(), '"children"', "...", "машина", "车", "iCar", "don't", "x"])
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from([" ", "  ", "\t", "\n", " \u00a0"]))).map(
    lambda pairs: "".join(piece + gap for piece, gap in pairs)
)


# What is replaced


def test_case_inflection_punctuation_and_spacing_are_kept() -> None:
    text = '\tBought  "quickly", she said.\n Movies; MOVIES!  (movie)'
    assert SYNONYMS["bought"] == ("purchased",)
    assert SYNONYMS["movie"] == ("film",)
    pattern = r'\tPurchased  "(rapidly|speedily)", she said\.\n Movies; FILMS!  \(film\)'
    assert re.fullmatch(pattern, ALL(text))


UNTOUCHABLE = """
the
He was not on it.
42 4cars car4
@car #car $car /car car/
http://car.com/car
car@car.com www.car.com car.com
[CAR] [car] <car> {car} _car_ &car;
a caR cAr
car's well-bought
Она купила машину.
她买了一辆新车。
El perro compró una casa grande ayer.
café naïve
We saw Car Movie Doctor.
Bill Mark Rose
"""


@pytest.mark.parametrize("text", ["", " ", "\n\n", "I", "\ud800 \x00", *UNTOUCHABLE.strip().split("\n")])
def test_what_is_no_ordinary_english_word_stays(text: str) -> None:
    assert ALL(text) == text
    assert ALL.batch([text]) == [text]


def test_a_single_word_is_replaced() -> None:
    assert ALL("bought") == "purchased"


def test_capitalised_words_are_replaced_only_where_any_word_is_capitalised() -> None:
    assert ALL("Bought it. Bought it! \nBought it") == "Purchased it. Purchased it! \nPurchased it"
    assert ALL("it, Bought") == "it, Bought"
    assert ALL("Bought Cheap") == "Bought Cheap"
    assert ALL("Bought I think") != "Bought I think"


def test_names_are_not_replaced_when_capitalised() -> None:
    name = next(word for word in ("big", "grant", "start", "begin") if word in NAMES)
    assert ALL(name) != name
    assert ALL(name.capitalize()) == name.capitalize()
    assert ALL(name.upper()) == name.upper()


def test_synonyms_agree_with_the_article() -> None:
    assert set(SYNONYMS["car"]) == {"automobile", "auto"}
    assert ALL("a car") == "a car"
    assert ALL("the car") in {"the automobile", "the auto"}
    assert ALL("an automobile") == "an auto"


@pytest.mark.parametrize(
    ("rate", "n", "expected"), [(0.1, None, 1), (0.34, None, 3), (1.0, None, 10), (0.1, 4, 4), (0.1, 99, 10)]
)
def test_number_of_replacements(rate: float, n: int | None, expected: int) -> None:
    text = " ".join(["bought"] * 10)
    view = SynonymReplacement(rate, n=n).augment(text, 5)
    assert Counter(view.split())["purchased"] == expected


def test_positions_and_synonyms_are_uniform() -> None:
    replace = SynonymReplacement(n=2)
    text = "bought quickly movie children"
    views = [replace.augment(text, seed).split() for seed in range(3000)]
    for position, word in enumerate(text.split()):
        others = Counter(view[position] for view in views)
        assert others.pop(word) == pytest.approx(1500, abs=140)
        assert len(others) == len(SYNONYMS[word])
        assert all(count == pytest.approx(1500 / len(others), abs=140) for count in others.values())


@pytest.mark.parametrize("arguments", [{"rate": 0.0}, {"rate": 1.1}, {"rate": float("nan")}, {"n": 0}])
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError):
        SynonymReplacement(**arguments)  # type: ignore[arg-type]


# Properties


def slow_augment(text: str) -> list[set[str]]:
    """Every word with what may come in its place, sentence begins aside: an independent reading of the rules."""
    allowed = []
    for chunk in re.split(r"\s+", text):
        word = re.sub(r"""^["'(]+|[.,;:!?"')]+$""", "", chunk)
        forms = {str.lower, str.capitalize, str.upper} if re.fullmatch("[A-Za-z]+", word) else set()
        others = {
            chunk.replace(word, form(other))
            for form in forms
            if form(word) == word and len(word) > 1
            for other in SYNONYMS.get(word.lower(), ())
        }
        allowed.append({chunk, *others})
    return allowed


@given(TEXTS, st.integers())
def test_views_keep_the_gaps_and_contain_only_synonyms(text: str, seed: int) -> None:
    view = ALL.augment(text, seed)
    assert re.findall(r"\s+", view) == re.findall(r"\s+", text)
    for chunk, allowed in zip(re.split(r"\s+", view), slow_augment(text), strict=True):
        assert chunk in allowed


@given(st.text(), st.integers())
def test_any_text_passes(text: str, seed: int) -> None:
    assert ALL.augment(text, seed) == ALL.augment(text, seed)


@given(st.lists(TEXTS, max_size=5), st.integers(0, 10), st.integers(0, 3), st.integers(0, 3))
def test_a_batch_is_its_rows(texts: list[str], seed: int, view: int, epoch: int) -> None:
    replace = SynonymReplacement(seed=seed)
    ids = range(7, 7 + len(texts))
    rows = [replace(text, row_id=row, view=view, epoch=epoch) for text, row in zip(texts, ids, strict=True)]
    assert replace.batch(texts, row_ids=ids, view=view, epoch=epoch) == rows
    seeds = [view_seed(seed, row, epoch, view) for row in ids]
    assert rows == [replace.augment(text, seed) for text, seed in zip(texts, seeds, strict=True)]


def test_seed_row_view_and_epoch_matter() -> None:
    text = "bought quickly movie children car huge " * 5
    base = SynonymReplacement()(text, row_id=1)
    others = [
        SynonymReplacement(seed=1)(text, row_id=1),
        SynonymReplacement()(text, row_id=2),
        SynonymReplacement()(text, row_id=1, view=1),
        SynonymReplacement()(text, row_id=1, epoch=1),
        SynonymReplacement()(text),
    ]
    assert len({base, *others}) == 6


def test_row_ids_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        ALL.batch(["a", "b"], row_ids=[1])


def test_another_process_makes_the_same_views_without_torch() -> None:
    text = "They bought a huge car and the children quickly finished the movie."
    code = (
        "import sys; from lane_hf.augmentation.synonym import SynonymReplacement as S; "
        f"print([S(seed=3)({text!r}), S(seed=3)({text!r}, row_id=4)]); assert 'torch' not in sys.modules"
    )
    here = [SynonymReplacement(seed=3)(text), SynonymReplacement(seed=3)(text, row_id=4)]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)


# The table


def test_table_is_small_sorted_and_clean() -> None:
    content = (DATA / TABLE_FILE).read_bytes()
    assert len(content) < 2_000_000
    assert list(SYNONYMS) == sorted(SYNONYMS)
    assert len(SYNONYMS) > 5000
    for word, others in SYNONYMS.items():
        assert re.fullmatch("[a-z]{3,}( [a-z]{3,})*", " ".join([word, *others]))
        assert word not in others
        assert 1 <= len(set(others)) == len(others) <= build_synonyms.MAX_SYNONYMS
    assert not STOP_WORDS & {*SYNONYMS, *(other for others in SYNONYMS.values() for other in others)}


@pytest.mark.parametrize(
    ("word", "expected"),
    [("bought", "purchased"), ("helps", "aids"), ("helping", "aiding"), ("cars", "automobiles"), ("began", "started")],
)
def test_inflection(word: str, expected: str) -> None:
    assert expected in SYNONYMS[word]


@pytest.mark.parametrize("word", ["left", "building", "felt", "cut", "saw", "found", "deposit", "and", "not", "seven"])
def test_doubtful_words_are_left_out(word: str) -> None:
    assert word not in SYNONYMS


def test_licence_is_the_one_of_the_demo_data() -> None:
    demo_licence = (files("lane_hf.datasets") / "data" / "WORDNET_LICENSE.txt").read_bytes()
    assert (DATA / LICENSE_FILE).read_bytes() == demo_licence


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("carry", ["carries", "carried", "carrying"]),
        ("play", ["plays", "played", "playing"]),
        ("move", ["moves", "moved", "moving"]),
        ("tie", ["ties", "tied", "tying"]),
        ("agree", ["agrees", "agreed", "agreeing"]),
        ("watch", ["watches", "watched", "watching"]),
    ],
)
def test_regular_forms(word: str, forms: list[str]) -> None:
    assert [regular_form(word, form) for form in ("s", "ed", "ing")] == forms
    assert regular_form(word, "base") == word


# The script


@needs_wordnet
def test_table_is_rebuilt_byte_for_byte(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_synonyms.main(["--check"]) == 0
    assert capsys.readouterr().out.startswith("OK")


@pytest.fixture
def small_wordnet(tmp_path: Path) -> Path:
    """One synset of two nouns, and one of which a word is slang."""
    header = "  1 This software  \n"
    contents = dict.fromkeys(build_synonyms.SOURCES, "")
    entries = [("car", 1, 1), ("wagon", 1, 1), ("wheels", 0, 2), ("ride", 0, 2)]
    contents |= {
        "index.noun": header + "".join(f"{word} n 1 0 1 {used} 0000000{synset}  \n" for word, used, synset in entries),
        "data.noun": header
        + "00000001 06 n 02 car 0 wagon 0 000 | a motor vehicle; wagons, wagons, wagon and wagon  \n"
        + "00000002 06 n 02 wheels 0 ride 0 001 ;u 00000001 n 0200 | a car, a car; wheels and wheels  \n",
        "cntlist.rev": "wagon%1:06:00:: 1 2\ncar%1:06:00:: 1 9\nride%1:06:00:: 1 2\n",
    }
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder


def test_small_table(small_wordnet: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder"
    assert build_synonyms.main(["--wordnet", str(small_wordnet), "--output", str(output)]) == 0
    rows = ["word\tsynonyms\tname", "car\twagon\t", "cars\twagons\t", "wagon\tcar\t", ""]
    assert (output / TABLE_FILE).read_bytes() == "\n".join(rows).encode()
    assert (output / LICENSE_FILE).read_bytes() == b"This software\n"


def test_check_reports_a_difference(small_wordnet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sha256((DATA / TABLE_FILE).read_bytes()).digest()
    assert build_synonyms.main(["--wordnet", str(small_wordnet), "--check"]) == 1
    message = capsys.readouterr().err
    assert f"{TABLE_FILE} differs from the rebuild" in message
    assert "not the one that the shipped files were built from" in message
    assert sha256((DATA / TABLE_FILE).read_bytes()).digest() == before


def test_missing_and_broken_wordnet_are_explained(
    small_wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_synonyms.main(["--wordnet", str(tmp_path / "none"), "--check"]) == 2
    assert "wordnet-base" in capsys.readouterr().err
    (small_wordnet / "cntlist.rev").write_text("broken\n")
    assert build_synonyms.main(["--wordnet", str(small_wordnet), "--check"]) == 2
    assert "not a line of a WordNet file: 'broken'" in capsys.readouterr().err
    with pytest.raises(CorpusFormatError):
        build_synonyms.build_files({**dict.fromkeys(build_synonyms.SOURCES, b""), "noun.exc": b"x"})
