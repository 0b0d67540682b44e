"""Short ways to make trainers for tests: tiny models, few steps, no reports."""

from pathlib import Path
from typing import Any

import torch
from tiny import make_image_dataset, make_model, make_text_dataset, make_tokenizer
from torch import nn
from transformers import Trainer, TrainingArguments

from lane_hf import LaneConfig, LaneTrainer

QUIET = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "logging_steps": 1}
NEUTRAL = {"reweight": False, "contrastive": "none", "auxiliary": "none"}


def arguments(output_dir: Path, kind: type[TrainingArguments] = LaneConfig, **changes: Any) -> Any:
    """Return arguments for two epochs of eight batches, with a learning rate at which tiny models move."""
    if issubclass(kind, LaneConfig):
        # Two networks, whose machinery most tests are about.
        two = {"weighting_warmup": 1.0, "auxiliary": "full", "weighting": "mixture", "bootstrap": "none"}
        two |= {"wait_for_labels": False, "contrastive": "none", "weighting_warmup_steps": 0}
        two["contrastive_min_steps"] = 0
        changes = {**two, **changes}
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "seed": 1}
    return kind(output_dir=str(output_dir), **{**QUIET, **settings, **changes})


def dataset_for(family: str, num_rows: int = 64, num_labels: int = 4, seed: int = 0) -> Any:
    if family == "vit":
        return make_image_dataset(num_rows, num_labels, seed)
    return make_text_dataset(num_rows, num_labels, seed, tokenizer=make_tokenizer())


def make_trainer(output_dir: Path, family: str = "bert", kind: type[Trainer] = LaneTrainer, **changes: Any) -> Trainer:
    """Return a trainer on learnable toy data; what is no argument of training goes to the trainer."""
    own = ("model", "model_init", "train_dataset", "eval_dataset", "data_collator", "compute_metrics", "callbacks")
    own += ("optimizers", "optimizer_cls_and_kwargs")
    given = {name: changes.pop(name) for name in (*own, "auxiliary_model") if name in changes}
    args_kind = changes.pop("args_kind", LaneConfig)
    if "model" not in given and "model_init" not in given:
        given["model"] = make_model(family, dropout=changes.pop("dropout", 0.1))
    given.setdefault("train_dataset", dataset_for(family))
    if family != "vit":
        given.setdefault("processing_class", make_tokenizer())
    return kind(args=arguments(output_dir, args_kind, **changes), **given)


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_same_weights(first: nn.Module, second: nn.Module, **tolerance: float) -> None:
    """Assert equal parameters: bit for bit, or to a tolerance if one is given."""
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if tolerance:
            torch.testing.assert_close(
                ours[name], theirs[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
            )
        else:
            assert torch.equal(ours[name], theirs[name]), name


def logged(trainer: Trainer, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


class Rows(torch.utils.data.Dataset):
    """A plain map-style data set over a list."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]
