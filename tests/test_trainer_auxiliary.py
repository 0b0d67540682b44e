"""The auxiliary network of LaneTrainer: where it comes from, what it learns, and starting again."""

from pathlib import Path

import pytest
import torch
from auxiliary_start import LaneTrainerStart
from tiny import make_model, make_tokenizer
from training import (
    NEUTRAL,
    arguments,
    assert_same_weights,
    dataset_for,
    make_trainer,
    weights_of,
)

from lane_hf import InputError, LaneConfig, LaneTrainer
from lane_hf.networks import SharedHead

# ---- The auxiliary network ----


def test_default_auxiliary_is_a_copy_with_a_fresh_head(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, learning_rate=0.0, max_steps=1)
    trainer.train()
    ours, theirs = weights_of(trainer.model), weights_of(trainer.auxiliary_model)
    different = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert different == {"classifier.weight"}, "the bias of a fresh head is zero in both"


def test_shared_auxiliary_does_not_train_the_classifier(tmp_path: Path) -> None:
    options = {"reweight": False, "dropout": 0.0, "max_grad_norm": 0.0}
    shared = make_trainer(tmp_path / "shared", auxiliary="shared", **options)
    shared.train()
    alone = make_trainer(tmp_path / "alone", **{**NEUTRAL, **options})
    alone.train()
    assert isinstance(shared.auxiliary_model, SharedHead)
    assert_same_weights(shared.model, alone.model, rtol=1e-5, atol=1e-6)


def test_users_auxiliary_model_is_trained(tmp_path: Path) -> None:
    small = make_model("distilbert", seed=5)
    before = weights_of(small)
    trainer = make_trainer(tmp_path, auxiliary_model=small)
    trainer.train()
    assert trainer.auxiliary_model is small
    assert not any(torch.equal(before[name], weights) for name, weights in weights_of(small).items())


def test_auxiliary_model_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3 labels, the model has 4"):
        make_trainer(tmp_path, auxiliary_model=make_model("bert", num_labels=3))
    with pytest.raises(InputError, match="same tokenizer"):
        make_trainer(tmp_path, auxiliary_model=make_model("bert", vocab_size=500))
    model = make_model("bert")
    with pytest.raises(InputError, match="the model itself"):
        make_trainer(tmp_path, model=model, auxiliary_model=model)


def test_both_gradients_are_clipped_together(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_grad_norm=1e-3, optim="sgd", learning_rate=1.0, max_steps=1, warmup_steps=0)
    before = weights_of(trainer.model)
    trainer.train()
    auxiliary = LaneTrainerStart(trainer, tmp_path, "bert", "full").before
    moved = [weights - before[name] for name, weights in weights_of(trainer.model).items()]
    moved += [weights - auxiliary[name] for name, weights in weights_of(trainer.auxiliary_model).items()]
    norm = torch.cat([change.flatten() for change in moved]).norm().item()
    assert norm == pytest.approx(1e-3, rel=0.05)


# ---- Starting again ----


def test_model_init_starts_both_networks_afresh(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model_init=lambda: make_model("bert"))
    trainer.train()
    first, first_auxiliary = weights_of(trainer.model), weights_of(trainer.auxiliary_model)
    trainer.train()
    assert all(torch.equal(first[name], weights) for name, weights in weights_of(trainer.model).items())
    assert all(
        torch.equal(first_auxiliary[name], weights) for name, weights in weights_of(trainer.auxiliary_model).items()
    )
    assert (trainer.alm.count == 2).all()


def test_training_twice_goes_on_with_both_networks(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train()
    classifier, auxiliary = trainer.model, trainer.auxiliary_model
    before = {**weights_of(classifier), **{f"aux.{n}": w for n, w in weights_of(auxiliary).items()}}
    trainer.train()
    assert trainer.model is classifier
    assert trainer.auxiliary_model is auxiliary
    after = {**weights_of(classifier), **{f"aux.{n}": w for n, w in weights_of(auxiliary).items()}}
    assert not any(torch.equal(before[name], weights) for name, weights in after.items())


def test_hyperparameter_search_gives_each_trial_fresh_networks(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path,
        model_init=lambda trial: make_model("bert"),
        auxiliary_model=make_model("bert", seed=9),
    )
    starts = []
    prepare = trainer._prepare_for_training

    def spy(*args: object, **kwargs: object) -> object:
        result = prepare(*args, **kwargs)
        starts.append(weights_of(trainer.auxiliary_model))
        return result

    trainer._prepare_for_training = spy
    trainer.train()
    trainer.train()
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


def test_a_given_auxiliary_network_is_used_with_the_default_configuration(tmp_path: Path) -> None:
    args = LaneConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, num_train_epochs=1, weighting_warmup=0)
    assert args.auxiliary == "none"
    given = make_model("bert", seed=3)
    before = weights_of(given)
    options = {"train_dataset": dataset_for("bert"), "processing_class": make_tokenizer()}
    trainer = LaneTrainer(model=make_model("bert"), args=args, auxiliary_model=given, **options)
    trainer.train()
    assert trainer.auxiliary_model is given
    assert any(not torch.equal(weights, before[name]) for name, weights in weights_of(given).items())


def test_a_network_of_the_users_changes_no_arguments_of_another_trainer(tmp_path: Path) -> None:
    config = arguments(tmp_path, auxiliary="none")
    given = {"train_dataset": dataset_for("bert"), "processing_class": make_tokenizer()}
    first = LaneTrainer(make_model("bert"), config, auxiliary_model=make_model("bert", seed=2), **given)
    assert (first.args.auxiliary, config.auxiliary) == ("full", "none")
    assert LaneTrainer(make_model("bert"), config, **given).args.auxiliary == "none"
