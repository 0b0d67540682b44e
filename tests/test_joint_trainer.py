"""A trainer with two networks: what it does about optimizers that know of one only."""

from pathlib import Path

import pytest
import torch
from tiny import make_model
from training import make_trainer, weights_of

from lane_hf import InputError


@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_an_optimizer_without_the_second_network_is_refused(tmp_path: Path, auxiliary: str) -> None:
    model = make_model("bert")
    own = (torch.optim.SGD(model.parameters(), lr=0.1), None)
    trainer = make_trainer(tmp_path, model=model, auxiliary=auxiliary, optimizers=own)
    with pytest.raises(InputError, match="does not hold the parameters of the second network"):
        trainer.train()


def test_an_optimizer_is_welcome_where_there_is_no_second_network(tmp_path: Path) -> None:
    model = make_model("bert")
    own = (torch.optim.SGD(model.parameters(), lr=0.1), None)
    trainer = make_trainer(tmp_path, model=model, auxiliary="none", optimizers=own)
    before = weights_of(model)
    trainer.train()
    assert not any(torch.equal(before[name], weights) for name, weights in weights_of(model).items())


def test_a_class_of_optimizer_trains_both_networks(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, auxiliary="full", optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.1}))
    trainer.train()
    held = {id(parameter) for group in trainer.optimizer.param_groups for parameter in group["params"]}
    assert held == {
        id(parameter) for net in (trainer.model, trainer.auxiliary_model) for parameter in net.parameters()
    }
