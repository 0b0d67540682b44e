"""The main job from arguments to files, with tiny models."""

import json
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from job import NAMES, Job
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lane_hf.datasets.tables import SUFFIXES
from lane_hf.report.table import COLUMNS
from lane_hf.run import main

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
    assert settings["versions"]["torch"] == version("torch")
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


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("happy joy,glad\nsad cry,sad\n", "has no head for 2 labels: train it first (--do_train), or give the folder"),
        ("a,joy\nb,fear\nc,anger\nd,hope\n", "for other labels: its label 2 is 'joy', that of the data is 'hope'"),
    ],
)
def test_without_training_a_model_must_have_been_trained_for_these_labels(job: Job, train: str, message: str) -> None:
    assert job("--do_train", train_file=job.data()).status == 0
    files = {"train_file": job.write("train.csv", "text,label\n" + train)}
    files["test_file"] = files["train_file"]
    outcome = job("--do_predict", **files, model_name_or_path=job.output_dir, output_dir=job.folder / "other")
    assert outcome.status == 2
    assert message in outcome.err
    assert not (job.folder / "other" / "predictions.csv").exists()


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
