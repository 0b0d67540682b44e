"""Parts of the main job: versions, detection, predictions, numbers that are none, threads."""

import json
import math
import os
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from job import NAMES, Job
from tiny import make_model

from lane_hf import run as main_job
from lane_hf.errors import InputError
from lane_hf.run import _predict, detection_metrics, use_all_cores
from lane_hf.run_arguments import run_config_class
from lane_hf.run_files import _version


def test_the_main_job_warns_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, warning = [], ("two labels\n have no row", UserWarning, "code.py", 7)

    def stands_in(*arguments: object) -> None:
        shown.append(warnings.formatwarning(*warning))
        raise InputError("enough")

    monkeypatch.setattr(main_job, "run", stands_in)
    assert main_job.main([]) == 2
    assert shown == ["warning: two labels have no row\n"]
    assert "code.py:7" in warnings.formatwarning(*warning), "afterwards warnings are Python's again"


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
