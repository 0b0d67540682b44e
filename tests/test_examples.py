"""The example script as a user starts it: a process of its own, with its exit status and what it prints."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from forking import Template
from tiny import make_model, make_tokenizer
from transformers import AutoModelForSequenceClassification

SCRIPT = Path(__file__).parents[1] / "examples" / "run_lane.py"
# Progress bars, and what Transformers says about checkpoints on some file systems.
EXPECTED = re.compile(r"^epoch \d|^\[transformers\] mtime may not be reliable")


def start(folder: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *argv],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tiny model, and training data in several languages."""
    make_model("bert", 2).save_pretrained(tmp_path / "model")
    make_tokenizer(tmp_path / "model")
    rows = ["text,label", *(f"{text} {row},{row % 2}" for row, text in enumerate(["Grüße \x1b[31m", "東京 joy"] * 8))]
    (tmp_path / "train.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_the_script_trains_evaluates_and_summarises(folder: Path) -> None:
    settings = "train_file: train.csv\nvalidation_file: train.csv\ntest_file: train.csv\nlearning_rate: 1e-4\n"
    (folder / "config.yaml").write_text(settings + "model_name_or_path: model\noutput_dir: out\nseed: 1\n")
    argv = (
        "config.yaml",
        "--num_train_epochs",
        "3",
        "--label_noise",
        "0.25",
        "--disable_tqdm",
        "true",
        "--weighting_warmup_steps",
        "0",
    )
    # A terminal that knows no umlauts must not end a run that took hours.
    done = start(folder, *argv, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.startswith("Training with lane on 1 process")
    for line in ("Test:  ", "Validation:  ", "Flipped labels:  ", "The 10 most suspicious rows:", "Predictions:  "):
        assert line in done.stdout
    assert "?? joy" in done.stdout
    assert "\x1b" not in done.stdout
    # Nothing but progress: no warning, and no message that a user would have to understand.
    assert [line for line in done.stderr.splitlines() if line.strip() and not EXPECTED.search(line)] == []

    assert json.loads((folder / "out" / "metrics.json").read_text()).keys() >= {"test_accuracy", "eval_f1_macro"}
    assert len(pd.read_parquet(folder / "out" / "label_issues.parquet")) == 16
    assert AutoModelForSequenceClassification.from_pretrained(folder / "out").config.id2label == {0: "0", 1: "1"}


def test_the_script_ends_with_one_line_and_status_2_if_the_input_is_wrong(folder: Path, template: Template) -> None:
    with (folder / "train.csv").open("a", encoding="utf-8") as file:
        file.write("\none,two,three\n")
    argv = ["--train_file", "train.csv", "--model_name_or_path", "model", "--output_dir", "out"]
    done = template.run([str(SCRIPT), *argv], folder, os.environ)
    assert done.returncode == 2
    assert done.stderr == (
        "error: train.csv, line 18: 3 fields, but the first line names 2 columns (text, label). Quote fields that "
        "hold the separator or line breaks\n"
    )
    assert done.stdout == ""
    assert not (folder / "out").exists()
