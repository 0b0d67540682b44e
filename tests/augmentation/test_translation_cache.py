"""What back-translation keeps on disk: what is used again, kills, sharing, damage."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backtranslating import DIRECTIONS, Make, make_texts
from tiny_marian import make_marian

from lane_hf.augmentation.marian import Translator
from lane_hf.augmentation.translation_cache import FILE_NAME, TranslationCache
from lane_hf.errors import InputError


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
