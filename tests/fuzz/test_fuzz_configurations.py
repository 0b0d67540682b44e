"""Configuration files of any content: a valid configuration or one line, nothing executed, in bounded time."""

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st

from lane_hf import InputError
from lane_hf.run_arguments import DataArguments, parse

# Those whose values are texts, numbers, lists, objects and choices.
NAMES = (
    "seed", "learning_rate", "train_file", "bf16", "method", "view_columns", "report_to", "lr_scheduler_kwargs",
    "accelerator_config", "logging_steps", "save_strategy", "hub_token", "output_dir", "label_noise", "max_length",
    "warmup_steps", "optim", "num_train_epochs", "label_names", "debug", "noise_kind", "sed", "", "__class__",
)  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
PIECES = (
    "seed", "hub_token", ": ", ":", "- ", "\n", "  ", "\t", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "!!int ",
    "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ", "!!python/name:os.system ", "!x ", "|\n",
    ">\n", "? ", "#", "---\n", "...\n", "%YAML 9.9\n", "'", '"', "7", "1e400", "0x", "1:99", "2024-99-99", "~",
    "\ufeff", "\0", "\x85",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configurations")


def outcome(path: Path, content: bytes) -> str | None:
    """Parse a configuration; return the refusal, or None if it is valid."""
    path.write_bytes(content)
    with mock.patch.dict(os.environ):  # Transformers leaves notes for Accelerate there
        try:
            parse([str(path)])
        except InputError as error:
            refused = str(error)
        else:
            return None
    assert len(refused.splitlines()) == 1
    assert len(refused) < len(str(path)) + 500
    return refused


@given(st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=3), st.sampled_from([".json", ".yaml"]))
@tries(100)
@example({"accelerator_config": "no such file"}, ".json")
@example({"logging_steps": 10**400}, ".json")
def test_any_values_are_taken_or_refused(folder: Path, content: dict[str, Any], suffix: str) -> None:
    outcome(folder / f"config{suffix}", json.dumps(content).encode())


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@tries(150)
@example("seed: !!int ''")
@example("seed: !!bool maybe")
@example("seed: !!timestamp x")
@example("lr_scheduler_kwargs: {a: 2024-01-01}")
@example("lr_scheduler_kwargs: {[1]: 2}")
def test_any_yaml_is_taken_or_refused(folder: Path, content: str) -> None:
    outcome(folder / "config.yaml", content.encode())


@given(st.binary(max_size=40), st.sampled_from([".json", ".yml"]))
@tries(50)
def test_random_bytes_are_refused(folder: Path, content: bytes, suffix: str) -> None:
    assert outcome(folder / f"config{suffix}", content) is not None


LEVELS = "\n".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9))
MERGES = "\n".join(f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}" for level in range(1, 9))
HOSTILE = {
    "object": (
        "yaml",
        "seed: !!python/object/apply:pathlib.Path.touch [EXECUTED]",
        "could not determine a constructor",
    ),
    "name": ("yaml", "seed: !!python/name:os.system", "could not determine a constructor"),
    "module": ("yaml", "!!python/object/new:os.system ['touch EXECUTED']", "could not determine a constructor"),
    "billion laughs": ("yaml", f"a0: &a0 [x, x]\n{LEVELS}\nseed: *a8", "anchors and aliases are not supported"),
    "billion merges": ("yaml", f"a0: &a0 {{seed: 1}}\n{MERGES}", "anchors and aliases are not supported"),
    "yaml twice": ("yaml", "seed: 1\nseed: 2", "a name occurs more than once"),
    "json twice": ("json", '{"seed": 1, "seed": 2}', "more than once"),
    "deep yaml": ("yaml", "[" * 20_000, "cannot be read"),
    "deep json": ("json", '{"seed":' * 100_000, "cannot be read"),
    "deep value": ("json", '{"seed":' + "[" * 900 + "]" * 900 + "}", ""),
    "many digits": ("json", '{"seed": ' + "1" * 10**6 + "}", "cannot be read"),
    "long name": ("json", json.dumps({"x" * 10**6: 1}), f"unknown argument '{'x' * 37}...'"),
    "long value": ("json", json.dumps({"seed": "x" * 10**6}), "argument --seed"),
    "UTF-16": ("yaml", "seed: 1".encode("utf-16"), "cannot be read"),
}


@pytest.mark.parametrize(("suffix", "content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_and_nothing_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, content: str | bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"config.{suffix}"
    refused = outcome(path, content if isinstance(content, bytes) else content.encode())
    assert refused is not None
    assert refused.startswith(f"{path}: ") or suffix == "json"
    assert message in refused
    assert not (tmp_path / "EXECUTED").exists()


def test_a_valid_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train_file: a.csv\nlabel_noise: 0.5\n")
    data = parse([str(tmp_path / "config.yaml")])[1]
    assert isinstance(data, DataArguments)
    assert (data.train_file, data.label_noise) == ("a.csv", 0.5)
