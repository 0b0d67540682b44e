"""The main job from arguments to files, with tiny models, and every accident as one line."""

import json
import math
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from job import NAMES, Job, Outcome
from tiny import make_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lane_hf.datasets.tables import SUFFIXES
from lane_hf.report.table import COLUMNS
from lane_hf.run import _predict, _version, detection_metrics, main, use_all_cores
from lane_hf.run_arguments import run_config_class


def assert_refused(outcome: Outcome, *messages: str, alone: bool = True) -> None:
    """Assert exit status 2 and one line on standard error; without `alone`, below what loading a model writes."""
    assert outcome.status == 2
    *before, line = outcome.err.splitlines()
    assert outcome.err.endswith("\n")
    assert line.startswith("error: ")
    assert not (alone and before)
    for message in messages:
        assert message in line


# What a run writes


def test_a_whole_run_writes_everything(job: Job) -> None:
    files = {
        "train_file": job.data("train.csv"),
        "validation_file": job.data("dev.csv", 16, seed=1),
        "test_file": job.data("test.csv", 16, seed=2),
    }
    outcome = job(**files, label_noise=0.25, hub_token="secret", seed=3)
    assert outcome.status == 0
    for line in ("Training with lane on 1 process (cpu, ", "== lane ==", "Label issues:", "Predictions:"):
        assert line in outcome.out

    metrics = job.metrics()
    expected = {
        f"{split}_{name}" for split in ("eval", "test") for name in ("accuracy", "f1_macro", "f1_weighted", "loss")
    }
    areas = {"detection_auroc", "detection_average_precision", "detection_precision_at_5_percent"}
    assert metrics.keys() >= {*expected, *areas, "train_runtime", "train_loss"}
    assert all(0 <= metrics[name] <= 1 for name in {*expected, *areas} if not name.endswith("loss"))

    issues = job.issues()
    assert list(issues.columns) == [*COLUMNS, "is_flipped"]
    assert sorted(issues["row_id"]) == list(range(32))
    assert issues["is_flipped"].sum() == 8
    # The flag belongs to its row: the flipped rows are those whose given label differs from the file's.
    true = pd.read_csv(files["train_file"])["label"][issues["row_id"]].to_numpy()
    assert ((issues["given_label"] != true) == issues["is_flipped"]).all()

    predictions = pd.read_csv(job.output_dir / "predictions.csv")
    assert list(predictions.columns) == ["row", "label", "confidence"]
    assert predictions["row"].tolist() == list(range(16))
    assert set(predictions["label"]) <= set(NAMES)
    assert predictions["confidence"].between(0.25, 1).all()
    accuracy = (predictions["label"] == pd.read_csv(files["test_file"])["label"]).mean()
    assert metrics["test_accuracy"] == pytest.approx(accuracy)

    settings = job.settings()
    assert settings["DataArguments"]["label_noise"] == 0.25
    assert settings["DataArguments"]["noise_seed"] == settings["RunConfig"]["seed"] == 3
    assert settings["RunConfig"]["learning_rate"] == 1e-3
    assert settings["ModelArguments"]["model_name_or_path"] == str(job.model)
    assert settings["versions"]["torch"] == torch.__version__
    assert settings["versions"].keys() >= {
        "python",
        "lane_hf",
        "transformers",
        "accelerate",
        "datasets",
        "scikit-learn",
    }
    assert settings["processes"] == 1
    written = [path for path in job.output_dir.rglob("*") if path.is_file()]
    assert any(path.name == "training_args.bin" for path in written)
    assert [path.name for path in written if b"secret" in path.read_bytes()] == []
    assert "secret" not in outcome.out + outcome.err


def test_the_checkpoint_is_an_ordinary_one(job: Job) -> None:
    test = job.data("test.csv", 16, seed=2)
    assert job(train_file=job.data(), test_file=test).status == 0
    assert {path.name for path in job.output_dir.iterdir()} >= {"model.safetensors", "config.json", "tokenizer.json"}
    model = AutoModelForSequenceClassification.from_pretrained(job.output_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(job.output_dir)
    assert model.config.id2label == dict(enumerate(NAMES))
    assert model.config.label2id == {name: index for index, name in enumerate(NAMES)}
    with torch.no_grad():
        logits = model(**tokenizer(pd.read_csv(test)["text"].tolist(), padding=True, return_tensors="pt")).logits
    predictions = pd.read_csv(job.output_dir / "predictions.csv")
    assert predictions["label"].tolist() == [NAMES[label] for label in logits.argmax(dim=1)]
    np.testing.assert_allclose(predictions["confidence"], logits.softmax(dim=1).amax(dim=1), atol=1e-5)


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".csv"])
def test_every_kind_of_file_gives_the_same_run(job: Job, suffix: str) -> None:
    for name in (f"data{suffix}", "data.csv"):
        outcome = job(train_file=job.data(name), output_dir=job.folder / name.replace(".", "_"), save_strategy="no")
        assert outcome.status == 0
    first, second = (job.metrics(job.folder / name) for name in (f"data_{suffix[1:]}", "data_csv"))
    assert first["train_loss"] == second["train_loss"]


def test_training_learns_and_finds_flipped_labels(job: Job) -> None:
    outcome = job(
        train_file=job.data(num_rows=256),
        test_file=job.data("test.csv", 64, seed=2),
        label_noise=0.2,
        num_train_epochs=6,
        weighting_warmup=3,  # a model that starts from nothing knows nothing about labels after one epoch
        per_device_train_batch_size=8,
        save_strategy="no",
    )
    assert outcome.status == 0
    # Chance is 0.25, and 0.5 for the area.
    assert job.metrics()["test_accuracy"] > 0.7
    assert job.metrics()["detection_auroc"] > 0.75


def test_plain_fine_tuning_is_another_method_on_the_same_loop(job: Job) -> None:
    outcome = job(train_file=job.data(), test_file=job.data("test.csv", 8), method="plain", label_noise=0.25)
    assert outcome.status == 0
    assert "Training with plain" in outcome.out
    assert "== plain ==" in outcome.out
    assert (job.issues()["weight"] == 1).all()
    np.testing.assert_allclose(job.issues()["alm"], job.issues()["aum"])
    assert job.settings()["RunConfig"]["method"] == "plain"
    assert 0 <= job.metrics()["detection_auroc"] <= 1


def test_without_validation_and_test_data_training_still_runs(job: Job) -> None:
    outcome = job(train_file=job.data())
    assert outcome.status == 0
    assert not [name for name in job.metrics() if name.startswith(("eval_", "test_", "detection_"))]
    assert list(job.issues().columns) == list(COLUMNS)
    assert not (job.output_dir / "predictions.csv").exists()
    assert "Predictions:" not in outcome.out


def test_an_unlabelled_test_file_gives_predictions_only(job: Job) -> None:
    outcome = job(train_file=job.data(), test_file=job.data("test.jsonl", 8, labels=False))
    assert outcome.status == 0
    assert len(pd.read_csv(job.output_dir / "predictions.csv")) == 8
    assert "test_accuracy" not in job.metrics()
    assert "test_runtime" in job.metrics()
    assert "Predictions:" in outcome.out
    assert "Test:" not in outcome.out


@pytest.mark.parametrize(("steps", "evaluated"), [(["--do_predict"], False), (["--do_predict", "--do_eval"], True)])
def test_a_trained_model_can_be_used_without_training(job: Job, steps: list[str], evaluated: bool) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    if evaluated:
        files["validation_file"] = job.data("dev.csv", 8)
    outcome = job(*steps, **files)
    assert outcome.status == 0
    assert "train_runtime" not in job.metrics()
    assert ("eval_accuracy" in job.metrics()) == evaluated
    assert not (job.output_dir / "label_issues.parquet").exists()
    # The given model, whose head has as many labels, is used as it is.
    with torch.no_grad():
        model = AutoModelForSequenceClassification.from_pretrained(job.model).eval()
        inputs = AutoTokenizer.from_pretrained(job.model)(
            pd.read_csv(files["test_file"])["text"].tolist(), padding=True
        )
        labels = model(**inputs.convert_to_tensors("pt")).logits.argmax(dim=1)
    assert pd.read_csv(job.output_dir / "predictions.csv")["label"].tolist() == [NAMES[label] for label in labels]


def test_steps_can_be_chosen_without_data_for_the_others(job: Job) -> None:
    outcome = job("--do_train", "--do_predict", train_file=job.data(), test_file=job.data("test.csv", 8))
    assert outcome.status == 0
    assert job.metrics().keys() >= {"train_runtime", "test_accuracy"}


def test_a_checkpoint_of_another_task_gets_a_new_head(job: Job) -> None:
    train = job.write("train.csv", "text,label\n" + "happy joy,glad\nsad cry,sad\n" * 8)
    assert job(train_file=train).status == 0
    assert AutoModelForSequenceClassification.from_pretrained(job.output_dir).config.id2label == {0: "glad", 1: "sad"}


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["0", "1", "2"], ["0", "1", "2"]),
        (["2.0", "1.0", "10.0"], ["1", "2", "10"]),
        (["NA", "null", "Ärger"], ["NA", "null", "Ärger"]),
        (["true", "false", "true"], ["false", "true"]),
    ],
)
def test_labels_become_the_names_of_the_model(job: Job, cells: list[str], names: list[str]) -> None:
    rows = [f'"Grüße, 東京\nline {number} happy",{cell}' for number, cell in enumerate(cells * 4)]
    train = job.write("train.csv", b"\xef\xbb\xbf" + ("text,label\n" + "\n".join(rows)).encode())
    assert job(train_file=train, save_strategy="no").status == 0
    config = json.loads((job.output_dir / "config.json").read_text())
    assert list(config["id2label"].values()) == names
    assert set(job.issues()["given_label"]) == set(names)


def test_text_longer_than_the_model_takes_is_cut(job: Job) -> None:
    train = job.write("train.csv", "text,label\n" + f"{'happy ' * 500},a\n{'cry ' * 500},b\n" * 4)
    assert job(train_file=train, max_length=1000).status == 0


def test_the_demo_needs_no_arguments(job: Job) -> None:
    with pytest.warns(UserWarning, match="labels have no row in the training set"):
        outcome = job(max_train_samples=64, save_strategy="no", method="plain", eval_strategy="no")
    assert outcome.status == 0
    assert job.settings()["DataArguments"]["label_noise"] == 0.2
    assert len(job.issues()) == 64
    assert job.issues()["is_flipped"].sum() == round(0.2 * 64)
    assert job.metrics().keys() >= {"eval_accuracy", "test_accuracy"}


def test_fewer_training_rows_are_drawn_by_the_seed(job: Job) -> None:
    drawn = []
    for seed in (1, 1, 2):
        outcome = job(train_file=job.data(), max_train_samples=24, seed=seed, save_strategy="no", num_train_epochs=2)
        assert outcome.status == 0
        assert len(job.issues()) == 24
        drawn.append(job.issues().sort_values("row_id")["given_label"].tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert job(train_file=job.data(), max_train_samples=1000, save_strategy="no").status == 0
    assert len(job.issues()) == 32


def test_the_same_seed_gives_the_same_run(job: Job) -> None:
    files = {
        "train_file": job.data(),
        "validation_file": job.data("dev.csv", 16),
        "test_file": job.data("test.csv", 16),
    }
    runs = []
    for number, seed in enumerate((5, 5, 6)):
        folder = job.folder / str(number)
        assert job(**files, label_noise=0.25, seed=seed, num_train_epochs=2, output_dir=folder).status == 0
        metrics = {name: value for name, value in job.metrics(folder).items() if "runtime" not in name}
        metrics = {name: value for name, value in metrics.items() if "per_second" not in name}
        runs.append(
            (metrics, pd.read_parquet(folder / "label_issues.parquet"), (folder / "predictions.csv").read_bytes())
        )
    assert runs[0][0] == runs[1][0]
    pd.testing.assert_frame_equal(runs[0][1], runs[1][1])
    assert runs[0][2] == runs[1][2]
    assert runs[0][0] != runs[2][0]


def test_noise_has_a_seed_of_its_own(job: Job) -> None:
    flipped = []
    for seed, noise_seed in ((1, 7), (2, 7), (1, 8)):
        settings = {"label_noise": 0.25, "seed": seed, "noise_seed": noise_seed, "noise_kind": "pair"}
        assert job(train_file=job.data(), save_strategy="no", **settings).status == 0
        issues = job.issues()
        flipped.append(set(issues["row_id"][issues["is_flipped"]]))
    assert flipped[0] == flipped[1] != flipped[2]


# Settings from files


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_settings_come_from_a_file_and_the_command_line_overrides_them(job: Job, name: str) -> None:
    content = {"train_file": job.data(), "seed": 7, "learning_rate": 1e-4, "label_noise": 0.25, "save_strategy": "no"}
    text = "\n".join(f"{key}: {value}" for key, value in content.items()).replace("0.0001", "1e-4")
    path = job.write(name, text if name.endswith("yaml") else json.dumps(content))
    assert "1e-4" in text
    assert job(path, "--seed", "8", learning_rate=None).status == 0
    config = job.settings()["RunConfig"]
    assert (config["seed"], config["learning_rate"], config["save_strategy"]) == (8, 1e-4, "no")
    assert job.issues()["is_flipped"].sum() == 8


def test_the_learning_rate_depends_on_the_model(job: Job) -> None:
    assert job(train_file=job.data(), learning_rate=None, save_strategy="no").status == 0
    assert job.settings()["RunConfig"]["learning_rate"] == 3e-5


def test_help_says_how_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name in (
        "--train_file",
        "--label_noise",
        "--method METHOD",
        "--weighting",
        "--learning_rate",
        "usage: ",
    ):
        assert name in shown


# Resuming


def test_a_run_continues_from_its_last_checkpoint(job: Job) -> None:
    settings = {"train_file": job.data(), "label_noise": 0.25, "lr_scheduler_type": "constant", "save_total_limit": 2}
    assert job(**settings, num_train_epochs=2, output_dir=job.folder / "whole").status == 0
    assert job(**settings, num_train_epochs=1).status == 0
    outcome = job(**settings, num_train_epochs=2, resume_from_checkpoint=True)
    assert outcome.status == 0
    assert (job.issues()["visits"] == 2).all()
    # The same as if it had never been interrupted.
    pd.testing.assert_frame_equal(job.issues(), pd.read_parquet(job.folder / "whole" / "label_issues.parquet"))
    # A folder can be named, too; and false means no.
    checkpoint = job.output_dir / "checkpoint-1"
    assert job(**settings, num_train_epochs=2, resume_from_checkpoint=checkpoint).status == 0
    assert (job.issues()["visits"] == 2).all()
    assert job(**settings, num_train_epochs=1, resume_from_checkpoint=False).status == 0
    assert (job.issues()["visits"] == 1).all()


def test_there_must_be_something_to_resume_from(job: Job) -> None:
    train = job.data()
    outcome = job(train_file=train, resume_from_checkpoint=True)
    assert_refused(outcome, f"there is no checkpoint in {job.output_dir}: leave resume_from_checkpoint out")
    outcome = job(train_file=train, resume_from_checkpoint=job.folder / "none")
    assert_refused(outcome, f"cannot resume from {job.folder / 'none'}: there is no such folder")
    for foreign in (job.folder, job.model):
        outcome = job(train_file=train, resume_from_checkpoint=foreign)
        assert_refused(outcome, f"cannot resume from {foreign}: it has no lane_state.safetensors")


def test_a_checkpoint_of_other_data_or_settings_is_refused(job: Job) -> None:
    train = job.data()
    assert job(train_file=train).status == 0
    checkpoint = job.output_dir / "checkpoint-1"
    outcome = job(train_file=job.data("more.csv", 40), num_train_epochs=2, resume_from_checkpoint=checkpoint)
    assert_refused(outcome, "the training set had 32 rows, now it has 40", alone=False)
    outcome = job(train_file=train, num_train_epochs=2, resume_from_checkpoint=checkpoint, method="plain")
    assert_refused(outcome, "Resume with the settings", alone=False)
    (checkpoint / "trainer_state.json").unlink()
    outcome = job(train_file=train, resume_from_checkpoint=checkpoint)
    assert_refused(outcome, "it has no trainer_state.json")


# What is wrong is said in one line

GOOD = "text,label\n" + "happy joy,glad\nsad cry,sad\n" * 8

BAD_TRAINING_FILES = {
    "empty": ("train.csv", "", "the file is empty"),
    "header only": ("train.csv", "text,label\n", "the file has no rows"),
    "unknown suffix": ("train.xlsx", "x", "unknown kind of file, expected one of .csv"),
    "not UTF-8": ("train.csv", "text,label\nfärben,a\n".encode("latin1"), "not UTF-8"),
    "broken json": ("train.json", '[{"text": "a"},\n{"text": ]', "line 2: not valid JSON"),
    "broken jsonl": ("train.jsonl", '{"text": "a"}\n{"text"\n', "line 2: not valid JSON"),
    "broken parquet": ("train.parquet", "x", "cannot be read"),
    "repeated column": ("train.csv", "text,label,text\na,b,c\n", "'text' occurs more than once"),
    "ragged": ("train.csv", GOOD + "a,b,c\n", "line 18: 3 fields"),
    "no text": ("train.csv", GOOD + ",glad\n", "1 row (row 16) has no text in column 'text'"),
    "no text in json": ("train.json", '[{"text": NaN, "label": "a"}, {"text": "b", "label": "b"}]', "has no text"),
    "no label": ("train.csv", GOOD + "foo,\n", "1 row (row 16) has no label in column 'label'"),
    "number as text": (
        "train.json",
        '[{"text": 5, "label": "a"}, {"text": "b", "label": "b"}]',
        "holds int where text is expected (row 0)",
    ),
    "ambiguous text": ("train.csv", "text,review,label\na,b,c\n", "Say which with --text_column"),
    "ambiguous label": ("train.csv", "text,label,target\na,b,c\n", "Say which with --label_column"),
    "one class": ("train.csv", "text,label\na,b\nc,b\n", "at least 2 are needed"),
    "regression": ("train.csv", "text,label\na,0.25\nc,0.75\n", "regression is not supported"),
    "lists": ("train.json", '[{"text": "a", "label": ["b", "c"]}]', "only one label a row"),
    "hostile header": ("train.csv", '"text\n\x1b[31m",label\na\n', "(text \ufffd[31m, label)"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_TRAINING_FILES.values(), ids=BAD_TRAINING_FILES)
def test_bad_training_files(job: Job, name: str, content: str | bytes, message: str) -> None:
    outcome = job(train_file=job.write(name, content))
    assert_refused(outcome, message)
    assert outcome.out == ""
    assert not job.output_dir.exists()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_labels_that_training_lacks(job: Job, split: str) -> None:
    files = {
        "train_file": job.write("train.csv", GOOD),
        f"{split}_file": job.write("other.csv", "text,label\na,mad\n"),
    }
    assert_refused(job(**files), f"{split} data: label 'mad' (row 0) does not occur in the training data")


BAD_ARGUMENTS = {
    "missing file": ({"train_file": "none.csv"}, "none.csv: no such file"),
    "missing test file": ({"test_file": "none.csv"}, "none.csv: no such file"),
    "unknown column": (
        {"text_column": "body"},
        "there is no column 'body' in the training data: the columns are 'text', ",
    ),
    "one column for both": ({"text_column": "text", "label_column": "text"}, "cannot both be in column 'text'"),
    "noise": ({"label_noise": 2}, "label_noise must be in [0, 1], got 2.0"),
    "noise seed": ({"label_noise": 0.5, "noise_seed": -1}, "seed must be a whole number from 0 on, got -1"),
    "method": ({"method": "lain"}, "the method 'lain' is unknown (did you mean plain?)"),
    "flag": ({"lable_noise": 0.1}, "unknown argument --lable_noise=0.1 (did you mean label_noise?)"),
    "data set": ({"train_file": None, "dataset": "demoo"}, "neither a built-in name ("),
    "folder for the demo": ({"train_file": None, "dataset": "demo", "data_dir": "x"}, "leave data_dir out"),
    "two data sets": ({"dataset": "demo"}, "both dataset and train_file are given"),
    "no model": ({"model_name_or_path": "no/model"}, "'no/model' cannot be loaded (there is no folder of this name)"),
    "no validation data": ({"do_eval": True}, "--do_eval needs validation data: give --validation_file"),
    "no test data": ({"do_predict": True}, "--do_predict needs test data: give --test_file"),
    "no test data, but training": ({"do_train": True, "do_predict": True}, "--do_predict needs test data"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments(job: Job, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(job.folder)
    outcome = job(**{"train_file": job.write("train.csv", GOOD), **changes})
    assert_refused(outcome, message)
    assert not (job.output_dir / "run_config.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", "lable_noise: 0.1\n", "unknown argument 'lable_noise' (did you mean label_noise?)"),
        ("config.json", '{"sed": 1}', "unknown argument 'sed' (did you mean seed?)"),
        ("config.yaml", "seed: [1\ntrain_file: 2", "cannot be read (while parsing"),
        ("config.json", '{"seed": 1', "cannot be read ("),
    ],
)
def test_bad_configurations(job: Job, name: str, content: str, message: str) -> None:
    path = job.write(name, content)
    assert_refused(job(path), f"{path}: ", message)
    assert_refused(job(str(job.folder / "none.yaml")), "none.yaml: no such file")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_the_output_folder_must_be_possible(job: Job, place: str) -> None:
    job.write("file", "")
    outcome = job(train_file=job.write("train.csv", GOOD), output_dir=job.folder / place)
    assert_refused(outcome, f"output_dir {job.folder / place} cannot be created (", "choose another one")


def test_the_output_folder_must_be_writable(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    assert_refused(job(train_file=job.write("train.csv", GOOD)), "cannot be written to: choose another one")


def spoil_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def spoil_sizes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 38}))


def exchange_weights(folder: Path) -> None:
    make_model("distilbert", len(NAMES)).save_pretrained(folder / "other")
    shutil.move(folder / "other" / "model.safetensors", folder / "model.safetensors")


def remove_tokenizer(folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()


SPOILERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated weights": (spoil_weights, "cannot be loaded: "),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be loaded: "),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded: "),
    "broken configuration": (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded: "),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "holds no model: it has no config.json"),
    "broken tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be loaded: "),
    "no tokenizer": (remove_tokenizer, "it has no tokenizer"),
    "other sizes": (spoil_sizes, "is damaged: bert.encoder.layer.0.intermediate.dense.bias has another size"),
    "other weights": (exchange_weights, "its weights are those of another kind of model"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILERS.values(), ids=SPOILERS)
def test_damaged_models_are_refused(job: Job, spoil: Callable[[Path], Any], message: str) -> None:
    folder = job.folder / "damaged"
    shutil.copytree(job.model, folder)
    spoil(folder)
    outcome = job(train_file=job.write("train.csv", GOOD), model_name_or_path=folder)
    assert_refused(outcome, str(folder), message, alone=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"report_to": "nothing"}, "cannot be set up: nothing is not"),
        ({"label_smoothing_factor": 0.1}, "not supported"),
    ],
)
def test_settings_that_the_trainer_refuses(job: Job, changes: dict[str, Any], message: str) -> None:
    assert_refused(job(train_file=job.write("train.csv", GOOD), **changes), message, alone=False)


# Parts


def test_packages_that_are_not_installed_have_no_version() -> None:
    assert _version("a-package-that-nobody-wrote") is None
    assert _version("torch") == version("torch")


def test_detection_counts_rows_that_were_never_seen_as_unsuspicious() -> None:
    table = pd.DataFrame({"score": [-2.0, 1.0, math.nan, 3.0], "is_flipped": [True, False, False, False]})
    assert detection_metrics(table)["detection_auroc"] == 1.0
    table["is_flipped"] = [False, False, True, False]
    assert detection_metrics(table)["detection_auroc"] == pytest.approx(0.5 / 3)  # tied with the best row


def test_detection_without_any_seen_row_is_chance() -> None:
    table = pd.DataFrame({"score": [math.nan] * 4, "is_flipped": [True, False, True, False]})
    assert detection_metrics(table)["detection_auroc"] == 0.5


def test_undefined_areas_are_left_out() -> None:
    table = pd.DataFrame({"score": [1.0, 2.0], "is_flipped": [False, False]})
    assert detection_metrics(table) == {"detection_precision_at_5_percent": 0.0}


def test_training_that_diverges_still_ends_with_files_that_can_be_read(job: Job) -> None:
    broken = make_model("bert", len(NAMES))
    with torch.no_grad():
        broken.classifier.bias.fill_(math.nan)
    shutil.copytree(job.model, job.folder / "broken")
    broken.save_pretrained(job.folder / "broken")
    files = {
        "train_file": job.data(),
        "test_file": job.data("test.csv", 8),
        "model_name_or_path": job.folder / "broken",
    }
    with pytest.warns(UserWarning, match="NaN or infinite logits"):
        outcome = job(**files, label_noise=0.25, logging_steps=1, save_strategy="no")
    assert outcome.status == 0
    content = (job.output_dir / "metrics.json").read_text()
    # Strictly: NaN is no JSON.
    assert json.loads(content, parse_constant=pytest.fail)["test_loss"] is None
    assert job.issues()["alm"].isna().all()


def test_predictions_are_the_first_of_several_outputs(tmp_path: Path) -> None:
    logits = np.asarray([[0.0, 9.0], [9.0, 0.0]])
    trainer = SimpleNamespace(
        predict=lambda test, metric_key_prefix: SimpleNamespace(
            predictions=(logits, np.zeros((2, 5))), metrics={"test_loss": 0.5, "test_note": "text"}
        ),
        is_world_process_zero=lambda: True,
        model=make_model("bert", 2),
    )
    assert _predict(trainer, [{}, {}], tmp_path) == {"test_loss": 0.5}
    assert pd.read_csv(tmp_path / "predictions.csv")["label"].tolist() == ["label_1", "label_0"]


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"ACCELERATE_USE_CPU": "False", "OMP_NUM_THREADS": "1"}, 6),
        ({"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "2"}, 3),
        ({"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "9"}, 1),
        ({"ACCELERATE_USE_CPU": "False", "OMP_NUM_THREADS": "4"}, None),
        ({"OMP_NUM_THREADS": "1"}, None),
    ],
)
def test_launched_processes_use_all_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], threads: int | None
) -> None:
    for name in ("ACCELERATE_USE_CPU", "TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    config = run_config_class("lane")(output_dir=str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    use_all_cores(config)
    assert chosen == ([] if threads is None else [threads])
