"""The main job goes on from a checkpoint, or says why not."""

import pandas as pd
from job import Job, assert_refused


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


OTHER_ROWS_PER_STEP: list[tuple[dict[str, int], str]] = [
    ({"seed": 7}, "seed = 42, now it is 7"),
    ({"data_seed": 7}, "seed = 42, now it is 7"),
    ({"per_device_train_batch_size": 4}, "rows per step = 32, now it is 4"),
    ({"gradient_accumulation_steps": 2}, "rows per step = 32, now it is 64"),
]


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
    assert_refused(outcome, "it was written with method = lane, now it is plain. Resume with", alone=False)
    outcome = job(train_file=train, num_train_epochs=2, resume_from_checkpoint=checkpoint, auxiliary="shared")
    assert_refused(outcome, "Resume with the settings", alone=False)
    for changes, said in OTHER_ROWS_PER_STEP:
        outcome = job(train_file=train, num_train_epochs=2, resume_from_checkpoint=checkpoint, **changes)
        assert_refused(outcome, f"it was written with {said}. Resume with", alone=False)
    (checkpoint / "trainer_state.json").unlink()
    outcome = job(train_file=train, resume_from_checkpoint=checkpoint)
    assert_refused(outcome, "it has no trainer_state.json")
