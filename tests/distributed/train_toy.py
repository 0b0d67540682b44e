"""Train tiny trainers, in as many processes as the launcher starts, and save what the main process knows of each."""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tiny import make_model, make_text_dataset, make_tokenizer
from training import logged, make_trainer, weights_of
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from lane_hf import LaneTrainer, RowTrainer, averaging_trainer
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.checkpoint_folders import checkpoints
from lane_hf.methods import method_of

STAGES = ("aum", "cartography-easy")
WIDTH = 16  # tokens, where all batches must be of equal width


class Meddler(TrainerCallback):
    """Spoils the averages of one process only."""

    def __init__(self) -> None:
        self.trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.process_index == 1 and state.global_step == 2:
            self.trainer.alm.update(torch.tensor([0]), torch.tensor([5.0]))


def make(folder: Path, options: dict[str, Any]) -> Any:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    options = dict(options)
    name = options.pop("trainer", "lane")
    if name == "stock":
        kind, options["args_kind"] = Trainer, TrainingArguments
    else:
        method = method_of(name)
        kind, options["args_kind"] = method.trainer, method.config
        options = {**method.fixed, **options}
    if name in STAGES:
        options["model_init"] = lambda: make_model("bert", dropout=0.0)
    num_rows, batch_size = options.pop("num_rows", 37), options.pop("global_batch", 12)
    if options.pop("views", False):
        # The same words in another order: a view that depends on nothing but the row.
        view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
        options["data_collator"] = ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, 1, seed=0)
    if options.pop("fixed_width", False):
        options["data_collator"] = DataCollatorWithPadding(make_tokenizer(), padding="max_length", max_length=WIDTH)
    if processes > 1:
        options["accelerator_config"] = options.pop("sharing", None)
    options.pop("sharing", None)
    is_split = (options.get("accelerator_config") or {}).get("split_batches", False)
    meddler = Meddler()
    if options.pop("meddle", False):
        options["callbacks"] = [meddler]
    settings = {
        "num_train_epochs": 3,
        # Plain gradient descent: AdamW would blow up the rounding noise of gradients that are zero (key biases).
        "optim": "sgd",
        "learning_rate": 0.1,
        **({} if name in STAGES else {"dropout": 0.0}),
        **({} if kind is Trainer else {"check_replicas": True}),
        "train_dataset": make_text_dataset(num_rows, 4, 0, tokenizer=make_tokenizer()),
    }
    trainer = make_trainer(
        folder,
        kind=kind,
        per_device_train_batch_size=batch_size if is_split else batch_size // processes,
        **{**settings, **options},
    )
    meddler.trainer = trainer
    return trainer


def learn(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    options = dict(options)
    resume = options.pop("resume", None)
    trainer = make(folder, options)
    try:
        trainer.train(resume_from_checkpoint=str(folder / resume) if resume else None)
    except RuntimeError as error:
        return {"error": str(error), "processes": trainer.accelerator.num_processes}
    result: dict[str, Any] = {"processes": trainer.accelerator.num_processes, "classifier": weights_of(trainer.model)}
    result["checkpoints"] = [path.name for path in checkpoints(folder)]
    result["parameters"] = sum(parameter.numel() for parameter in trainer.model_wrapped.parameters())
    if isinstance(trainer, RowTrainer):
        loss = logged(trainer, "loss_ce") or logged(trainer, "loss_method")
        result |= {"rows": trainer.row_statistics.state_dict(), "loss": loss}
        result["parts"] = {part: state.state_dict() for part, state in trainer.stateful_parts().items()}
        result["scores"] = trainer.row_scores().scores.cpu()
    if isinstance(trainer, LaneTrainer):
        result |= {"alm": trainer.alm.state_dict(), "weights": logged(trainer, "lane/mean_weight")}
        if trainer.auxiliary_model is not None:
            result |= {"auxiliary": weights_of(trainer.auxiliary_model)}
        result |= {"contrastive": logged(trainer, "loss_contrastive")}
    return result


def main(output: Path, scenarios: dict[str, dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    averaging_trainer.MIN_STEPS = 0
    gc.collect()
    gc.freeze()  # each start of a training collects garbage: it need not look at what was imported
    for name, options in scenarios.items():
        learned = learn(output / options.pop("folder", "run"), options)
        if os.environ.get("RANK", "0") == "0":
            torch.save(learned, output / f"{name}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
