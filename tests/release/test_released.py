"""Released checkpoints: none yet; loading one takes the commit and the weights that were released, or nothing."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub, run_client
from job import NAMES
from safetensors.torch import load_file
from tiny import make_model, make_tokenizer

import lane_hf
from lane_hf import InputError
from lane_hf.release import released
from lane_hf.release.released import RELEASED, Release

COMMIT, SHA256 = "0" * 40, "0" * 64


def test_nothing_is_released_yet() -> None:
    """The truth for now, and what README and cards say; whoever releases the first one changes it here too."""
    assert dict(RELEASED) == {}
    root = Path(__file__).parents[2]
    assert "None is released yet" in (root / "README.md").read_text(encoding="utf-8")


def test_a_recipe_without_a_release_says_how_to_train_it() -> None:
    with pytest.raises(InputError) as caught:
        lane_hf.from_pretrained("isear-roberta")
    expected = (
        "the checkpoint 'isear-roberta' is not released (none is released yet). Train it yourself: lane release train "
        "isear-roberta --data_dir FOLDER"
    )
    assert str(caught.value) == expected


def test_an_unknown_name_names_the_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^there is no released checkpoint 'x': none is released yet$"):
        lane_hf.from_pretrained("x")
    known = {name: Release("user/model", COMMIT, SHA256) for name in ("sst5-bert", "isear-bert")}
    monkeypatch.setattr(released, "RELEASED", known)
    with pytest.raises(InputError, match=r"'x': the released ones are isear-bert, sst5-bert$"):
        lane_hf.from_pretrained("x")
    with pytest.raises(InputError, match=r"not released \(the released ones are isear-bert, sst5-bert\)\. Train it"):
        lane_hf.from_pretrained("goemotions-bert")


@pytest.mark.parametrize("name", ["revision", "trust_remote_code", "use_safetensors", "subfolder"])
def test_what_the_release_settles_cannot_be_changed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "RELEASED", {"sst5-bert": Release("user/model", COMMIT, SHA256)})
    with pytest.raises(InputError, match=rf"^{name} is settled by the release sst5-bert: leave it out$"):
        lane_hf.from_pretrained("sst5-bert", **{name: True})


@pytest.mark.parametrize(
    ("revision", "sha256"),
    [("main", SHA256), ("v1.0", SHA256), (COMMIT[:7], SHA256), (COMMIT, "0"), (COMMIT, "G" * 64)],
)
def test_a_release_is_pinned(revision: str, sha256: str) -> None:
    with pytest.raises(InputError, match=r"of 40 digits|has 64 digits"):
        Release("user/model", revision, sha256)


# ---- From the Hub ----

LOAD = """
import json
import lane_hf
from lane_hf.release import released
releases, seen = {releases!r}, {{}}
for name, facts in releases.items():
    released.RELEASED = {{name: released.Release(*facts)}}
    try:
        model, tokenizer = lane_hf.from_pretrained(name, dtype="float64")
    except (lane_hf.InputError, RuntimeError) as error:
        seen[name] = [type(error).__name__, str(error)]
    else:
        model.save_pretrained({folder!r})
        seen[name] = [list(model.config.id2label.values()), tokenizer("happy joy")["input_ids"], str(model.dtype)]
print(json.dumps(seen))
"""


def test_only_what_was_released_is_loaded(hub: FakeHub, tmp_path: Path) -> None:
    """One process for all cases: most of the time goes into its imports."""
    model = make_model("bert", len(NAMES))
    model.save_pretrained(tmp_path / "made")
    make_tokenizer(tmp_path / "made")
    files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    weights, broken = files["model.safetensors"], b"no weights at all"
    unwanted = {"adapter_config.json": b"{}", "pytorch_model.bin": b"pickle", "label_issues.parquet": b"table"}
    good = hub.create("owner/good", files={**files, **unwanted})
    commit = good.at("main").oid
    exchanged = hub.create("owner/exchanged", files={**files, "model.safetensors": broken})
    good.commit("refs/heads/main", "Exchange", exchanged.at("main").files, "somebody")
    without = {name: content for name, content in files.items() if name != "model.safetensors"}
    empty = hub.create("owner/empty", files={**without, "pytorch_model.bin": b"pickle"})

    releases = {
        "good": ("owner/good", commit, hashlib.sha256(weights).hexdigest()),
        "exchanged": ("owner/exchanged", exchanged.at("main").oid, SHA256),
        "empty": ("owner/empty", empty.at("main").oid, SHA256),
        "gone": ("owner/gone", COMMIT, SHA256),
    }
    done = run_client(LOAD.format(releases=releases, folder=str(tmp_path / "loaded")), hub)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])

    names = list(model.config.id2label.values())
    assert seen["good"] == [names, make_tokenizer()("happy joy")["input_ids"], "torch.float64"]  # dtype is handed on
    loaded = load_file(tmp_path / "loaded" / "model.safetensors")
    assert all(torch.equal(loaded[name], values.double()) for name, values in model.state_dict().items())
    fetched = {request.path for request in hub.served(r"GET /owner/good/resolve/")}
    assert fetched
    assert all(path.startswith(f"/owner/good/resolve/{commit}/") for path in fetched)
    assert not {path.rsplit("/", 1)[-1] for path in fetched}.intersection(unwanted)

    error, says = seen["exchanged"]  # before safetensors reads such a file, and says that it is none
    assert error == "InputError"
    assert hashlib.sha256(broken).hexdigest() in says
    assert f"expected {SHA256}: it is damaged or was exchanged, load exchanged again with force_download=True" in says
    error, says = seen["empty"]
    assert error == "InputError"
    assert "model.safetensors is missing: load empty again" in says
    error, says = seen["gone"]
    assert error == "HubError"
    assert says.startswith("owner/gone could not be downloaded (")
    assert "\n" not in says
