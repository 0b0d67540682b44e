"""The state file of a checkpoint: what is written is read again, and everything else is refused in its own words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lane_hf import checkpoint
from lane_hf.checkpoint import FORMAT_VERSION, STATE_FILE, check_state, load_state, save_state
from lane_hf.errors import InputError

FACTS = {"number_of_views": 12, "number_of_labels": 3}
DATASET = {"rows": 12, "labels": "ab", "content": "cd", "content_in_any_order": "ef"}
NAMES = {"rows", "auxiliary", "empty"}


def some_parts() -> dict[str, dict[str, torch.Tensor]]:
    shared = torch.arange(6.0).reshape(2, 3)
    return {
        "rows": {
            "sum": torch.tensor([0.1, -2.5e300], dtype=torch.float64),
            "label": torch.tensor([-1, 32_766], dtype=torch.int16),
            "skipped": torch.tensor(7),
            "nothing": torch.empty(0, 2),
        },
        "auxiliary": {
            "head/weight": shared,  # names of tensors may hold a slash
            "head.transposed": shared.T,  # not contiguous, and in the same memory
            "head.alias": shared,
            "half": torch.tensor([1.5, -0.25], dtype=torch.bfloat16),
            "mask": torch.tensor([True, False]),
        },
        "empty": {},
    }


def save(folder: Path) -> Path:
    return save_state(folder, some_parts(), FACTS, DATASET)


def load(folder: str | Path) -> dict[str, dict[str, torch.Tensor]]:
    """What a trainer does: refuse what belongs to another run, then load."""
    check_state(folder, FACTS, DATASET)
    return load_state(folder, NAMES)


@pytest.mark.parametrize("as_type", [str, Path])
def test_round_trip(tmp_path: Path, as_type: type) -> None:
    path = save_state(as_type(tmp_path), some_parts(), FACTS, DATASET)
    assert path == tmp_path / STATE_FILE
    loaded = load(as_type(tmp_path))
    assert loaded.keys() == NAMES
    for part, tensors in some_parts().items():
        assert loaded[part].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert loaded[part][name].dtype == tensor.dtype
            assert torch.equal(loaded[part][name], tensor), name


def test_a_checkpoint_without_any_part(tmp_path: Path) -> None:
    save_state(tmp_path, {}, {})
    assert load_state(tmp_path, set()) == {}


def test_nothing_but_the_state_is_left_in_the_folder(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path)  # over the first one
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_write_that_fails_leaves_the_former_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path)

    def full_disk(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full_disk)
        with pytest.raises(OSError, match="no space left"):
            save_state(tmp_path, {}, FACTS)
    assert load(tmp_path)["rows"]["skipped"].item() == 7
    save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "boom")


def explode(path: Path) -> None:
    bomb = path.parent / "bomb.pt"
    torch.save({"rows": Bomb(path.parent / "exploded")}, bomb)
    bomb.replace(path)


def rewrite(path: Path, **changes: str) -> None:
    header = {"facts": FACTS, "parts": sorted(NAMES), "dataset": DATASET}
    metadata = {name: json.dumps(value) for name, value in header.items()}
    save_file(load_file(path), path, metadata={"format_version": str(FORMAT_VERSION), **metadata, **changes})


def with_dataset(path: Path, **changes: Any) -> None:
    rewrite(path, dataset=json.dumps({**DATASET, **changes}))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "it has no lane_state.safetensors"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "it has no lane_state.safetensors"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "a few bytes": (lambda path: path.write_bytes(path.read_bytes()[:5]), "is damaged"),
    "only the header": (lambda path: path.write_bytes(path.read_bytes()[:100]), "is damaged"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
    "garbage": (lambda path: path.write_bytes(b"\xff\x00garbage" * 100), "is damaged"),
    "a pickle": (explode, "is damaged"),
    "another version": (lambda path: rewrite(path, format_version="99"), "has format version 99.* reads 6"),
    "no metadata": (lambda path: save_file(load_file(path), path), "has format version None"),
    "the first version": (lambda path: rewrite(path, format_version="1"), "has format version 1, .* reads 6"),
    "no facts": (lambda path: rewrite(path, facts="{}"), "number of views = None, now it is 12"),
    "facts cut short": (lambda path: rewrite(path, facts="{"), "the header of .* cannot be read"),
    "other views": (lambda path: rewrite(path, facts='{"number_of_views": 11}'), "number of views = 11, now it is 12"),
    "no data set": (lambda path: rewrite(path, dataset="{}"), "the training set had None rows, now it has 12"),
    "other rows": (
        lambda path: with_dataset(path, rows=11),
        "had 11 rows, now it has 12",
    ),
    "shuffled": (
        lambda path: with_dataset(path, content="xx"),
        "rows in another order",
    ),
    "relabelled": (lambda path: with_dataset(path, labels="xx"), "it was relabelled"),
    "other labels": (
        lambda path: rewrite(path, facts=json.dumps({**FACTS, "number_of_labels": 4})),
        "number of labels = 4, now it is 3",
    ),
    "fewer parts": (
        lambda path: save_state(path.parent, {"rows": {}, "empty": {}}, FACTS, DATASET),
        r"the state of \['empty', 'rows'\], this trainer has \['auxiliary', 'empty', 'rows'\]",
    ),
    "more parts": (
        lambda path: save_state(path.parent, {**some_parts(), "similarity": {}}, FACTS, DATASET),
        "'similarity'.*, this trainer has",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_read_is_refused_in_its_own_words(tmp_path: Path, damage: str) -> None:
    path = save(tmp_path)
    spoil, message = DAMAGE[damage]
    spoil(path)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"cannot resume from {tmp_path}: ")
    assert "\n" not in text
    others = {pattern for _, pattern in DAMAGE.values() if pattern != message}
    assert not any(pattern in text for pattern in others)
    assert not (tmp_path / "exploded").exists()


def test_the_bomb_is_live(tmp_path: Path) -> None:
    explode(tmp_path / "live.pt")
    torch.load(tmp_path / "live.pt", weights_only=False)
    assert (tmp_path / "exploded").exists()


def test_a_fact_that_is_no_longer_asked_for_does_no_harm(tmp_path: Path) -> None:
    save(tmp_path)
    check_state(tmp_path, {"number_of_views": 12})
