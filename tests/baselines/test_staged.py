"""The driver of methods with several stages: what it refuses, what it resumes, what it leaves on disk."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from training import assert_same_weights, dataset_for, make_trainer
from transformers import TrainerCallback

from lane_hf import InputError
from lane_hf.baselines import CartographyConfig, CartographyTrainer
from lane_hf.checkpoint import STATE_FILE


def make(folder: Path, **options: Any) -> CartographyTrainer:
    options.setdefault("model_init", lambda: make_model("bert"))
    return make_trainer(folder, kind=CartographyTrainer, args_kind=CartographyConfig, **options)


class Stop(TrainerCallback):
    """Stops the last stage early, as a user would."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == 5


def test_a_model_instead_of_model_init(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CartographyTrainer trains more than one model: pass model_init"):
        make(tmp_path, model=make_model("bert"), model_init=None)


def test_a_search_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hyper-parameter search"):
        make(tmp_path).train(None, {"learning_rate": 1e-3})


def test_there_is_no_table_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table before training"):
        make(tmp_path).label_issues()


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no checkpoint in"):
        make(tmp_path).train(resume_from_checkpoint=True)


def test_a_stage_that_is_done_is_not_repeated(tmp_path: Path) -> None:
    first = make(tmp_path, save_strategy="steps", save_steps=5, callbacks=[Stop()])
    first.train()
    assert (tmp_path / "stage-1" / STATE_FILE).is_file()
    assert not list((tmp_path / "stage-1").glob("checkpoint-*"))  # they are of no use any more
    made = []

    def model_init() -> Any:
        made.append(1)
        return make_model("bert")

    second = make(tmp_path, save_strategy="steps", save_steps=5, model_init=model_init)
    second.train(resume_from_checkpoint=True)
    whole = make(tmp_path / "whole")
    whole.train()
    assert_same_weights(second.model, whole.model)
    assert second.label_issues().equals(whole.label_issues())
    assert second.state.global_step == whole.state.global_step


def test_a_checkpoint_of_the_last_stage_by_its_name(tmp_path: Path) -> None:
    make(tmp_path, save_strategy="steps", save_steps=5, callbacks=[Stop()]).train()
    second = make(tmp_path)
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    whole = make(tmp_path / "whole")
    whole.train()
    assert_same_weights(second.model, whole.model)


def test_a_checkpoint_without_the_stages_before_it(tmp_path: Path) -> None:
    make(tmp_path, save_strategy="steps", save_steps=5, callbacks=[Stop()]).train()
    with pytest.raises(InputError, match=r"stage 1 before it is not done .* Resume with resume_from_checkpoint=True"):
        make(tmp_path / "elsewhere").train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


def test_a_fresh_run_does_not_take_over_what_an_earlier_one_has_left(tmp_path: Path) -> None:
    make(tmp_path, seed=1).train()
    before = (tmp_path / "stage-1" / STATE_FILE).read_bytes()
    make(tmp_path, seed=2).train()
    assert (tmp_path / "stage-1" / STATE_FILE).read_bytes() != before


def test_other_data_are_refused(tmp_path: Path) -> None:
    make(tmp_path).train()
    with pytest.raises(InputError, match=r"cannot resume from .*stage-1"):
        make(tmp_path, train_dataset=dataset_for("bert", seed=5)).train(resume_from_checkpoint=True)


def test_other_rows_than_those_of_the_checkpoint_are_refused(tmp_path: Path) -> None:
    make(tmp_path, select="easy", save_strategy="steps", save_steps=5, callbacks=[Stop()]).train()
    with pytest.raises(InputError, match="checksum of selection"):
        make(tmp_path, select="hard").train(resume_from_checkpoint=True)


def test_a_damaged_outcome_is_refused(tmp_path: Path) -> None:
    make(tmp_path).train()
    (tmp_path / "stage-1" / STATE_FILE).write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is damaged"):
        make(tmp_path).train(resume_from_checkpoint=True)


def test_scoring_runs_are_neither_evaluated_nor_reported(tmp_path: Path) -> None:
    evaluated = []

    class Count(TrainerCallback):
        def on_evaluate(self, *args: Any, **kwargs: Any) -> None:
            evaluated.append(1)

    trainer = make(tmp_path, eval_strategy="epoch", eval_dataset=dataset_for("bert", 16), callbacks=[Count()])
    trainer.train()
    assert len(evaluated) == 7  # six whole epochs of a third of the rows, and what is left of a seventh
    arguments = trainer._scorer_arguments(tmp_path)
    assert (arguments.eval_strategy, arguments.push_to_hub, arguments.report_to) == ("no", False, [])
    assert trainer.args.eval_strategy == "epoch"


def test_an_evaluation_at_the_start_is_that_of_the_last_stage(tmp_path: Path) -> None:
    evaluated = []

    class Count(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
            evaluated.append(state.global_step)

    make(tmp_path, eval_on_start=True, eval_dataset=dataset_for("bert", 16), callbacks=[Count()]).train()
    assert evaluated == [0]


def test_all_stages_use_the_optimizer_that_was_asked_for(tmp_path: Path) -> None:
    made = []

    class Record(torch.optim.SGD):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(1)

    make(tmp_path, optimizer_cls_and_kwargs=(Record, {"lr": 0.1})).train()
    assert len(made) == 2


def test_a_checkpoint_at_a_signal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="enable_jit_checkpoint=True is not supported by methods with several stages"):
        make(tmp_path, enable_jit_checkpoint=True)


def test_training_twice_starts_anew(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.train()
    first = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    table = trainer.label_issues()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    assert all(torch.equal(first[name], value) for name, value in trainer.model.state_dict().items())
    assert table.equals(trainer.label_issues())
