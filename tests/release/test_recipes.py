"""Recipes: complete, runnable, the same as their cards, and refused in one line when damaged."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from lane_hf import InputError
from lane_hf.datasets import entry
from lane_hf.datasets import names as data_sets
from lane_hf.packaged_model import HUB_ID
from lane_hf.release.recipe_card import card_of_recipe
from lane_hf.release.recipes import FOLDER, names, read_recipe, recipe
from lane_hf.release.released import RELEASED
from lane_hf.run_arguments import parse

CARDS = Path(__file__).parents[2] / "model_cards"
OF_THE_PAPER = [name for name in data_sets() if name not in ("demo", "trec")]
WITH_MINILM = ("sst5", "goemotions", "trec")
ENCODERS = {"bert": "bert-base-uncased", "roberta": "roberta-base", "minilm": HUB_ID}
# Their cards hold the figures of a run, which no test can repeat.
TRAINED = {"goemotions-minilm", "sst5-minilm", "trec-minilm"}
GOOD = {"name": "own", "repo": None, "summary": "A summary.", "arguments": {"dataset": "sst5"}}


def test_there_is_a_recipe_for_each_data_set_of_the_paper() -> None:
    base = {f"{name}-{kind}" for name in OF_THE_PAPER for kind in ("bert", "roberta")}
    assert len(OF_THE_PAPER) == 11
    assert set(names()) == {*base, *(f"{name}-minilm" for name in WITH_MINILM)}
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.yaml" for name in names()}


@pytest.mark.parametrize("name", names())
def test_the_main_job_takes_every_recipe(name: str) -> None:
    found = recipe(name)
    data_set, _, kind = name.rpartition("-")
    model, data, config = parse(found.words)
    assert data.dataset == found.dataset == data_set
    assert found.encoder == ENCODERS[kind]
    assert model.model_name_or_path == (None if kind == "minilm" else found.encoder)
    assert (model.max_length, config.num_train_epochs, config.per_device_train_batch_size) == (128, 4, 32)
    assert config.learning_rate == (1e-4 if kind == "minilm" else 3e-5)
    assert config.method == "lane"
    assert parse(found.plain_command.split()[2:])[1].dataset == data_set
    assert ("--data_dir FOLDER" in found.command) == (entry(data_set).hub_id is None)


@pytest.mark.parametrize("name", names())
def test_a_recipe_names_a_repository_only_once_it_is_released(name: str) -> None:
    assert recipe(name).repo == (RELEASED[name].repo_id if name in RELEASED else None)


# ---- Cards ----


def test_each_recipe_has_its_card_and_no_other_is_there() -> None:
    assert set(RELEASED) <= TRAINED
    assert {path.name for path in CARDS.iterdir()} == {f"{name}.md" for name in names()}


@pytest.mark.parametrize("name", names())
def test_a_card_is_what_the_command_writes(name: str) -> None:
    text = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    if name in TRAINED:
        assert "Not yet trained" not in text
    else:
        assert text == card_of_recipe(recipe(name)), "write it again with lane release card"


@pytest.mark.parametrize("name", names())
def test_the_card_of_what_is_not_trained_claims_no_result(name: str) -> None:
    found, text = recipe(name), card_of_recipe(recipe(name))
    assert "**Not yet trained.**" in text
    assert f"```bash\n{found.command}\n```" in text
    assert f"```bash\n{found.plain_command}\n```" in text
    data = ModelCard(text).data.to_dict()
    assert "model-index" not in data
    assert data["base_model"] == found.encoder
    assert data["language"] == entry(found.dataset).language
    assert data.get("datasets") == ([entry(found.dataset).hub_id] if entry(found.dataset).hub_id else None)
    for word in ("Results", "Accuracy", "Macro-F1", "%", "Rows seen", "Training time", "pipeline(", "@"):
        assert word not in text, word


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_the_card_of_what_is_trained_is_of_its_recipe(name: str) -> None:
    found, text = recipe(name), (CARDS / f"{name}.md").read_text(encoding="utf-8")
    assert ("**Trained, not on the Hub.**" in text) == (name not in RELEASED)
    assert f"```bash\n{found.command}\n```" in text
    assert f"Labels: {', '.join(entry(found.dataset).label_names)}." in text
    cells = dict(re.findall(r"^\| (\w[\w ]*) \| ([\d.]+|\w+) \|", text.replace("\\", ""), re.MULTILINE))
    for argument in ("num_train_epochs", "learning_rate", "per_device_train_batch_size"):
        assert float(cells[argument]) == found.arguments[argument]
    assert cells["method"] == "lane"
    assert ModelCard(text).data.language == entry(found.dataset).language
    results = ModelCard(text).data.to_dict()["model-index"][0]["results"]
    assert [each["dataset"]["split"] for each in results] == ["test", "validation"]
    for split in results:
        for metric in split["metrics"]:
            assert 0 < metric["value"] < 1
            shown = re.findall(rf"\| {metric['name']} \| ([\d.]+) \|", text)
            # Three digits there, four here.
            assert any(abs(float(each) - metric["value"]) < 6e-4 for each in shown)


# ---- Reading ----


def write(folder: Path, content: Any, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_recipe_is_read_as_it_was_written(tmp_path: Path) -> None:
    arguments = {"dataset": "sst5", "label_order": ["low", "high"], "seed": 7, "method": "aum"}
    found = read_recipe(write(tmp_path, {**GOOD, "repo": "user/model", "arguments": arguments}))
    assert found.words == ["--dataset", "sst5", "--label_order", "low", "high", "--seed", "7", "--method", "aum"]
    assert (found.repo, found.summary, found.encoder) == ("user/model", "A summary.", HUB_ID)
    assert "Method: `aum` of `lane_hf`" in card_of_recipe(found)
    with pytest.raises(TypeError):
        found.arguments["seed"] = 8  # type: ignore[index]


DAMAGED: dict[str, tuple[Any, str]] = {
    "no yaml": ("name: [", "cannot be read ("),
    "an alias": ("name: &a own\nrepo: *a", "anchors and aliases are not supported"),
    "a list": ("- own", "expected names and values"),
    "empty": ("", "expected names and values"),
    "twice": ("name: own\nname: own", "a name occurs more than once"),
    "no summary": ({k: v for k, v in GOOD.items() if k != "summary"}, "a recipe needs 'summary'"),
    "more": ({**GOOD, "metrics": {"accuracy": 1.0}}, "a recipe has no 'metrics'"),
    "another name": ({**GOOD, "name": "other"}, "but the file is called 'own'"),
    "no repository": ({**GOOD, "repo": "model"}, "repo must be null or a repository"),
    "a path": ({**GOOD, "repo": "../model"}, "repo must be null or a repository"),
    "two lines": ({**GOOD, "summary": "one\ntwo"}, "summary must be one line"),
    "a number": ({**GOOD, "summary": 7}, "summary must be one line"),
    "no arguments": ({**GOOD, "arguments": None}, "arguments must be names and values"),
    "no data set": ({**GOOD, "arguments": {"seed": 7}}, "arguments need a dataset"),
    "an unknown data set": (
        {**GOOD, "arguments": {"dataset": "newsgroups"}},
        "the data set 'newsgroups' has no entry",
    ),
    "data sets": ({**GOOD, "arguments": {"dataset": ["sst5"]}}, "unhashable"),
    "a folder": ({**GOOD, "arguments": {"dataset": "sst5", "data_dir": "d"}}, "data_dir belongs to one run"),
    "a token": ({**GOOD, "arguments": {"dataset": "sst5", "hub_token": "t"}}, "hub_token belongs to one run"),
    "nothing": ({**GOOD, "arguments": {"dataset": "sst5", "seed": None}}, "'seed' needs a text, a number or a list"),
    "an encoder's folder": (
        {**GOOD, "arguments": {"dataset": "sst5", "model_name_or_path": "/home/me/bert"}},
        "model_name_or_path must be the id of a model on the Hub",
    ),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_recipe_is_refused_in_one_line(content: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_good_recipe_is_good(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path, GOOD)).name == "own"


@pytest.mark.parametrize("name", ["goemotions-bret", "../recipe_files/sst5-bert", "", "x" * 500])
def test_an_unknown_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^there is no recipe .*: lane release list shows them all$") as caught:
        recipe(name)
    assert len(str(caught.value)) < 200
    assert ("did you mean goemotions-bert?" in str(caught.value)) == (name == "goemotions-bret")
