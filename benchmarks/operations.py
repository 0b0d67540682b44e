"""How many operations a training step asks of the device: networks, rows, contrastive term, optimizer.

    python benchmarks/operations.py --output operations.jsonl
    python benchmarks/operations.py --methods Trainer lane "lane[auxiliary=full]"
    python benchmarks/operations.py --show operations.jsonl --into docs/explanation/performance.md --name operations

On a GPU each operation is a kernel that the host must launch. Where a kernel is done before the host has launched the
next one, a step takes as long as its launches, however small the tensors are. The number depends neither on the
machine's speed nor on what else runs, and is the same in every run.

Counted is what reaches PyTorch's dispatcher below autograd, without views and allocations, which launch nothing. An
operation of the backward pass belongs to the part whose operation it is the gradient of. On a processor gradients are
clipped parameter by parameter, on a GPU in a few operations: that is in *the rest*.
"""

import argparse
import bisect
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from cost import (
    TRAINER,
    Material,
    add_model_arguments,
    how_it_was_measured,
    make_material,
    make_trainer,
    network_and_machine,
    settled,
    without_settled,
)
from documents import add_line_arguments, keep_line, measure_or_show
from step_split import OPTIMIZER, REST, name_parts
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from lane_hf.run_arguments import has_fast_bf16

_ALLOCATIONS = ("empty", "new_empty", "detach", "lift", "resize_", "set_")


class CountOperations(TorchDispatchMode):
    """Counts what it sees, by part.

    Example:
        >>> with CountOperations() as counter, counter.part("sum"):
        ...     total = torch.ones(2, 3).T.sum()
        >>> dict(counter.numbers)
        {'sum': 2}
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Counter[str] = Counter()
        self._parts: list[str] = []
        # From which number of autograd's on which part ran: the gradient of an operation has its number.
        self._begins: list[int] = []
        self._owners: list[str] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Let what runs inside belong to a part; a part within a part counts for itself."""
        self._parts.append(name)
        self._note()
        try:
            yield
        finally:
            self._parts.pop()
            self._note()

    def _note(self) -> None:
        self._begins.append(torch._C._autograd._get_sequence_nr())
        self._owners.append(self._parts[-1] if self._parts else REST)

    def _current(self) -> str:
        if self._parts:
            return self._parts[-1]
        node = torch._C._current_autograd_node()
        if node is None:
            return REST
        at = bisect.bisect_right(self._begins, node._sequence_nr()) - 1
        owner = self._owners[at] if 0 <= at < len(self._owners) - 1 else REST
        return owner if owner == REST else f"{owner}, backward"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, and run it."""
        if not _launches_nothing(func._schema):
            self.numbers[self._current()] += 1
        return func(*args, **(kwargs or {}))


def _launches_nothing(schema: Any) -> bool:
    name = schema.name.partition("::")[2]
    is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in schema.returns)
    return is_view or name.startswith(_ALLOCATIONS)


class CountSteps(TrainerCallback):
    """Counts the operations of the steps from `first` on, and ends the training after `number` of them."""

    def __init__(self, counter: CountOperations, first: int, number: int) -> None:
        self.counter, self.first, self.number = counter, first, number
        self._optimizer: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin before the first step that counts."""
        if state.global_step == self.first:
            self.counter.__enter__()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that gradients are clipped, and the optimizer is next."""
        self._optimizer = self.counter.part(OPTIMIZER)
        self._optimizer.__enter__()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that the optimizer is done."""
        self._optimizer.__exit__(None, None, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End after the last one, and training with it."""
        if state.global_step == self.first + self.number:
            self.counter.__exit__(None, None, None)
            control.should_training_stop = True


def operations_of(name: str, material: Material, args: argparse.Namespace) -> dict[str, float]:
    """Train some steps, and return the operations a step of each part."""
    counter = CountOperations()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(settled(name), folder, material, args)
        name_parts(trainer, counter.part)
        trainer.add_callback(CountSteps(counter, args.first, args.steps))
        trainer.train()
    return {part: number / args.steps for part, number in counter.numbers.items()}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the markdown table: a row for each part, a column for each method, and their sum."""
    totals: Counter[str] = Counter()
    for line in lines:
        totals.update(line["operations"])
    names = [part for part, _ in totals.most_common() if part != REST] + [REST]
    columns = [line["operations"] for line in lines]
    cells = [
        ["part", *(f"`{line['method']}`" for line in lines)],
        *([part, *(_number(own.get(part, 0)) for own in columns)] for part in names),
        ["**together**", *(_number(sum(own.values())) for own in columns)],
    ]
    head, *rows = (f"| {' | '.join(row)} |" for row in cells)
    return "\n".join([head, "|---" * (len(lines) + 1) + "|", *rows])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table, below a line that says how it was counted."""
    first = lines[0]
    precision = ", bfloat16 autocast" if first["bf16"] else ""
    return (
        f"Mean of {first['steps']} steps in batches of {first['batch_size']}, "
        f"{network_and_machine(first)}{precision}\n\n{table(lines)}"
    )


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the benchmark and return a line for each method."""
    transformers.logging.set_verbosity_error()
    args.epochs = 1
    material = make_material(args.batch_size * (args.first + args.steps + 1), args)
    about = how_it_was_measured(args, "steps", "batch_size", "max_length", "layers", "network")
    about["bf16"] = has_fast_bf16()  # as make_trainer does it
    lines = []
    for name in args.methods:
        line = {"method": without_settled(name), "operations": operations_of(name, material, args), **about}
        lines.append(keep_line(line, args))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [TRAINER, "plain", "lane", "lane[auxiliary=full]"]
    parser.add_argument("--methods", nargs="+", default=usual, help="As accuracy.py has them.")
    add_model_arguments(parser)
    parser.add_argument("--first", type=int, default=3, help="Steps that are not counted.")
    parser.add_argument("--steps", type=int, default=64, help="Steps that are.")
    add_line_arguments(parser, "operations")
    args = parser.parse_args(argv)
    measure_or_show(args, measure, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
