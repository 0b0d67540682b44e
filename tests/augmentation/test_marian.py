"""The models of back-translation: names, damaged folders, several languages."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from backtranslating import Make, make_texts
from tiny_marian import make_marian
from transformers import MarianMTModel

from lane_hf.augmentation.marian import Generation, Translator, find_model
from lane_hf.errors import InputError


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
