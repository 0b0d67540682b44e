"""LaneTrainer in every model family and with every option: everything learns, every number is finite."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from auxiliary_start import LaneTrainerStart
from tiny import FAMILIES, make_model, make_tokenizer
from training import (
    QUIET,
    dataset_for,
    logged,
    make_trainer,
    weights_of,
)

from lane_hf import LaneConfig, LaneTrainer


@pytest.mark.parametrize("contrastive", ["lscl", "none"])
@pytest.mark.parametrize("auxiliary", ["full", "shared"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_of_both_networks_moves(tmp_path: Path, family: str, auxiliary: str, contrastive: str) -> None:
    trainer = make_trainer(tmp_path, family, auxiliary=auxiliary, contrastive=contrastive, num_train_epochs=1)
    before = weights_of(trainer.model)
    result = trainer.train()
    assert math.isfinite(result.training_loss)
    unmoved = [name for name, weights in weights_of(trainer.model).items() if torch.equal(weights, before[name])]
    assert unmoved == []
    # The auxiliary is made when training starts: make it again to see where it started from.
    start = LaneTrainerStart(trainer, tmp_path, family, auxiliary)
    assert start.unmoved(trainer.auxiliary_model) == []


@pytest.mark.parametrize(
    "options",
    [
        {"weighting": "gaussian", "weighting_warmup": 0.0},
        {"weighting": "gaussian", "statistics": "batch", "weighting_warmup": 0.5},
        {"weighting": "gaussian", "threshold": -1.0},
        {"similarity": "class"},
        {"bootstrap": "prediction", "wait_for_labels": True},
        {"label_aware": False},
        {"reweight": False},
        {"contrastive": "scl"},
        {"contrastive": "lcl", "aux_contrastive_grad": True},
        {"contrastive": "lscl", "aux_contrastive_grad": True, "contrastive_weight": 0.1, "temperature": 0.1},
        {"aux_smoothing": 0.0},
        {"auxiliary": "none"},
        {"auxiliary": "none", "contrastive": "scl"},
        {"bf16": True},
        {"gradient_checkpointing": True},
        {"max_grad_norm": 0.0, "optim": "adafactor"},
    ],
    ids=str,
)
def test_every_option_trains_and_logs_finite_numbers(tmp_path: Path, options: dict) -> None:
    trainer = make_trainer(tmp_path, **options)
    before = weights_of(trainer.model)
    trainer.train()
    assert not any(torch.equal(before[name], weights) for name, weights in weights_of(trainer.model).items())
    numbers = [value for entry in trainer.state.log_history for value in entry.values()]
    assert all(math.isfinite(value) for value in numbers)
    assert trainer.label_issues()["alm"].notna().all()


def test_the_published_algorithm_trains(tmp_path: Path) -> None:
    config = LaneConfig.paper(output_dir=str(tmp_path), per_device_train_batch_size=8, **QUIET)
    trainer = LaneTrainer(
        make_model("bert"), config, train_dataset=dataset_for("bert"), processing_class=make_tokenizer()
    )
    trainer.train()
    assert min(logged(trainer, "lane/mean_weight")) < 1, "weights apply from the first step"
    assert all(math.isfinite(value) for value in logged(trainer, "loss"))


def test_every_term_is_logged(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, contrastive="lscl", contrastive_schedule="constant")
    trainer.train()
    steps = trainer.state.global_step
    shares = {"lane/negative_share", "lane/mean_weight", "lane/share_below_half"}
    for name in {"loss_ce", "loss_aux", "loss_contrastive", "lane/alm_mean", "lane/alm_std"} | shares:
        assert len(logged(trainer, name)) == steps, name
    assert all(0 <= value <= 1 for name in shares for value in logged(trainer, name))
    assert all(value <= 0 for value in logged(trainer, "lane/alm_mean"))
    averages = trainer.alm.average()
    negative = averages[averages < 0].double()
    at_last = {
        "negative_share": len(negative) / len(averages),
        "alm_mean": negative.mean(),
        "alm_std": negative.std(correction=0),
    }
    for name, value in at_last.items():
        assert logged(trainer, f"lane/{name}")[-1] == pytest.approx(float(value), abs=1e-5), name
    total = [
        logged(trainer, "loss_ce")[i] + logged(trainer, "loss_aux")[i] + 0.3 * logged(trainer, "loss_contrastive")[i]
        for i in range(steps)
    ]
    assert logged(trainer, "loss") == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_contrastive_term_fades_to_the_end(tmp_path: Path, accumulated: int) -> None:
    options = {"contrastive": "scl", "auxiliary": "none", "contrastive_weight": 2.0}
    trainer = make_trainer(tmp_path, gradient_accumulation_steps=accumulated, **options)
    trainer.train()
    steps, parts = trainer.state.global_step, {name: logged(trainer, name) for name in ("loss_ce", "loss_contrastive")}
    assert steps == 16 // accumulated
    total = [
        ce + 2.0 * (1 - step / steps) * contrast
        for step, (ce, contrast) in enumerate(zip(parts["loss_ce"], parts["loss_contrastive"], strict=True))
    ]
    assert logged(trainer, "loss") == pytest.approx(total, abs=1e-4)
    assert min(parts["loss_contrastive"]) > 0.1


def test_a_short_training_is_done_without_the_contrastive_term(tmp_path: Path) -> None:
    long = make_trainer(tmp_path, contrastive="scl", auxiliary="none", contrastive_min_steps=16)
    short = make_trainer(tmp_path, contrastive="scl", auxiliary="none", contrastive_min_steps=17)
    for trainer in (long, short):
        trainer.train()
        assert trainer.state.global_step == 16
    assert len(logged(long, "loss_contrastive")) == 16
    assert logged(short, "loss_contrastive") == []
    # A longer run of the same trainer has it.
    short.args.num_train_epochs = 3
    short.train()
    assert len(logged(short, "loss_contrastive")) == 24


def test_no_weights_before_so_many_steps(tmp_path: Path) -> None:
    options = {"weighting": "gaussian", "threshold": 2.0, "weighting_warmup": 0.0}  # weights below 1 from the start
    trainer = make_trainer(tmp_path, weighting_warmup_steps=10, **options)
    trainer.train()
    assert logged(trainer, "lane/mean_weight")[:10] == [1.0] * 10
    assert max(logged(trainer, "lane/mean_weight")[10:]) < 1
    with pytest.warns(UserWarning, match=r"weighting_warmup_steps=16 covers all 16 steps.*Train longer, or lower it"):
        make_trainer(tmp_path, weighting_warmup_steps=16, **options).train()


def test_logs_average_over_the_steps_between(tmp_path: Path) -> None:
    every = make_trainer(tmp_path / "every", dropout=0.0)
    every.train()
    fourth = make_trainer(tmp_path / "fourth", dropout=0.0, logging_steps=4)
    fourth.train()
    single = np.array(logged(every, "loss_aux")).reshape(-1, 4).mean(axis=1)
    assert logged(fourth, "loss_aux") == pytest.approx(single.tolist(), abs=1e-5)


def test_a_warm_up_that_covers_the_training_is_said(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, weighting_warmup=2.0)
    with pytest.warns(UserWarning, match=r"weighting_warmup=2 covers all 2 epochs"):
        trainer.train()
    assert set(logged(trainer, "lane/mean_weight")) == {1.0}


def test_a_warm_up_that_covers_a_training_of_so_many_steps_is_said(tmp_path: Path) -> None:
    shape = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}  # 8 steps in an epoch
    trainer = make_trainer(tmp_path, weighting_warmup=1.5, max_steps=12, **shape)
    with pytest.warns(UserWarning, match=r"weighting_warmup=1.5 covers all 1.5 epochs"):
        trainer.train()
    assert set(logged(trainer, "lane/mean_weight")) == {1.0}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="weighting_warmup")
        make_trainer(tmp_path, weighting_warmup=1.5, max_steps=13, num_train_epochs=1, **shape).train()
