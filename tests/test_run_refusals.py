"""What the main job refuses: every wrong file, argument and model, in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job import NAMES, Job, assert_refused
from tiny import make_model

from lane_hf.metrics import METRICS

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


ONLY_SEEN_IN_TRAINING = {
    "metric": (
        {"load_best_model_at_end": True, "metric_for_best_model": "f1"},
        "metric_for_best_model 'f1' is unknown: choose one of loss, accuracy, f1_macro, f1_weighted",
    ),
    "package": ({"optim": "galore_adamw"}, "the optimizer galore_adamw cannot be made: You need to install"),
    "options": ({"optim": "adamw_torch", "optim_args": "x"}, "the optimizer adamw_torch cannot be made: not enough"),
    "schedule": (
        {"lr_scheduler_type": "cosine_with_min_lr"},
        "lr_scheduler_type cosine_with_min_lr cannot be made: One of min_lr or min_lr_rate should be set",
    ),
    "option that shows late": (
        {"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": '{"timescale": "x"}'},
        "lr_scheduler_type inverse_sqrt cannot be made: ",
    ),
    "option of a schedule": (
        {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": '{"wrong": 1}'},
        "lr_scheduler_type polynomial cannot be made: ",
    ),
}


@pytest.mark.parametrize(("given", "message"), ONLY_SEEN_IN_TRAINING.values(), ids=ONLY_SEEN_IN_TRAINING)
def test_what_trainer_only_sees_in_training_is_refused_before(job: Job, given: dict[str, Any], message: str) -> None:
    outcome = job(train_file=job.data(), validation_file=job.data("dev.csv", 8), **given)
    assert_refused(outcome, message, alone=False)
    assert not list(job.output_dir.glob("*"))


def test_a_metric_that_evaluation_gives_is_taken(job: Job) -> None:
    files = {"train_file": job.data(), "validation_file": job.data("dev.csv", 8)}
    assert job(**files, load_best_model_at_end=True, metric_for_best_model="eval_f1_macro").status == 0
    assert {f"eval_{name}" for name in METRICS} <= job.metrics().keys()
