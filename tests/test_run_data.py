"""The data of the main job: semantic noise, views of training rows, and columns that are views."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import make_model, make_text_dataset, make_tokenizer

from lane_hf import InputError
from lane_hf.augmentation.collator import ColumnView, TextView, TokenView, ViewsCollator
from lane_hf.datasets.registry import entry
from lane_hf.run import main
from lane_hf.run_arguments import DataArguments, RunConfig, parse, run_config_class
from lane_hf.run_data import make_collator, prepare_data

NAMES = ["joy", "trust", "fear", "surprise", "sadness"]


@pytest.fixture
def train_file(tmp_path: Path) -> Path:
    rows = make_text_dataset(40, 5)
    table = pd.DataFrame({"text": rows["text"], "label": [NAMES[label] for label in rows["label"]]})
    table["other"] = table["text"].str.upper()
    table.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path / "train.csv"


def config(tmp_path: Path, **changes: object) -> RunConfig:
    return run_config_class("lane")(output_dir=str(tmp_path / "out"), do_train=True, **changes)


def arguments(train_file: Path, **changes: object) -> DataArguments:
    return DataArguments(train_file=str(train_file), text_column="text", **changes)


def test_semantic_noise_goes_to_near_labels(tmp_path: Path, train_file: Path) -> None:
    order = [*NAMES[1:], NAMES[0]]  # not that of the alphabet
    assert order != sorted(order)
    wanted = arguments(
        train_file,
        label_noise=0.5,
        noise_kind="semantic",
        noise_gamma=100.0,
        label_geometry="ordinal",
        label_order=order,
        label_column="label",
    )
    train = prepare_data(wanted, config(tmp_path))["train"]
    names = train.features["label"].names
    rank = np.array([order.index(name) for name in names])
    moved = rank[np.array(train["label"])] - rank[np.array(train["original_label"])]
    flipped = np.array(train["is_flipped"])
    assert flipped.sum() == 20
    assert set(np.abs(moved[flipped])) == {1}, "with a large gamma only neighbours are taken"
    assert names == sorted(NAMES)


def test_semantic_noise_needs_distances(tmp_path: Path, train_file: Path) -> None:
    wanted = arguments(train_file, label_noise=0.5, noise_kind="semantic", label_column="label")
    with pytest.raises(InputError, match=r"give --label_geometry ordinal .* or plutchik .*another --noise_kind"):
        prepare_data(wanted, config(tmp_path))


def test_a_named_data_set_brings_its_own_distances(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": [f"text {i}" for i in range(50)], "label": list(entry("sst5").label_names) * 10})
    for split in ("train", "validation", "test"):
        table.to_csv(tmp_path / f"{split}.csv", index=False)
    wanted = DataArguments(
        dataset="sst5", data_dir=str(tmp_path), label_noise=0.4, noise_kind="semantic", noise_gamma=100.0
    )
    train = prepare_data(wanted, config(tmp_path))["train"]
    moved = np.abs(np.array(train["label"]) - np.array(train["original_label"]))
    assert set(moved[np.array(train["is_flipped"])]) == {1}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"augmentation": "synonym"}, TextView),
        ({"augmentation": "switchout"}, TokenView),
        ({"augmentation": "columns", "view_columns": ["other"]}, ColumnView),
    ],
)
def test_augmentation_makes_the_views_that_were_asked_for(train_file: Path, changes: dict, kind: type) -> None:
    collator = make_collator(arguments(train_file, num_views=3, **changes), make_tokenizer(), 16, seed=5)
    assert isinstance(collator, ViewsCollator)
    assert isinstance(collator.views[0], kind)
    assert (collator.num_views, collator.seed) == (3, 5)


@pytest.mark.parametrize(
    ("kind", "option", "attribute"),
    [("synonym", "augmentation_rate", "rate"), ("switchout", "augmentation_temperature", "temperature")],
)
def test_how_much_is_replaced_is_an_argument(train_file: Path, kind: str, option: str, attribute: str) -> None:
    wanted = arguments(train_file, augmentation=kind, **{option: 0.375})
    view = make_collator(wanted, make_tokenizer(), 16, seed=5).views[0]
    assert getattr(view.augment.__self__, attribute) == 0.375


def test_without_augmentation_the_collator_only_pads(train_file: Path) -> None:
    assert not isinstance(make_collator(arguments(train_file), make_tokenizer(), 16, seed=5), ViewsCollator)


def test_columns_of_views_must_be_named(train_file: Path) -> None:
    with pytest.raises(InputError, match="view_columns"):
        make_collator(arguments(train_file, augmentation="columns"), make_tokenizer(), 16, seed=5)


@pytest.mark.parametrize("augmentation", ["none", "synonym", "switchout", "columns"])
def test_the_main_job_trains_on_views(tmp_path: Path, train_file: Path, augmentation: str) -> None:
    make_model("bert", 5).save_pretrained(tmp_path / "model")
    make_tokenizer(tmp_path / "model")
    output_dir = tmp_path / "out"
    given = {
        "train_file": train_file,
        "text_column": "text",
        "model_name_or_path": tmp_path / "model",
        "output_dir": output_dir,
        "num_train_epochs": 3,
        "num_views": 2,
        "augmentation": augmentation,
        "bf16": False,
        "disable_tqdm": True,
    }
    argv = [f"--{name}={value}" for name, value in given.items()]
    if augmentation == "columns":
        argv += ["--view_columns", "other"]
    assert main(argv) == 0
    assert (pd.read_parquet(output_dir / "label_issues.parquet")["visits"] == 3).all()
    assert json.loads((output_dir / "run_config.json").read_text())["DataArguments"]["augmentation"] == augmentation


def test_lists_of_columns_are_parsed() -> None:
    data = parse(["--train_file", "x.csv", "--augmentation", "columns", "--view_columns", "a", "b"])[1]
    assert data.view_columns == ["a", "b"]
