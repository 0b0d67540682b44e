"""A second run in the folder of the first: whose results lie there, and whose settings they are said to have."""

from typing import Any

import pandas as pd
import pytest
from job import Job

from lane_hf.report.run_record import read_run
from lane_hf.trainer import LaneTrainer


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_is_interrupted_leaves_the_earlier_one_as_it_was(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    assert job(**files, seed=1).status == 0
    before = read_run(job.output_dir)
    monkeypatch.setattr(LaneTrainer, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        job(**files, seed=2)
    after = read_run(job.output_dir)
    assert after.settings["RunConfig"]["seed"] == 1
    assert after.settings == before.settings
    assert after.metrics == before.metrics
    pd.testing.assert_frame_equal(pd.DataFrame(after.issues), pd.DataFrame(before.issues))


def test_a_run_that_is_done_replaces_all_results_of_the_earlier_one(job: Job) -> None:
    train = job.data()
    assert job(train_file=train, test_file=job.data("test.csv", 8), seed=1, margin_history=True).status == 0
    assert read_run(job.output_dir).margins is not None
    assert job(train_file=train, seed=2).status == 0
    record = read_run(job.output_dir)
    assert record.settings["RunConfig"]["seed"] == 2
    assert record.margins is None
    assert not [name for name in record.metrics if name.startswith("test_")]
    assert not (job.output_dir / "predictions.csv").exists()


def test_what_was_not_done_yet_is_not_left_of_the_earlier_run(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    assert job(**files, seed=1).status == 0
    monkeypatch.setattr(LaneTrainer, "predict", interrupt)
    with pytest.raises(KeyboardInterrupt):
        job(**files, seed=2)
    record = read_run(job.output_dir)
    assert record.settings["RunConfig"]["seed"] == 2
    assert record.metrics == {}
    assert not (job.output_dir / "predictions.csv").exists()


def test_predicting_keeps_the_settings_that_the_label_table_was_made_with(job: Job) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    assert job(**files, seed=1).status == 0
    assert job("--do_predict", **files, seed=2).status == 0
    assert job.settings()["RunConfig"]["seed"] == 1
