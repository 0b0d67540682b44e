"""Kill training at many places, resume until it is done, and say whether the outcome is that of an undisturbed run.

Everything heavy is imported once; each run is a process of its own, forked from this one: the kills are real.
"""

import gc
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import safetensors.torch
import torch
from safetensors.torch import load_file, save_file
from training import dataset_for, make_trainer
from transformers import TrainerCallback, TrainerState

from lane_hf import InputError, averaging_trainer
from lane_hf.checkpoint import STATE_FILE
from lane_hf.resume import last_whole_checkpoint

EPOCHS, ROWS, SAVE_STEPS = 3, 32, 3  # 12 steps of 8 rows, saved at 3, 6, 9 and 12; an epoch has 4
STEPS = EPOCHS * ROWS // 8


class KillAt(TrainerCallback):
    """Kills its own process, as the system would, after a step or in the middle of saving."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, step: int | None) -> None:
    """Train from the last whole checkpoint, or from the start, and write what was learned."""
    trainer = make_trainer(
        folder,
        train_dataset=dataset_for("bert", ROWS),
        num_train_epochs=EPOCHS,
        save_strategy="steps",
        save_steps=SAVE_STEPS,
        save_total_limit=2,
        weight_averaging=0.4,  # from step 4 on
        callbacks=[KillAt(step)],
    )
    try:
        checkpoint = str(last_whole_checkpoint(folder))
    except InputError:
        checkpoint = None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model(str(folder / "final"))
    learned = {"model": trainer.model.state_dict()}
    learned |= {name: part.state_dict() for name, part in trainer.stateful_parts().items()}
    flat = {f"{name}/{key}": value.clone() for name, part in learned.items() for key, value in part.items()}
    save_file(flat, folder / "learned.safetensors")
    trainer.label_issues().to_parquet(folder / "issues.parquet")
    (folder / "done").touch()


def freeze() -> None:
    """Have the processes that are forked not look for garbage in what was imported: that copies all of it for each."""
    gc.collect()
    gc.freeze()


def in_a_process(run: Callable[[], None], kill_after: float | None = None) -> int:
    """Run something in a forked process, kill it after some seconds if asked, and return its wait status."""
    child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def cut_short(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint and is none."""
    return any(not (path / "trainer_state.json").exists() for path in folder.glob("checkpoint-*"))


def same(first: Path, second: Path) -> bool:
    ours, theirs = (load_file(folder / "learned.safetensors") for folder in (first, second))
    tables = [(folder / "issues.parquet").read_bytes() for folder in (first, second)]
    return (ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)) and tables[
        0
    ] == tables[1]


def main(folder: Path, at_steps: int, at_times: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    whole = folder / "whole"
    started = time.monotonic()
    assert in_a_process(lambda: train(whole, None)) == 0
    seconds = time.monotonic() - started
    outcomes: dict[str, Any] = {"seconds": seconds, "kills": 0, "cut_short": 0, "trials": {}}
    plans: list[tuple[str, Any]] = [("step", step) for step in rng.sample(range(1, STEPS), at_steps)]
    plans += [("time", rng.uniform(0.2, 0.95) * seconds) for _ in range(at_times)]
    for number, (kind, when) in enumerate(plans):
        run = folder / f"{number}"
        if kind == "step":
            status = in_a_process(lambda run=run, when=when: train(run, when))
        else:
            status = in_a_process(lambda run=run: train(run, None), kill_after=when)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        outcomes["kills"] += killed
        outcomes["cut_short"] += cut_short(run)
        resumed = (run / "done").exists() or in_a_process(lambda run=run: train(run, None)) == 0
        outcomes["trials"][f"{kind} {when}"] = {"killed": killed, "same": resumed and same(whole, run)}
    return outcomes


def die_while_writing(target: str) -> None:
    """Arrange that this process is killed when it is about to write a file of its second checkpoint."""

    def die_at(path: Any) -> None:
        path = Path(str(path))
        if path.parent.name == f"checkpoint-{2 * SAVE_STEPS}" and path.name.startswith(Path(target).stem):
            path.write_bytes(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> Any:
            die_at(args[position])
            return original(*args, **kwargs)

        return write

    torch.save = dying(torch.save, 1)
    safetensors.torch.serialize_file = dying(safetensors.torch.serialize_file, 1)
    TrainerState.save_to_json = dying(TrainerState.save_to_json, 1)


def kill_while_saving(folder: Path) -> dict[str, Any]:
    """Kill a run in the middle of each file of its second checkpoint."""
    outcomes: dict[str, Any] = {}
    for target in (
        "model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        STATE_FILE,
        "rng_state.pth",
        "trainer_state.json",
    ):
        run = folder / f"saving-{target}"

        def interrupted(run: Path = run, target: str = target) -> None:
            die_while_writing(target)
            train(run, None)

        status = in_a_process(interrupted)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        left = sorted(path.name for path in run.glob("checkpoint-*"))
        resumed = in_a_process(lambda run=run: train(run, None)) == 0
        outcomes[target] = {"killed": killed, "left": left, "same": resumed and same(folder / "whole", run)}
    return outcomes


if __name__ == "__main__":
    torch.set_num_threads(1)
    averaging_trainer.MIN_STEPS = 0
    freeze()
    output, at_steps, at_times, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    result = main(output, at_steps, at_times, seed)
    result["saving"] = kill_while_saving(output)
    (output / "outcomes.json").write_text(json.dumps(result))
