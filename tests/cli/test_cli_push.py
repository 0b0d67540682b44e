"""`lane push` before anything reaches the Hub: what is refused, and what would be uploaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runs import Run

Lane = Callable[..., str]


@pytest.fixture
def done(run: Run) -> Run:
    """A run with the files of its model."""
    for name in ("config.json", "model.safetensors"):
        (run.folder / name).write_text("{}")
    return run


@pytest.mark.parametrize("name", ["my run", "a/b/c", "-model", "user/model."])
def test_a_name_that_the_hub_does_not_take_is_refused_before_the_card_is_written(
    done: Run, refused: Lane, name: str
) -> None:
    (done.folder / "README.md").write_text("mine")
    for more in ((), ("--dry_run",)):
        message = refused("push", done.folder, f"--repo_id={name}", *more)
        assert f"the repository cannot be called '{name}'" in message
        assert "name it with --repo_id, such as user/model" in message
    assert (done.folder / "README.md").read_text() == "mine"


def test_a_folder_whose_name_the_hub_does_not_take_needs_another(done: Run, refused: Lane, lane: Lane) -> None:
    folder = done.folder.with_name("my run")
    shutil.copytree(done.folder, folder)
    assert "cannot be called 'my run'" in refused("push", folder, "--dry_run")
    assert not (folder / "README.md").exists()
    assert json.loads(lane("push", folder, "--repo_id", "user/model", "--dry_run", "--json"))["files"]


def test_a_dry_run_names_all_that_would_be_uploaded(done: Run, lane: Lane) -> None:
    files = ["README.md", "config.json", "model.safetensors"]
    assert json.loads(lane("push", done.folder, "--dry_run", "--json"))["files"] == files
    (done.folder / "training_args.json").write_text("{}")
    assert json.loads(lane("push", done.folder, "--dry_run", "--json"))["files"] == [*files, "training_args.json"]


def test_a_model_that_was_trained_in_python_keeps_its_card(tmp_path: Path, lane: Lane, refused: Lane) -> None:
    """What `trainer.push_to_hub()` leaves if the Hub is down: no run of `lane train`, but model and card."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    assert "holds no label_issues.parquet" in refused("push", folder, "--dry_run")
    (folder / "README.md").write_text("of the trainer")
    said = lane("push", folder, "--dry_run")
    assert said.startswith(f"Card as it is: {folder / 'README.md'}. Would be uploaded: README.md, config.json, ")
    assert (folder / "README.md").read_text() == "of the trainer"
    for option in ("--language", "--license", "--baseline"):
        assert f"leave {option} out" in refused("push", folder, "--dry_run", option, "en")
    (folder / "model.safetensors").unlink()
    assert "it holds no model" in refused("push", folder, "--dry_run")


def test_a_card_that_people_have_changed_stays_as_it_is(done: Run, lane: Lane, refused: Lane) -> None:
    card = done.folder / "README.md"
    assert lane("push", done.folder, "--dry_run").startswith(f"Written: {card}. Would be uploaded: README.md, ")
    first = card.read_text()
    assert lane("push", done.folder, "--dry_run", "--license", "mit").startswith(f"Written: {card}.")
    assert card.read_text() != first  # nobody has worked on it
    card.write_text(f"{first}\nWhat I know of it.\n")
    assert lane("push", done.folder, "--dry_run").startswith(f"Card as it is: {card}.")
    assert card.read_text().endswith("What I know of it.\n")
    message = refused("push", done.folder, "--dry_run", "--license", "mit")
    assert f"{card} stays as it is (it was changed by hand): leave --license out, or remove the file" in message
    card.unlink()
    assert lane("push", done.folder, "--dry_run", "--license", "mit").startswith(f"Written: {card}.")


# ---- The baseline ----


@pytest.fixture
def plain(done: Run) -> Run:
    """Ordinary fine-tuning on the same data."""
    baseline = Run(done.folder.with_name("plain"))
    baseline.settings["DataArguments"]["train_file"] = str(done.train_file)
    baseline.settings["RunConfig"]["method"] = "plain"
    baseline.write("run_config.json", baseline.settings)
    baseline.write("metrics.json", {"test_accuracy": 0.375})
    return baseline


def test_the_scores_of_the_baseline_stand_beside_the_models(done: Run, plain: Run, lane: Lane) -> None:
    lane("push", done.folder, "--dry_run", "--baseline", plain.folder)
    assert "| Accuracy | 0.750 | 0.375 |" in (done.folder / "README.md").read_text()


OTHER = {
    "method": ("RunConfig", "method", "gce", "this is a run with method gce"),
    "epochs": ("RunConfig", "num_train_epochs", 9.0, "has num_train_epochs 9.0, but the run has 4.0"),
    "encoder": (
        "ModelArguments",
        "model_name_or_path",
        "org/large",
        "has model_name_or_path org/large, but the run has org/small",
    ),
    "test data": (
        "DataArguments",
        "test_file",
        "/data/other.csv",
        "has test_file /data/other.csv, but",
    ),
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_a_run_of_something_else_is_no_baseline(
    done: Run, plain: Run, refused: Lane, other: tuple[str, str, object, str]
) -> None:
    group, name, value, message = other
    more = {"RunConfig": {"num_train_epochs": 4.0}, "ModelArguments": {"model_name_or_path": "org/small"}}
    more["DataArguments"] = {"test_file": "/data/test.csv"}
    for run in (done, plain):
        for each, values in more.items():
            run.settings.setdefault(each, {}).update(values)
        run.write("run_config.json", run.settings)
    plain.settings[group][name] = value
    plain.write("run_config.json", plain.settings)
    said = refused("push", done.folder, "--dry_run", "--baseline", plain.folder)
    assert said.startswith(f"{plain.folder}: ")
    assert message in said
    assert not (done.folder / "README.md").exists()


def test_a_run_on_other_labels_is_no_baseline(done: Run, plain: Run, refused: Lane) -> None:
    plain.change_issues(text=plain.issues["text"] + ".")
    assert "other rows or labels" in refused("push", done.folder, "--dry_run", "--baseline", plain.folder)
    given = plain.issues["given_label"].copy()
    given.iloc[0] = "dog" if given.iloc[0] != "dog" else "cow"
    plain.change_issues(given_label=given)
    said = refused("push", done.folder, "--dry_run", "--baseline", plain.folder)
    assert "was trained on other rows or labels" in said
    (plain.folder / "run_config.json").unlink()
    assert "no run of lane train" in refused("push", done.folder, "--dry_run", "--baseline", plain.folder)
