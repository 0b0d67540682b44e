"""Two classifiers in one trainer: apart from the start, clipped each for itself, averaged where asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from tiny import make_model
from torch.nn import functional as F
from training import dataset_for, make_trainer, weights_of
from transformers import TrainerCallback

from lane_hf.baselines import CoTeachingConfig, CoTeachingTrainer


def make(folder: Path, **options: Any) -> CoTeachingTrainer:
    return make_trainer(folder, kind=CoTeachingTrainer, args_kind=CoTeachingConfig, **options)


class Norms(TrainerCallback):
    """Notes the norm of each network's gradient when the optimizer is about to step."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.seen: list[list[float]] = []

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        networks = (self.trainer.model, self.trainer.auxiliary_model)
        self.seen.append(
            [
                torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm().item()
                for network in networks
            ]
        )


def test_the_networks_share_the_body_and_differ_in_the_head_at_the_start(tmp_path: Path) -> None:
    trainer = make(tmp_path, learning_rate=0.0, max_steps=1)
    trainer.train()
    ours, theirs = weights_of(trainer.model), weights_of(trainer.auxiliary_model)
    different = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert different == {"classifier.weight"}  # biases are zero in both


def test_gradients_are_clipped_each_for_itself(tmp_path: Path) -> None:
    norms = Norms()
    trainer = make(tmp_path, max_grad_norm=0.01, callbacks=[norms])
    norms.trainer = trainer
    trainer.train()
    assert len(norms.seen) == 16
    for pair in norms.seen:
        assert pair == pytest.approx([0.01, 0.01], rel=1e-3)


def test_the_average_of_both_networks_can_be_reported(tmp_path: Path) -> None:
    trainer = make(tmp_path, average_logits=True)
    trainer.train()
    rows = dataset_for("bert", 16)
    averaged = trainer.predict(rows).predictions
    trainer.args.average_logits = False
    first = trainer.predict(rows).predictions
    trainer.model, trainer.auxiliary_model = trainer.auxiliary_model, trainer.model
    second = trainer.predict(rows).predictions
    np.testing.assert_allclose(averaged, (first + second) / 2, rtol=1e-4, atol=1e-5)
    assert not np.allclose(first, second, atol=1e-3)


def test_the_reported_loss_is_that_of_the_average(tmp_path: Path) -> None:
    model = make_model("bert")
    model.config.return_dict = False
    trainer = make(tmp_path, average_logits=True, model=model)
    trainer.train()
    outcome = trainer.predict(dataset_for("bert", 16))
    want = F.cross_entropy(torch.tensor(outcome.predictions), torch.tensor(outcome.label_ids)).item()
    assert outcome.metrics["test_loss"] == pytest.approx(want, rel=1e-4)


def test_scaled_gradients_are_unscaled_once(tmp_path: Path) -> None:
    trainer = make(tmp_path, num_train_epochs=1)
    # What Accelerate makes of fp16 on a GPU.
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    trainer.accelerator.native_amp, trainer.accelerator.state._mixed_precision = True, "fp16"
    try:
        trainer.train()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert trainer.state.global_step == 8
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_evaluation_leaves_the_second_network_in_training_mode(tmp_path: Path) -> None:
    trainer = make(tmp_path, average_logits=True, eval_strategy="epoch", eval_dataset=dataset_for("bert", 16))
    modes = []

    class Mode(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            modes.append((trainer.model.training, trainer.auxiliary_model.training))

    trainer.add_callback(Mode())
    trainer.train()
    assert set(modes) == {(True, True)}
