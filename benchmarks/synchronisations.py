"""How often the host waits for the GPU in a training step, for `transformers.Trainer` and for each method.

    python benchmarks/synchronisations.py --methods plain lane gce

PyTorch reports each operation that makes the host wait (`torch.cuda.set_sync_debug_mode`). Counted are the steps 5 to
14 of a run without logs: what is above Trainer's own count is the method's, and is shown with the line it comes from.
It needs a CUDA device.
"""

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from cost import TRAINER, Material, add_model_arguments, make_material, make_trainer
from transformers import TrainerCallback

FIRST, LAST = 5, 15


class CountWaits(TrainerCallback):
    """Lets PyTorch report what waits, between two steps."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin before the first step that counts."""
        if state.global_step == FIRST:
            torch.cuda.set_sync_debug_mode("warn")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End after the last one, and training with it."""
        if state.global_step == LAST:
            torch.cuda.set_sync_debug_mode("default")
            control.should_training_stop = True


def waits_of(name: str, material: Material, args: argparse.Namespace) -> Counter[str]:
    """Return how often each line of code made the host wait, in all counted steps."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(name, folder, material, args)
        trainer.add_callback(CountWaits())
        trainer.train()
    found = [entry for entry in caught if "synchronizing CUDA operation" in str(entry.message)]
    return Counter(f"{entry.filename}:{entry.lineno}" for entry in found)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["plain", "lane", "lane[auxiliary=full]"])
    add_model_arguments(parser)
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("error: no CUDA device is here, whose waits could be counted", file=sys.stderr)
        return 2
    transformers.logging.set_verbosity_error()
    material = make_material(args.batch_size * (LAST + 5), args)
    steps = LAST - FIRST
    usual = waits_of(TRAINER, material, args)
    print(f"{TRAINER}: {usual.total() / steps:g} waits a step")
    for name in args.methods:
        own = waits_of(name, material, args)
        print(f"{name}: {own.total() / steps:g} waits a step")
        for line, number in (own - usual).most_common():
            print(f"    {number / steps:g} a step at {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
