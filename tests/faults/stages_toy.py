"""Kill a method with several stages inside and between them, go on, and compare with an undisturbed run."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from kill_toy import freeze, in_a_process
from safetensors.torch import load_file, save_file
from tiny import make_model, make_tokenizer
from training import dataset_for, make_trainer
from transformers import DataCollatorWithPadding

from lane_hf import InputError
from lane_hf.baselines import AumConfig, AumTrainer
from lane_hf.baselines import staged as staged_module

ROWS = 64


class KillingCollator:
    """Collates, and kills its own process instead of making a certain batch; it counts over all stages."""

    def __init__(self, batch: int | None) -> None:
        self.pad = DataCollatorWithPadding(make_tokenizer())
        self.batch = batch
        self.made = 0

    def __call__(self, examples: list[dict[str, Any]]) -> Any:
        self.made += 1
        if self.made == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pad(examples)


def train(folder: Path, batch: int | None) -> None:
    """Run all stages, from where an earlier run has got, and write what was learned."""
    trainer = make_trainer(
        folder,
        kind=AumTrainer,
        args_kind=AumConfig,
        model_init=lambda: make_model("bert"),
        train_dataset=dataset_for("bert", ROWS),
        data_collator=KillingCollator(batch),
        num_train_epochs=4,
        save_strategy="steps",
        save_steps=5,
        percentile=50,
    )
    try:
        AumTrainer.check_resumable(folder)
        resume = True
    except InputError:
        resume = False
    metrics = trainer.train(resume_from_checkpoint=resume).metrics
    learned = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    save_file({**learned, "kept": trainer.selection.kept.float()}, folder / "learned.safetensors")
    trainer.label_issues().to_parquet(folder / "issues.parquet")
    steps = {name: value for name, value in metrics.items() if "steps" in name and "per_second" not in name}
    (folder / "steps.json").write_text(json.dumps(steps))


def die_after_stage(stage: int) -> None:
    """Arrange that this process is killed when the outcome of a stage has just been written."""
    original = staged_module.save_state

    def save_state(folder: Path, *args: Any) -> Any:
        path = original(folder, *args)
        if Path(folder).name == f"stage-{stage}":
            os.kill(os.getpid(), signal.SIGKILL)
        return path

    staged_module.save_state = save_state


def same(first: Path, second: Path) -> bool:
    ours, theirs = (load_file(folder / "learned.safetensors") for folder in (first, second))
    files = ("issues.parquet", "steps.json")
    return all(torch.equal(ours[name], theirs[name]) for name in theirs) and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in files
    )


def main(folder: Path) -> dict[str, Any]:
    whole = folder / "whole"
    assert in_a_process(lambda: train(whole, None)) == 0
    outcomes = {}
    # 16 batches in each scoring run; the last one has as many steps as four epochs.
    plans = {f"batch {batch}": batch for batch in (3, 12, 24, 31, 38, 55)} | {"after stage 1": 0, "after stage 2": 0}
    for name, batch in plans.items():
        run = folder / name.replace(" ", "-")

        def disturbed(run: Path = run, name: str = name, batch: int = batch) -> None:
            if name.startswith("after"):
                die_after_stage(int(name[-1]))
            train(run, batch or None)

        status = in_a_process(disturbed)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        stages = sorted(path.parent.name for path in run.glob("stage-*/lane_state.safetensors"))
        resumed = in_a_process(lambda run=run: train(run, None)) == 0
        outcomes[name] = {"killed": killed, "stages_done": stages, "same": resumed and same(whole, run)}
    return outcomes


if __name__ == "__main__":
    torch.set_num_threads(1)
    freeze()
    output = Path(sys.argv[1])
    (output / "outcomes.json").write_text(json.dumps(main(output)))
