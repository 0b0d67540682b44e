"""Two dropout views of a batch, from one forward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def run_twice(
    run: Callable[[nn.Module, dict[str, Any]], dict[str, Tensor]], model: nn.Module, inputs: dict[str, Any]
) -> dict[str, Tensor]:
    """Run a model on a batch and a copy of it at once, each with its own dropout.

    One pass, not two: data parallelism counts on one forward pass a step.

    Args:
        run: runs the model on inputs and returns tensors with one entry for each entry of the batch.
        model: the model.
        inputs: the batch; tensors of its length are doubled.

    Returns:
        What the model makes of the batch, by name, and of the copy, by name after `second_`.
    """
    number = len(next(iter(inputs.values())))
    twice = {
        name: torch.cat([value, value]) if isinstance(value, Tensor) and len(value) == number else value
        for name, value in inputs.items()
    }
    outputs = run(model, twice)
    first = {name: value[:number] for name, value in outputs.items()}
    return first | {f"second_{name}": value[number:] for name, value in outputs.items()}
