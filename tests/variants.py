"""What every way to train owes its user: both networks learn, finite numbers, a plain checkpoint, a complete table."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from training import weights_of
from transformers import AutoModelForSequenceClassification, Trainer, TrainerCallback

NetworkStarts = dict[str, dict[str, Tensor]]


class RememberStart(TrainerCallback):
    """Keeps the weights of both networks as they are when the first step begins."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.starts: NetworkStarts = {}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        networks = {"model": self.trainer.model, "auxiliary": getattr(self.trainer, "auxiliary_model", None)}
        self.starts = {name: weights_of(network) for name, network in networks.items() if network is not None}


def train_and_check(
    trainer: Trainer,
    folder: Path,
    load: Callable[[str], nn.Module] = AutoModelForSequenceClassification.from_pretrained,
) -> nn.Module:
    """Train, save into `folder`, and check everything that can be seen from outside.

    Returns:
        The classifier as `load` brings it back.
    """
    remember = RememberStart(trainer)
    trainer.add_callback(remember)
    trainer.train()
    assert_learned(trainer, remember.starts)
    assert_finite(trainer)
    return assert_comes_back(trainer, folder, load)


def assert_learned(trainer: Trainer, starts: NetworkStarts) -> None:
    """Every trainable parameter of both networks moved, and no other."""
    for network in starts:
        module = trainer.model if network == "model" else trainer.auxiliary_model
        for name, parameter in module.named_parameters():
            moved = not torch.equal(parameter, starts[network][name])
            assert moved == parameter.requires_grad, f"{network}: {name} moved: {moved}"


def assert_finite(trainer: Trainer) -> None:
    """All logged numbers are finite, and the table has a value in every place."""
    entries = trainer.state.log_history
    assert any("loss_ce" in entry or "loss_method" in entry for entry in entries)
    # A step that a loss scaler skips has a gradient that is not finite, and Trainer logs its norm.
    skippable = {"grad_norm"} if trainer.accelerator.scaler is not None else set()
    assert all(math.isfinite(value) for entry in entries for name, value in entry.items() if name not in skippable)
    assert not trainer.label_issues().isna().any(axis=None)


def assert_comes_back(trainer: Trainer, folder: Path, load: Callable[[str], nn.Module]) -> nn.Module:
    """The saved model gives the logits that it gave in memory, and nothing of the auxiliary is in the folder."""
    trainer.save_model(str(folder))
    assert not [path.name for path in folder.iterdir() if "lane" in path.name]
    again = load(str(folder))
    keys = again.state_dict().keys()
    assert keys == trainer.model.state_dict().keys()
    assert not [key for key in keys if "auxiliary" in key or "_orig_mod" in key]
    assert torch.equal(logits_of(again, trainer), logits_of(trainer.model, trainer))
    return again


def logits_of(model: nn.Module, trainer: Trainer) -> Tensor:
    """Return the logits of the first rows of the training set, in evaluation mode."""
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
    batch = {name: tensor.to(trainer.args.device) for name, tensor in batch.items() if name != "labels"}
    model.to(trainer.args.device).eval()
    with torch.no_grad():
        return model(**batch).logits


def assert_same_state(first: Trainer, second: Trainer) -> None:
    """The networks, the optimizer, the state of the rows and the table are equal, bit for bit."""
    seconds = [getattr(trainer, "auxiliary_model", None) or nn.Identity() for trainer in (first, second)]
    for one, other in ((first.model, second.model), seconds):
        ours, theirs = one.state_dict(), other.state_dict()
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    ours, theirs = (trainer.optimizer.state_dict()["state"] for trainer in (first, second))
    assert ours.keys() == theirs.keys()
    for index, entries in ours.items():
        for name, value in entries.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[index][name])), (index, name)
    for name, part in first.stateful_parts().items():
        state = second.stateful_parts()[name].state_dict()
        assert all(torch.equal(tensor, state[key]) for key, tensor in part.state_dict().items()), name
    assert first.label_issues().equals(second.label_issues())
