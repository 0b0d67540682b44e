"""Train a tiny LaneTrainer sharded by FSDP2, and save what it knows; resume from a checkpoint if there is one."""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from tiny import make_text_dataset, make_tokenizer
from training import make_trainer
from transformers import AutoModelForSequenceClassification

from lane_hf import averaging_trainer


def allow_processors() -> None:
    """Let Accelerate shard on processors: it sets up FSDP for accelerators only, PyTorch's has no such limit."""
    original = AcceleratorState.__init__

    def with_fsdp(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.fsdp_plugin = fsdp_plugin
        if getattr(self, "fsdp_plugin", None) is not None:
            self.distributed_type = DistributedType.FSDP

    AcceleratorState.__init__ = with_fsdp  # type: ignore[method-assign]


def full(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    from torch.distributed.tensor import DTensor

    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
        for name, value in module.state_dict().items()
    }


def learn(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    options = dict(options)
    resume, sharded = options.pop("resume", None), int(os.environ.get("WORLD_SIZE", "1")) > 1
    state_dict_type = options.pop("state_dict_type", "FULL_STATE_DICT")
    if sharded:
        options |= {"fsdp": True, "fsdp_config": {"state_dict_type": state_dict_type}}
    data = make_text_dataset(37, 4, 0, tokenizer=make_tokenizer())
    settings = {
        "num_train_epochs": 3,
        "optim": "sgd",
        "learning_rate": 0.1,
        "dropout": 0.0,
        "check_replicas": True,
        "train_dataset": data,
        "eval_dataset": make_text_dataset(20, 4, 1, tokenizer=make_tokenizer()),
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
    }
    batch_size = 12 // int(os.environ.get("WORLD_SIZE", "1"))
    trainer = make_trainer(folder, per_device_train_batch_size=batch_size, **{**settings, **options})
    trainer.train(resume_from_checkpoint=str(folder / resume) if resume else None)
    trainer.save_model(str(folder / "final"))
    result: dict[str, Any] = {"is_sharded": type(trainer.joint_model).__name__ == "FSDPJointModel"}
    result |= {"classifier": full(trainer.model), "auxiliary": full(trainer.auxiliary_model)}
    result |= {"alm": trainer.alm.state_dict(), "rows": trainer.row_statistics.state_dict()}
    result |= {"optimizer_steps": trainer.state.global_step}
    result |= {"logits": torch.as_tensor(trainer.predict(data.select(range(10))).predictions)}
    if os.environ.get("RANK", "0") == "0":
        plain = AutoModelForSequenceClassification.from_pretrained(folder / "final")
        result["saved"] = plain.state_dict()
    return result


def main(output: Path, scenarios: dict[str, dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    allow_processors()
    averaging_trainer.MIN_STEPS = 0
    gc.collect()
    gc.freeze()  # each start of a training collects garbage: it need not look at what was imported
    for name, options in scenarios.items():
        learned = learn(output / options.pop("folder", name), options)
        if os.environ.get("RANK", "0") == "0":
            torch.save(learned, output / f"{name}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
