"""Back-translation with tiny random models: order, batches, chains, draws, the cache, and every wrong input."""

import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from tiny_marian import MAX_TOKENS, make_marian
from transformers import MarianMTModel, MarianTokenizer

from lane_hf.augmentation.backtranslation import BackTranslation, augment_dataset
from lane_hf.augmentation.marian import Generation, Translator, find_model
from lane_hf.augmentation.translation_cache import FILE_NAME, TranslationCache
from lane_hf.errors import InputError

DIRECTIONS = [("en", "de"), ("de", "en"), ("de", "fr"), ("fr", "en")]
WORDS = ["the", "goal", "match", "joy", "team", "we", "love", "song", "concert", "bank", "rocket", "soup", "bread"]
Make = Callable[..., BackTranslation]


def make_texts(number: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"{' '.join(rng.choices(WORDS, k=rng.randint(1, 6)))} {index}" for index in range(number)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("marian")
    for seed, (source, target) in enumerate(DIRECTIONS):
        make_marian(folder / f"{source}-{target}", seed)
    return str(folder / "{source}-{target}")


@pytest.fixture
def make(template: str) -> Make:
    def build(pivots: Any = ("de",), **settings: Any) -> BackTranslation:
        settings = {"model_template": template, "batch_size": 4, "device": "cpu", "progress_bar": False, **settings}
        return BackTranslation(pivots, **settings)

    return build


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of every call of generate."""
    sizes: list[int] = []
    generate = MarianMTModel.generate

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(MarianMTModel, "generate", counted)
    return sizes


def by_hand(folder: Path, text: str) -> str:
    """One greedy translation, with Transformers alone."""
    tokenizer, model = MarianTokenizer.from_pretrained(folder), MarianMTModel.from_pretrained(folder)
    inputs = tokenizer([text], return_tensors="pt", truncation=True, max_length=MAX_TOKENS)
    tokens = model.generate(**inputs, num_beams=1, max_length=MAX_TOKENS)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]


# ---- Translations ----


def test_texts_are_translated_there_and_back_in_their_order(make: Make, template: str) -> None:
    texts = make_texts(6)
    there, back = (Path(template.format(source=source, target=target)) for source, target in DIRECTIONS[:2])
    result = make()(texts)
    assert result == [by_hand(back, by_hand(there, text)) for text in texts]
    assert len(set(result)) > 3  # else the test sees no mistake in the order


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 3}, {"do_sample": True}, {"do_sample": True, "temperature": 0.5}]
)
def test_the_batch_size_changes_nothing(make: Make, settings: dict[str, Any]) -> None:
    texts = make_texts(7, seed=1)
    alone = make(batch_size=1, **settings)(texts)
    assert make(batch_size=3, **settings)(texts) == make(batch_size=64, **settings)(texts) == alone


def test_a_tokenizer_that_pads_on_the_left_changes_nothing(make: Make, tmp_path: Path) -> None:
    folders = {
        direction: make_marian(tmp_path / "-".join(direction), padding_side="left") for direction in DIRECTIONS[:2]
    }
    texts = make_texts(5)
    assert MarianTokenizer.from_pretrained(folders["en", "de"]).padding_side == "left"
    assert make(models=folders, batch_size=9)(texts) == make(models=folders, batch_size=1)(texts)


def test_a_chain_goes_through_every_pivot(make: Make, template: str) -> None:
    way = [
        Path(template.format(source=source, target=target)) for source, target in [*DIRECTIONS[:1], *DIRECTIONS[2:]]
    ]
    backtranslation = make(("de", "fr"))
    assert backtranslation.directions == [("en", "de"), ("de", "fr"), ("fr", "en")]
    texts = make_texts(3)
    expected = texts
    for folder in way:
        expected = [by_hand(folder, text) for text in expected]
    assert backtranslation(texts) == expected


def test_one_pivot_may_be_given_as_a_string(make: Make) -> None:
    assert make("de").directions == make(("de",)).directions == [("en", "de"), ("de", "en")]


def test_blank_texts_pass_through_and_duplicates_are_translated_once(make: Make, batches: list[int]) -> None:
    texts = ["", "we love soup", " \t\n", "the goal", "we love soup", "\u00a0", "we love soup"]
    result = make()(texts)
    assert [result[index] for index in (0, 2, 5)] == ["", " \t\n", "\u00a0"]
    assert result[1] == result[4] == result[6] != "we love soup"
    assert batches == [2, 2]


def test_only_blank_texts_load_no_model(make: Make) -> None:
    nowhere = make(model_template="no/such-{source}-{target}")
    assert nowhere(["", "  "]) == ["", "  "]
    assert nowhere([]) == []


def test_a_long_text_is_cut_to_what_the_model_takes(make: Make) -> None:
    beginning = "goal " * (2 * MAX_TOKENS)
    result = make()([beginning + "joy", beginning + "soup", "joy"])
    assert result[0] == result[1] != result[2]


def test_max_length_limits_texts_and_translations(template: str) -> None:
    found = find_model(template.format(source="en", target="de"), "de")
    with Translator(found, Generation(max_length=6), "cpu") as translator:
        short, one, other = translator.translate(
            ["we", "goal goal goal goal joy", "goal goal goal goal bread"], [0, 0, 0]
        )
        assert one == other != short
    with Translator(found, Generation(), "cpu") as translator:
        long = translator.translate(["we"], [0])[0]
        assert long.startswith(short)
        assert len(long) > len(short)


def test_a_text_that_is_translated_to_nothing_stays(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        Translator, "translate", lambda self, texts, seeds: ["" if "soup" in text else text for text in texts]
    )
    with caplog.at_level(logging.WARNING):
        assert make()(["we love soup", "the goal"]) == ["we love soup", "the goal"]
    assert "1 of 2 texts" in caplog.text


def test_models_are_loaded_one_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def has_weights(reference: "weakref.ref[Any]") -> bool:
        model = reference()
        return model is not None and any(weight.device.type != "meta" for weight in model.state_dict().values())

    generate = MarianMTModel.generate

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if all(reference() is not self for reference in loaded):
            loaded.append(weakref.ref(self))
        alive.append(sum(map(has_weights, loaded)))
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(MarianMTModel, "generate", watched)
    make(("de", "fr"))(make_texts(5))
    assert len(loaded) == 3
    assert set(alive) == {1}
    assert not any(map(has_weights, loaded))


def test_bfloat16_is_used(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    types = []
    generate = MarianMTModel.generate

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        types.append(self.dtype)
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(MarianMTModel, "generate", watched)
    assert make(dtype=torch.bfloat16)(["we love soup"]) == make(dtype="bfloat16")(["we love soup"])
    assert set(types) == {torch.bfloat16}


# ---- Draws ----


def test_draws_follow_the_seed_alone(make: Make) -> None:
    texts = make_texts(6)
    first = make(do_sample=True, seed=1)(texts)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert make(do_sample=True, seed=1)(texts[::-1])[::-1] == first  # neither order nor the global state counts
    assert torch.equal(torch.get_rng_state(), state)
    assert make(do_sample=True, seed=2)(texts) != first != make()(texts)


def test_draws_have_the_probabilities_of_the_model(template: str) -> None:
    found = find_model(template.format(source="en", target="de"), "de")
    number, temperature = 4000, 0.7
    with Translator(found, Generation(do_sample=True, temperature=temperature, max_length=3), "cpu") as translator:
        model = translator._model
        inputs = translator._tokenizer(["we love soup"], return_tensors="pt", truncation=True, max_length=3)
        start = torch.tensor([[model.config.decoder_start_token_id]])
        with torch.inference_mode():
            logits = model(**inputs, decoder_input_ids=start).logits[0, -1]
            logits[model.config.pad_token_id] = -torch.inf  # a forbidden word
        expected = (logits / temperature).softmax(0)
        decode = translator._tokenizer.batch_decode
        drawn = translator.translate(["we love soup"] * number, range(number))
        for token in expected.topk(3).indices:
            share = drawn.count(decode([[token]], skip_special_tokens=True)[0]) / number
            assert share == pytest.approx(expected[token].item(), abs=0.03)  # about 4 standard deviations


def test_greedy_ignores_the_seed(make: Make, tmp_path: Path, batches: list[int]) -> None:
    make(cache_dir=tmp_path, seed=1)(["we love soup"])
    make(cache_dir=tmp_path, seed=2, temperature=0.5)(["we love soup"])
    assert batches == [1, 1]


# ---- Cache ----


def test_a_second_call_translates_only_what_is_missing(make: Make, tmp_path: Path, batches: list[int]) -> None:
    texts = make_texts(10)
    first = make(cache_dir=tmp_path)(texts[:6])
    assert sum(batches) == 12
    batches.clear()
    assert make(cache_dir=tmp_path)(texts[:6]) == first
    assert batches == []
    assert make(cache_dir=tmp_path)(texts) == make()(texts)
    assert batches[:2] == [4, 4]


def test_a_full_cache_needs_no_weights(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(cache_dir=tmp_path)(["we love soup"])
    monkeypatch.setattr(Translator, "__init__", None)
    assert make(cache_dir=tmp_path)(["we love soup"]) == first


def test_ways_share_what_they_have_in_common(make: Make, tmp_path: Path, batches: list[int]) -> None:
    make(cache_dir=tmp_path)(["we love soup"])
    make(("de", "fr"), cache_dir=tmp_path)(["we love soup"])
    assert len(batches) == 2 + 2  # en-de is there already


@pytest.mark.parametrize(
    "other",
    [{"num_beams": 2}, {"max_length": 9}, {"dtype": "bfloat16"}, {"do_sample": True}, {"do_sample": True, "seed": 1}],
)
def test_other_settings_have_translations_of_their_own(make: Make, tmp_path: Path, other: dict[str, Any]) -> None:
    make(cache_dir=tmp_path)(["we love soup"])
    make(cache_dir=tmp_path, do_sample=True)(["we love soup"]) if "seed" in other else None
    assert make(cache_dir=tmp_path, **other)(["we love soup"]) == make(**other)(["we love soup"])


def test_exchanged_weights_are_noticed_and_a_moved_folder_is_not(
    make: Make, tmp_path: Path, batches: list[int]
) -> None:
    folders = {direction: make_marian(tmp_path / "-".join(direction), seed=5) for direction in DIRECTIONS[:2]}
    make(models=folders, cache_dir=tmp_path / "cache")(["we love soup"])
    folders["en", "de"] = folders["en", "de"].rename(tmp_path / "moved")
    make(models=folders, cache_dir=tmp_path / "cache")(["we love soup"])
    assert len(batches) == 2
    make_marian(folders["en", "de"], seed=6)
    make(models=folders, cache_dir=tmp_path / "cache")(["we love soup"])
    assert len(batches) == 4


SCRIPT = """
import sys, time
from transformers import MarianMTModel
from lane_hf.augmentation.backtranslation import BackTranslation
generate, calls = MarianMTModel.generate, []
def stopping(self, *args, **kwargs):
    calls.append(1)
    if len(calls) == 3:
        print("third", flush=True)
        time.sleep(300)
    return generate(self, *args, **kwargs)
MarianMTModel.generate = stopping
template, cache, *texts = sys.argv[1:]
BackTranslation(
    model_template=template, batch_size=4, do_sample=True, device="cpu", cache_dir=cache, progress_bar=False
)(texts)
"""


def test_a_killed_run_goes_on_where_it_stopped(make: Make, template: str, tmp_path: Path, batches: list[int]) -> None:
    texts = make_texts(14)
    command = [sys.executable, "-c", SCRIPT, template, str(tmp_path), *texts]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "third\n"
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    resumed = make(do_sample=True, cache_dir=tmp_path)(texts)
    assert sum(batches) == 14 - 2 * 4 + 14  # the two batches of en-de are there, and nothing of de-en
    assert resumed == make(do_sample=True)(texts)


WRITER = """
import sys
from lane_hf.augmentation.translation_cache import TranslationCache
folder, name = sys.argv[1:]
for number in range(60):
    with TranslationCache(folder) as cache:
        cache.put({f"{who}{number}".encode(): f"text {number}" for who in (name, "both")})
"""


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    runs = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in ("a", "b")]
    assert [run.wait(120) for run in runs] == [0, 0]
    keys = [f"{name}{number}".encode() for name in ("a", "b", "both") for number in range(60)]
    with TranslationCache(tmp_path) as cache:
        found = cache.get(keys)
    assert found == {key: f"text {key.decode().lstrip('aboth')}" for key in keys}


def test_threads_may_each_call_it(make: Make, tmp_path: Path) -> None:
    texts, results = make_texts(6), {}
    one = make(cache_dir=tmp_path)

    def work(name: int) -> None:
        results[name] = one(texts)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == make()(texts)


def test_the_first_translation_of_a_key_stays_and_odd_texts_survive(tmp_path: Path) -> None:
    odd = {bytes([index]): text for index, text in enumerate(["", "nul \0 inside", "\ud7ff \U0001f600", "a\r\nb"])}
    with TranslationCache(tmp_path) as cache:
        cache.put(odd)
        cache.put({b"\0": "other"})
        cache.put({})
    with TranslationCache(tmp_path) as cache:
        assert cache.get([*odd, b"missing"]) == odd
        assert cache.get([]) == {}
        assert len(cache.get([bytes([index % 4]) for index in range(1201)])) == 4


def test_an_empty_file_is_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()  # what a process leaves that is killed at once
    with TranslationCache(tmp_path) as cache:
        assert cache.get([b"key"]) == {}


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)


def _change_a_letter(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b"translation 7 ") == 1
    path.write_bytes(content.replace(b"translation 7 ", b"translation 8 "))


def _drop_the_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE translations RENAME TO something")
    connection.close()


@pytest.mark.parametrize("damage", [_garbage, _cut, _change_a_page, _change_a_letter, _drop_the_table])
def test_a_damaged_cache_is_named_with_the_remedy(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    entries = {f"key {number}".encode(): f"translation {number} " * 3 + "." * 90 for number in range(200)}
    entries[b"key 7"] = "translation 7 "
    with TranslationCache(tmp_path) as cache:
        cache.put(entries)
    damage(tmp_path / FILE_NAME)

    def use() -> None:
        with TranslationCache(tmp_path) as cache:
            cache.get(list(entries))

    with pytest.raises(InputError, match=r"damaged .*delete the file") as caught:
        use()
    assert str(tmp_path / FILE_NAME) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_cache_stops_a_back_translation(make: Make, tmp_path: Path) -> None:
    _garbage(tmp_path / FILE_NAME)
    with pytest.raises(InputError, match="damaged"):
        make(cache_dir=tmp_path)(["we love soup"])


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE mine (id)")
    connection.commit()
    connection.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(InputError, match="another program"):
        TranslationCache(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_cache_of_another_format_is_refused(tmp_path: Path) -> None:
    TranslationCache(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InputError, match="format 99"):
        TranslationCache(tmp_path)


def test_a_cache_that_cannot_be_made_or_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        TranslationCache(tmp_path / "file" / "cache")
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(InputError, match=r"cannot be used .*unable to open"):
        TranslationCache(tmp_path)


# ---- Models ----


@pytest.fixture
def folder(template: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template.format(source="en", target="de"), tmp_path / "model"))


@pytest.mark.parametrize(
    "name", ["no-such/model", "no-such/model@refs/pr/3", "no such model", "/no/such/folder", "", "a/b/c@x"]
)
def test_a_wrong_model_name_is_one_line(make: Make, name: str) -> None:
    with pytest.raises(InputError, match="cannot be found") as caught:
        make(models={("de", "en"): name})(["we love soup"])
    assert "\n" not in str(caught.value)


def test_a_wrong_name_on_the_way_back_shows_before_the_first_translation(make: Make, batches: list[int]) -> None:
    with pytest.raises(InputError):
        make(models={("de", "en"): "no-such/model"})(["we love soup"])
    assert batches == []


@pytest.mark.parametrize("file", ["config.json", "source.spm", "target.spm", "vocab.json", "model.safetensors"])
def test_a_folder_with_a_file_missing(make: Make, folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(InputError, match=file.replace("model", r"\*")):
        make(models={("en", "de"): folder})(["we love soup"])


@pytest.mark.parametrize("file", ["config.json", "source.spm", "vocab.json", "model.safetensors"])
def test_a_folder_with_a_damaged_file(make: Make, folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"\x80 damaged")
    with pytest.raises(InputError, match=r"damaged|cannot be loaded") as caught:
        make(models={("en", "de"): folder})(["we love soup"])
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused(make: Make, folder: Path) -> None:
    torch.save(MarianMTModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        make(models={("en", "de"): folder})(["we love soup"])


def test_weights_of_another_size_are_refused(make: Make, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_layers": 2}))
    with pytest.raises(InputError, match=r"damaged: .*layers\.1"):
        make(models={("en", "de"): folder})(["we love soup"])


@pytest.mark.parametrize("content", ['{"model_type": "m2m_100"}', "{}"])
def test_another_kind_of_model_is_refused(make: Make, folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match="needs Marian models"):
        make(models={("en", "de"): folder})(["we love soup"])


def test_a_hub_model_is_known_by_its_commit(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    commit = "0123456789" * 4
    snapshot = tmp_path / "snapshots" / commit
    snapshot.mkdir(parents=True)
    shutil.copy(folder / "config.json", snapshot)
    asked = []

    def download(hub_id: str, file: str, revision: str | None) -> str:
        asked.append((hub_id, file, revision))
        return str(snapshot / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    main, other, pinned = (find_model(f"user/model{at}", "de") for at in ("", "@refs/pr/3", f"@{commit}"))
    assert main.fingerprint == other.fingerprint == pinned.fingerprint == f"user/model@{commit}"
    assert [main.revision, other.revision, pinned.revision] == [None, "refs/pr/3", commit]
    assert asked == [("user/model", "config.json", None), ("user/model", "config.json", "refs/pr/3")]


def test_a_model_of_several_languages_is_told_which(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    several = make_marian(tmp_path / "several", language_codes=(">>de<<", ">>fr<<"))
    results = {}
    with caplog.at_level(logging.WARNING):
        for target in ("de", "fr", "es"):
            with Translator(find_model(str(several), target), Generation(), "cpu") as translator:
                results[target] = translator.translate(make_texts(5), range(5))
    assert len({str(result) for result in results.values()}) == 3
    ours = [record.message for record in caplog.records if record.name.startswith("lane_hf")]
    assert [">>es<< is none of them" in message for message in ours] == [True]


def test_missing_sentencepiece_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install sentencepiece"):
        make()(["we love soup"])


# ---- Settings and texts ----


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pivots": ()}, "pivots is empty"),
        ({"pivots": ("en",)}, "goes from 'en' to itself"),
        ({"pivots": ("de", "de")}, "goes from 'de' to itself"),
        ({"pivots": ("",)}, "must be names of languages"),
        ({"model_template": "opus-mt"}, "the same for all"),
        ({"model_template": "opus-{src}"}, "cannot be filled in"),
        ({"model_template": "opus-{"}, "cannot be filled in"),
        ({"models": {("en", "fr"): "x"}}, "not on the way"),
        ({"batch_size": 0}, "batch_size"),
        ({"num_beams": 0}, "num_beams"),
        ({"max_length": 1}, "max_length"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"do_sample": True, "num_beams": 2}, "do_sample"),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_settings_that_make_no_sense(make: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


@pytest.mark.parametrize(
    ("texts", "message"),
    [("we love soup", "single one"), (["a", None], "row 1: .*NoneType"), (["a", "b \ud800"], "row 1: .*Unicode")],
)
def test_texts_that_are_none(make: Make, texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()(texts)


def test_no_text_is_printed_or_logged(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        result = make(cache_dir=tmp_path, progress_bar=True)(["rocket concert secret", "cheese " * 100])
    captured = capfd.readouterr()
    assert "en->de" in captured.err
    for word in ("concert", "cheese", result[0]):
        assert word not in caplog.text + captured.out + captured.err


def test_importing_it_imports_no_torch() -> None:
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys, lane_hf.augmentation.backtranslation; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- Data sets ----


@pytest.fixture
def dataset() -> Iterator[Dataset]:
    return Dataset.from_dict({"text": ["we love soup", "", "the goal", "we love soup"], "label": [0, 1, 0, 1]})


def test_a_data_set_gets_the_column(make: Make, dataset: Dataset) -> None:
    shuffled = dataset.select([3, 1, 2, 0])
    augmented = augment_dataset(shuffled, make())
    assert augmented.column_names == ["text", "label", "text_backtranslated"]
    assert augmented["text_backtranslated"][:] == make()(shuffled["text"][:])
    assert augmented["label"][:] == [1, 1, 0, 0]
    assert shuffled.column_names == ["text", "label"]


def test_names_of_columns_may_be_given_and_a_format_does_no_harm(dataset: Dataset) -> None:
    renamed = dataset.rename_column("text", "review").with_format("numpy", columns=["label"])
    augmented = augment_dataset(renamed, lambda texts: [text.upper() for text in texts], "review", "loud")
    assert augmented.with_format(None)["loud"][:] == ["WE LOVE SOUP", "", "THE GOAL", "WE LOVE SOUP"]


def test_a_data_set_without_rows_gets_a_column_of_strings(dataset: Dataset, make: Make) -> None:
    assert augment_dataset(dataset.select([]), make()).features["text_backtranslated"].dtype == "string"


def test_data_sets_that_do_not_fit(dataset: Dataset) -> None:
    def same(texts: list[str]) -> list[str]:
        return texts

    for wrong, settings, message in [
        (dataset, {"text_column": "review"}, "no column 'review'.*text, label"),
        (dataset, {"column": "label"}, "'label' already"),
        (DatasetDict(train=dataset), {}, "one split"),
        (Dataset.from_dict({"text": ["a", None]}), {}, "row 1"),
    ]:
        with pytest.raises(InputError, match=message):
            augment_dataset(wrong, same, **settings)
    with pytest.raises(InputError, match="3 texts for 4"):
        augment_dataset(dataset, lambda texts: texts[1:])
