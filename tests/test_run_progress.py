"""What a user sees of a run while it goes on."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from job import Job
from tiny import make_model
from training import dataset_for, make_trainer
from transformers import ProgressCallback, TrainerCallback

from lane_hf import RowTrainer
from lane_hf.displays import displays_of, show_with
from lane_hf.method_config import MethodConfig
from lane_hf.methods import METHODS
from lane_hf.metrics import compute_metrics
from lane_hf.run_progress import RunProgress

HIDES, SHOWS = "\x1b[?25l", "\x1b[?25h"  # the cursor


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal, for `redirect_stderr`: pytest puts its own standard error back after a fixture."""
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def make(folder: Path, progress: RunProgress, **options: Any) -> RowTrainer:
    settings = {"eval_strategy": "epoch", "eval_dataset": dataset_for("bert", 16), "num_train_epochs": 2, **options}
    trainer = make_trainer(
        folder, kind=RowTrainer, args_kind=MethodConfig, compute_metrics=compute_metrics, **settings
    )
    show_with(trainer, [progress])
    return trainer


def test_a_pipe_gets_a_line_for_each_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        trainer = make(tmp_path, progress)
        assert displays_of(trainer) == [progress]
        trainer.train()
        history = list(trainer.state.log_history)
        trainer.evaluate()
        trainer.predict(dataset_for("bert", 16))
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    losses = {entry["epoch"]: entry["loss"] for entry in history if "loss" in entry}
    expected = [
        f"epoch {entry['epoch']:g} of 2: loss {losses[entry['epoch']]:.3f}, "
        f"accuracy {entry['eval_accuracy']:.3f}, macro-F1 {entry['eval_f1_macro']:.3f}"
        for entry in history
        if "eval_accuracy" in entry
    ]
    assert len(expected) == 2
    assert [line for line in lines if line.startswith("epoch")] == expected
    assert "{'" not in shown.out  # what Trainer would print


def test_without_evaluation_there_is_a_line_for_each_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        make(tmp_path, progress, eval_strategy="no", eval_dataset=None, num_train_epochs=3).train()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split(": loss ")[0] for line in lines] == [f"epoch {number} of 3" for number in (1, 2, 3)]


def test_a_line_has_the_loss_of_its_own_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        options = {"eval_strategy": "no", "eval_dataset": None, "num_train_epochs": 3, "logging_strategy": "epoch"}
        trainer = make(tmp_path, progress, **options)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(set(losses)) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert lines == [f"epoch {number} of 3: loss {loss:.3f}" for number, loss in enumerate(losses, start=1)]


def test_a_loss_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        options = {"logging_strategy": "steps", "logging_steps": 1000, "logging_first_step": True}
        make(tmp_path, progress, **options).train()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [": loss " in line for line in lines] == [True, False]
    assert all("accuracy " in line for line in lines)


def test_a_terminal_gets_a_bar_and_the_cursor_back(tmp_path: Path, terminal: Terminal) -> None:
    with redirect_stderr(terminal), RunProgress() as progress:
        trainer = make(tmp_path, progress)
        trainer.train()
        trainer.predict(dataset_for("bert", 16))
    shown = terminal.getvalue()
    assert "training" in shown
    assert "evaluating" in shown
    assert "epoch 2 of 2: loss " in shown
    assert shown.count(HIDES) == shown.count(SHOWS) > 0
    assert shown.rindex(SHOWS) > shown.rindex(HIDES)


class Failure(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_an_interrupted_run_leaves_the_terminal_in_order(tmp_path: Path, terminal: Terminal) -> None:
    def interrupted() -> None:
        with RunProgress() as progress:
            trainer = make(tmp_path, progress)
            trainer.add_callback(Failure())
            trainer.train()

    with redirect_stderr(terminal), pytest.raises(KeyboardInterrupt):
        interrupted()
    shown = terminal.getvalue()
    assert HIDES in shown
    assert shown.rindex(SHOWS) > shown.rindex(HIDES)


def test_no_bar_if_none_is_wanted(tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with redirect_stderr(terminal), RunProgress(is_quiet=True) as progress:
        make(tmp_path / "quiet", progress).train()
    monkeypatch.setenv("TERM", "dumb")
    with redirect_stderr(terminal), RunProgress() as progress:
        make(tmp_path / "dumb", progress).train()
    assert "\x1b" not in terminal.getvalue()


def test_the_stages_before_the_last_one_are_shown_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = METHODS["cartography-hard"]
    options = {"model_init": lambda: make_model("bert"), "num_train_epochs": 1, **method.fixed}
    trainer = make_trainer(tmp_path, kind=method.trainer, args_kind=method.config, **options)
    with RunProgress() as progress:
        show_with(trainer, [progress])
        trainer.train()
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("epoch")]
    assert lines[0].startswith("epoch 1 of 1: loss ")
    assert len(lines) > 2  # the last stage takes as many steps on fewer rows, hence more epochs
    assert all(line.split()[3] == lines[-1].split()[3] for line in lines[1:])
    assert "{'" not in shown.out


def test_the_main_job_shows_lines_in_a_pipe(job: Job) -> None:
    outcome = job(train_file=job.data(), validation_file=job.data("dev.csv", seed=1), disable_tqdm=None)
    assert outcome.status == 0
    assert sum(line.startswith("epoch 1 of 1: ") for line in outcome.err.splitlines()) == 1
    assert "it/s" not in outcome.err
    assert "{'" not in outcome.out


def test_trainers_own_bar_is_a_display() -> None:
    assert issubclass(RunProgress, ProgressCallback)  # so that the bars of others take its place
