"""A second run in the folder of the first: whose results lie there, and whose settings they are said to have."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from job import Job

from lane_hf import InputError, run
from lane_hf.cli import main as lane
from lane_hf.hub.card_facts import emissions_in
from lane_hf.report.run_record import read_run
from lane_hf.row_trainer import RowTrainer
from lane_hf.trainer import LaneTrainer


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_is_interrupted_leaves_the_earlier_one_as_it_was(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8), "margin_history": True}
    assert job(**files, seed=1).status == 0
    before = read_run(job.output_dir)
    monkeypatch.setattr(LaneTrainer, "log", interrupt)  # when the first steps were taken
    with pytest.raises(KeyboardInterrupt):
        job(**files, seed=2)
    after = read_run(job.output_dir)
    assert before.margins is not None
    np.testing.assert_array_equal(after.margins, before.margins)
    assert (job.output_dir / "_report/margins.partial.npy").exists()
    assert after.settings["RunConfig"]["seed"] == 1
    assert after.settings == before.settings
    assert after.metrics == before.metrics
    pd.testing.assert_frame_equal(pd.DataFrame(after.issues), pd.DataFrame(before.issues))


@pytest.mark.parametrize(("method", "place"), [("lane", "checkpoint-1"), ("aum", "stage-1/checkpoint-1")])
def test_who_forgets_to_resume_is_told_in_time(
    job: Job, monkeypatch: pytest.MonkeyPatch, method: str, place: str
) -> None:
    settings = {"train_file": job.data(), "num_train_epochs": 2, "method": method}
    save = RowTrainer._save_checkpoint

    def save_and_stop(self: RowTrainer, *args: Any) -> None:
        save(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RowTrainer, "_save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            job(**settings)
        message = f"output_dir {job.output_dir} holds {place} of a training that was not done, and this one begins"
        with pytest.warns(UserWarning, match=message), pytest.raises(KeyboardInterrupt):
            job(**settings, resume_from_checkpoint=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="output_dir .* holds")
        assert job(**settings, resume_from_checkpoint=True).status == 0


def test_a_run_that_is_done_replaces_all_results_of_the_earlier_one(job: Job) -> None:
    train = job.data()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*replaces them")
        assert job(train_file=train, test_file=job.data("test.csv", 8), seed=1, margin_history=True).status == 0
    assert read_run(job.output_dir).margins is not None
    with pytest.warns(UserWarning, match=f"output_dir {job.output_dir} holds the results .* this one replaces them"):
        assert job(train_file=train, seed=2).status == 0
    record = read_run(job.output_dir)
    assert record.settings["RunConfig"]["seed"] == 2
    assert record.margins is None
    assert not [name for name in record.metrics if name.startswith("test_")]
    assert not (job.output_dir / "predictions.csv").exists()
    # What a third one left when it was interrupted goes with the results of the fourth.
    (job.output_dir / "_report/margins.partial.npy").touch()
    assert job(train_file=train, seed=4).status == 0
    assert not (job.output_dir / "_report/margins.partial.npy").exists()


@pytest.mark.parametrize("place", [(LaneTrainer, "save_model"), (LaneTrainer, "label_issues"), (run, "write_issues")])
def test_a_folder_never_holds_the_model_of_one_run_and_the_table_of_another(
    job: Job, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    train = job.data()
    assert job(train_file=train, seed=1).status == 0
    with monkeypatch.context() as patched:
        save = LaneTrainer._save_checkpoint

        def save_and_forget(self: LaneTrainer, *args: Any) -> None:
            save(self, *args)
            patched.setattr(*place, interrupt)  # a checkpoint saves the model too

        patched.setattr(LaneTrainer, "_save_checkpoint", save_and_forget)
        with pytest.raises(KeyboardInterrupt):
            job(train_file=train, seed=2)
    with pytest.raises(InputError, match="no folder of a training run that is done"):
        read_run(job.output_dir)
    assert job(train_file=train, seed=2, resume_from_checkpoint=True).status == 0
    assert read_run(job.output_dir).settings["RunConfig"]["seed"] == 2


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


@pytest.mark.parametrize("measured_again", [False, True])
def test_neither_the_report_nor_the_emissions_of_an_earlier_run_stay(
    job: Job, monkeypatch: pytest.MonkeyPatch, measured_again: bool
) -> None:
    assert job(train_file=job.data(), seed=1).status == 0
    assert lane(["report", str(job.output_dir)]) == 0
    emissions = job.output_dir / "emissions.csv"
    emissions.write_text("emissions\n5.5\n")
    train = LaneTrainer.train

    def measure(self: LaneTrainer, *args: Any, **kwargs: Any) -> Any:
        if measured_again:
            emissions.write_text("emissions\n5.5\n0.25\n")
        return train(self, *args, **kwargs)

    monkeypatch.setattr(LaneTrainer, "train", measure)
    assert job(train_file=job.data(seed=2), seed=2).status == 0
    assert not (job.output_dir / "_report" / "report.html").exists()
    assert emissions_in(job.output_dir) == (0.25 if measured_again else None)


def test_evaluating_the_model_of_a_run_adds_to_its_results(job: Job) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    assert job(**files, seed=1).status == 0
    before = job.metrics()
    assert job("--do_predict", **files, seed=2, model_name_or_path=job.output_dir).status == 0
    assert job.settings()["RunConfig"]["seed"] == 1
    after = job.metrics()
    assert after.keys() >= before.keys()
    assert after["train_runtime"] == before["train_runtime"]
    assert after["test_accuracy"] == before["test_accuracy"]
    assert after["test_runtime"] != before["test_runtime"]


@pytest.mark.parametrize("which", ["default", "none", "other"])
def test_another_model_is_not_evaluated_beside_the_results_of_a_run(job: Job, which: str) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    assert job(**files).status == 0
    before = job.metrics()
    model = {"default": None, "none": "no/model", "other": job.model}[which]
    outcome = job("--do_predict", **files, model_name_or_path=model)
    assert outcome.status == 2
    assert outcome.err == (
        f"error: output_dir {job.output_dir} holds the results of a training: give --model_name_or_path "
        f"{job.output_dir} to evaluate its model, or choose another output_dir\n"
    )
    assert job.metrics() == before


def test_numbers_that_cannot_be_read_are_refused_before_any_work(job: Job) -> None:
    files = {"train_file": job.data(), "test_file": job.data("test.csv", 8)}
    assert job(**files).status == 0
    (job.output_dir / "metrics.json").write_text("{")
    (job.output_dir / "predictions.csv").unlink()
    outcome = job("--do_predict", **files, model_name_or_path=job.output_dir)
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {job.output_dir / 'metrics.json'}: ")
    assert not (job.output_dir / "predictions.csv").exists()
