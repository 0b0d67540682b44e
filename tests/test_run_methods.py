"""Every method from the command line to the files, killed and resumed ones among them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job import Job
from transformers import AutoModelForSequenceClassification

from lane_hf.methods import METHODS
from lane_hf.report.table import COLUMNS


def arguments(job: Job, method: str) -> dict[str, Any]:
    return {"train_file": job.data(), "test_file": job.data("test.csv", 8), "method": method, "num_train_epochs": 2}


@pytest.mark.parametrize("method", METHODS)
def test_a_whole_run(job: Job, method: str) -> None:
    outcome = job(**arguments(job, method), label_noise=0.25)
    assert outcome.status == 0, outcome.err
    assert f"== {method} ==" in outcome.out
    assert job.settings()["RunConfig"]["method"] == method
    metrics = job.metrics()
    assert metrics["detection_auroc"] >= 0
    assert metrics["test_accuracy"] >= 0
    assert set(COLUMNS) <= set(job.issues().columns)
    assert len(job.issues()) == 32
    model = AutoModelForSequenceClassification.from_pretrained(job.output_dir)
    assert model.config.num_labels == 4


def test_options_of_a_method_reach_it(job: Job) -> None:
    outcome = job(**arguments(job, "cartography-easy"), fraction=0.5)
    assert outcome.status == 0
    assert (job.issues()["weight"] == 1).sum() == 16
    assert job.settings()["RunConfig"]["select"] == "easy"
    # Two epochs of one batch of all rows, four of one with half of them.
    assert (job.metrics()["train_steps_stage_1"], job.metrics()["train_steps"]) == (2, 6)


def test_a_method_with_stages_goes_on_in_its_stage(job: Job) -> None:
    given = arguments(job, "aum")
    assert job(**given).status == 0
    whole = job.issues()
    # As a kill after the first scoring run leaves it.
    shutil.rmtree(job.output_dir / "stage-2")
    for path in job.output_dir.glob("checkpoint-*"):
        shutil.rmtree(path)
    before = (job.output_dir / "stage-1" / "lane_state.safetensors").stat().st_mtime_ns
    assert job(**given, resume_from_checkpoint=True).status == 0
    assert (job.output_dir / "stage-1" / "lane_state.safetensors").stat().st_mtime_ns == before
    assert whole.equals(job.issues())


@pytest.mark.parametrize("method", ["aum", "gce"])
def test_nothing_to_resume_from_is_said_in_one_line(job: Job, method: str) -> None:
    outcome = job(**arguments(job, method), resume_from_checkpoint=True)
    assert outcome.status == 2
    assert "there is no checkpoint in" in outcome.err.splitlines()[-1]


def test_too_few_epochs_for_a_method(job: Job) -> None:
    outcome = job(**{**arguments(job, "cartography-ambiguous"), "num_train_epochs": 1})
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("error: every row was seen once")


def test_a_resumed_run_has_the_scores_of_a_whole_one(job: Job, tmp_path: Path) -> None:
    given = {**arguments(job, "elr"), "save_total_limit": 5}
    assert job(**given).status == 0
    whole = job.issues()
    newest = max(job.output_dir.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    shutil.rmtree(newest)
    assert job(**given, resume_from_checkpoint=True).status == 0
    np.testing.assert_array_equal(whole["score"], job.issues()["score"])
