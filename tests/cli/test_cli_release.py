"""`lane release`: list, train, card, push."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_hub import FakeHub, run_client
from tiny import make_model, make_text_dataset, make_tokenizer

from lane_hf import run
from lane_hf.cli import main
from lane_hf.datasets import entry
from lane_hf.release import recipes, released
from lane_hf.release.recipe_card import card_of_recipe
from lane_hf.release.recipes import names, recipe
from lane_hf.release.released import Release

Lane = Callable[..., str]
LABELS = entry("sst5").label_names


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder, and the data set sst5 in plain files."""
    folder = tmp_path_factory.mktemp("inputs")
    make_model("bert", len(LABELS)).save_pretrained(folder / "tiny")
    make_tokenizer(folder / "tiny")
    (folder / "data").mkdir()
    for seed, split in enumerate(("train", "validation", "test")):
        rows = make_text_dataset(32, len(LABELS), seed)
        table = pd.DataFrame({"text": rows["text"], "label": [LABELS[label] for label in rows["label"]]})
        table.to_csv(folder / "data" / f"{split}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(inputs: Path) -> Path:
    """The folder of a run of sst5-bert with the tiny encoder."""
    tiny = ["--model_name_or_path", str(inputs / "tiny"), "--disable_tqdm", "True", "--bf16", "False"]
    files = ["--data-dir", str(inputs / "data"), "--output_dir", str(inputs / "run")]
    assert main(["release", "train", "sst5-bert", *files, *tiny]) == 0
    return inputs / "run"


# ---- list ----


def test_the_list_says_that_nothing_is_trained(lane: Lane) -> None:
    lines = lane("release", "list").splitlines()
    assert [line.split()[0] for line in lines] == ["name", *names()]
    assert all(line.endswith("not trained") for line in lines[1:])
    found = {line["name"]: line for line in json.loads(lane("release", "list", "--json"))}
    assert found["isear-roberta"] == {
        "name": "isear-roberta",
        "dataset": "isear",
        "encoder": "roberta-base",
        "data": "files",
        "status": "not trained",
        "repo": None,
    }
    assert found["goemotions-minilm"]["data"] == "hub"


def test_the_list_says_what_is_trained_and_released(
    lane: Lane, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "sst5-bert")
    (tmp_path / "runs" / "isear-bert").mkdir()  # begun, not done
    monkeypatch.setattr(released, "RELEASED", {"yelp-bert": Release("user/yelp", "0" * 40, "0" * 64)})
    found = {line["name"]: line for line in json.loads(lane("release", "list", "--json"))}
    assert found["sst5-bert"]["status"] == f"trained in {Path('runs') / 'sst5-bert'}"
    assert found["isear-bert"]["status"] == "not trained"
    assert (found["yelp-bert"]["status"], found["yelp-bert"]["repo"]) == ("released", "user/yelp")


# ---- train ----


def test_training_takes_the_recipe(trained: Path, inputs: Path) -> None:
    settings = json.loads((trained / "run_config.json").read_text())
    expected = dict(recipe("sst5-bert").arguments) | {"model_name_or_path": str(inputs / "tiny")}
    found = {**settings["ModelArguments"], **settings["DataArguments"], **settings["RunConfig"]}
    assert {name: found[name] for name in expected} == expected
    assert "test_accuracy" in json.loads((trained / "metrics.json").read_text())


def test_what_is_given_overrides_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(run, "main", lambda argv, program: seen.append((argv, program)) or 1)
    assert main(["release", "train", "isear-bert", "--data_dir", "d", "--num-train-epochs", "1", "--fp16"]) == 1
    more = ["--data_dir", "d", "--output_dir", str(Path("runs") / "isear-bert"), "--num_train_epochs", "1", "--fp16"]
    assert seen == [([*recipe("isear-bert").words, *more], "lane release train isear-bert")]


def test_interrupted_training_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "main", interrupted)
    assert main(["release", "train", "sst5-bert"]) == 130
    assert "--resume_from_checkpoint" in capsys.readouterr().err


def test_what_cannot_be_trained_is_one_line(refused: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "did you mean sst5-bert?" in refused("release", "train", "sst5-brt")
    assert "isear" in refused("release", "train", "isear-bert")  # its files must be requested
    assert "did you mean seed?" in refused("release", "train", "sst5-bert", "--sed", 7)
    (tmp_path / "own.yaml").write_text("name: own\nrepo: null\nsummary: x\narguments: {dataset: newsgroups}\n")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    for action in ("train", "card", "push"):
        assert refused("release", action, "own").startswith(f"{tmp_path / 'own.yaml'}: the data set 'newsgroups'")
    assert refused("release", "list").startswith(f"{tmp_path / 'own.yaml'}: ")


def test_an_action_is_needed_and_its_options_are_known(refused: Lane) -> None:
    assert "ACTION" in refused("release")
    assert refused("release", "list", "--all") == "unknown argument --all. See lane release --help"


# ---- card ----


def test_cards_of_what_is_not_trained(lane: Lane, tmp_path: Path) -> None:
    said = lane("release", "card", "sst5-bert")
    path = Path("model_cards") / "sst5-bert.md"
    assert said == f"Written: {path}\n"
    assert path.read_text() == card_of_recipe(recipe("sst5-bert"))
    written = json.loads(lane("release", "card", "--cards_dir", tmp_path / "all", "--json"))["cards"]
    assert written == [str(tmp_path / "all" / f"{name}.md") for name in names()]
    assert all(Path(each).is_file() for each in written)


def test_the_card_of_a_run_has_its_figures(lane: Lane, trained: Path, inputs: Path) -> None:
    lane("release", "card", "sst5-bert", "--run_dir", trained)
    text = (Path("model_cards") / "sst5-bert.md").read_text()
    accuracy = json.loads((trained / "metrics.json").read_text())["test_accuracy"]
    assert "Not yet trained" not in text
    assert "**Trained, not on the Hub.**" in text
    assert f'pipeline("text-classification", "{Path("runs") / "sst5-bert"}")' in text
    assert "```bash\nlane release train sst5-bert\n```" in text
    assert f"| Accuracy | {accuracy:.3f} |" in text
    assert text.startswith("---\n")
    assert "\n# sst5-bert\n" in text
    assert str(inputs) not in text
    shutil.copytree(trained, Path("runs") / "sst5-bert")
    lane("release", "card", "sst5-bert", "--cards_dir", "found")
    assert (Path("found") / "sst5-bert.md").read_text() == text


def test_ordinary_fine_tuning_by_the_same_recipe_stands_beside_the_model(
    lane: Lane, refused: Lane, trained: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(trained, plain)
    command = ["release", "card", "sst5-bert", "--run_dir", trained, "--baseline", plain]
    assert "this run has method lane, but the recipe sst5-bert has plain" in refused(*command)
    settings = json.loads((plain / "run_config.json").read_text())
    settings["RunConfig"]["method"] = "plain"
    (plain / "run_config.json").write_text(json.dumps(settings))
    (plain / "metrics.json").write_text(json.dumps({"test_accuracy": 0.375}))
    lane(*command)
    text = (Path("model_cards") / "sst5-bert.md").read_text()
    accuracy = json.loads((trained / "metrics.json").read_text())["test_accuracy"]
    assert f"| Accuracy | {accuracy:.3f} | 0.375 |" in text
    assert "there is no run whose card" in refused("release", "card", "isear-bert", "--baseline", plain)


def test_the_card_of_a_released_run_names_its_repository(
    lane: Lane, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released, "RELEASED", {"sst5-bert": Release("user/sst5", "0" * 40, "0" * 64)})
    lane("release", "card", "sst5-bert", "--run_dir", trained)
    text = (Path("model_cards") / "sst5-bert.md").read_text()
    assert "not on the Hub" not in text
    assert str(Path("runs")) not in text


@pytest.mark.parametrize(
    "setting",
    [
        ("DataArguments", "dataset", "isear"),
        ("DataArguments", "label_noise", 0.2),
        ("DataArguments", "max_train_samples", 10),
        ("ModelArguments", "model_name_or_path", "roberta-base"),
        ("RunConfig", "num_train_epochs", 1.0),
        ("RunConfig", "method", "aum"),
    ],
)
def test_a_run_of_something_else_gets_no_card(
    setting: tuple[str, str, Any], refused: Lane, trained: Path, tmp_path: Path
) -> None:
    group, name, value = setting
    shutil.copytree(trained, tmp_path / "run")
    settings = json.loads((trained / "run_config.json").read_text())
    settings[group][name] = value
    if name == "model_name_or_path":
        settings["local_paths"] = []  # it comes from the Hub
    (tmp_path / "run" / "run_config.json").write_text(json.dumps(settings))
    for action in ("card", "push"):
        said = refused("release", action, "sst5-bert", "--run_dir", tmp_path / "run")
        assert said.startswith(f"{tmp_path / 'run'}: this run has {name} {value}, but the recipe sst5-bert has ")
    assert not Path("model_cards").exists()


def test_what_has_no_card_is_refused(refused: Lane, trained: Path, tmp_path: Path) -> None:
    assert "no such folder" in refused("release", "card", "sst5-bert", "--run_dir", tmp_path / "no")
    for option in ("--run_dir", "--baseline"):
        assert f"{option} is the folder of one run" in refused("release", "card", option, trained)
    assert "there is no recipe 'x'" in refused("release", "card", "x")
    (tmp_path / "file").touch()
    assert "it is no folder" in refused("release", "card", "sst5-bert", "--cards_dir", tmp_path / "file")


# ---- push ----


def test_a_dry_run_uploads_nothing(lane: Lane, refused: Lane, trained: Path) -> None:
    facts = json.loads(lane("release", "push", "sst5-bert", "--run_dir", trained, "--dry_run", "--json"))
    assert "model.safetensors" in facts["files"]
    assert "label_issues.parquet" not in facts["files"]
    assert "no such folder" in refused("release", "push", "sst5-bert")  # runs/sst5-bert is not there


def test_pushing_says_what_to_note_down(hub: FakeHub, trained: Path) -> None:
    arguments = ["release", "push", "sst5-bert", "--run_dir", str(trained), "--repo_id", "owner/sst5-bert"]
    done = run_client(f"import sys\nfrom lane_hf.cli import main\nsys.exit(main({arguments!r}))", hub)
    assert done.returncode == 0, done.stderr
    files = hub.files("owner/sst5-bert")
    assert b"\n# owner/sst5-bert\n" in files["README.md"]
    assert b"\nlanguage: en\n" in files["README.md"]
    line = done.stdout.splitlines()[-1].strip()
    assert line.startswith('"sst5-bert": Release(')
    release = eval(line.removeprefix('"sst5-bert": ').removesuffix(","), {"Release": Release})  # noqa: S307
    assert release.repo_id == "owner/sst5-bert"
    assert release.revision == hub.commits("owner/sst5-bert")[0].oid
    assert release.sha256 == hashlib.sha256(files["model.safetensors"]).hexdigest()
    metrics = json.loads((trained / "metrics.json").read_text())
    assert release.metrics["Accuracy"] == round(metrics["test_accuracy"], 4)
