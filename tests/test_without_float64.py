"""Batches on a device without float64, such as an Apple GPU: the rows are kept in main memory, and come out equal."""

from pathlib import Path
from typing import Any

import pytest
import torch
from other_device import MPS, ElsewhereTensor, OtherDevice
from torch import Tensor
from training import arguments

from lane_hf.baselines.noise_layer import Confusion
from lane_hf.buffer import AlmBuffer
from lane_hf.row_statistics import RowStatistics
from lane_hf.row_weights import RowWeights

LABELS, BATCH, STEPS = 3, 8, 20


def batches(rows: int, device: torch.device) -> list[tuple[Tensor, ...]]:
    """Row ids, labels and logits of some steps; about a third of the labels are wrong."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, LABELS, (rows,), generator=generator)
    steps = []
    for _ in range(STEPS):
        ids = torch.randperm(rows, generator=generator)[:BATCH]
        logits = torch.randn(BATCH, LABELS, generator=generator)
        logits[ids % 3 > 0, labels[ids[ids % 3 > 0]]] += 2
        steps.append(tuple(each.to(device) for each in (ids, labels[ids], logits)))
    return steps


def weights_of_steps(folder: Path, device: torch.device, options: dict[str, Any]) -> list[Tensor]:
    """Return the weights of each batch, and at last those of all rows, as a trainer asks for them."""
    rows, config = 40, arguments(folder, weighting_warmup=0.25, **options)
    statistics, buffer = RowStatistics(rows, LABELS), AlmBuffer(rows)
    weights, result = RowWeights(config, LABELS, rows, buffer.device), []
    for step, (ids, labels, logits) in enumerate(batches(rows, device)):
        epoch = step * BATCH / rows
        observation = statistics.observe(ids, labels, logits)
        statistics.record(observation)
        weights.observe(observation, epoch)
        buffer.update(ids, observation.margins)
        weights.refit_if_due(buffer, statistics, epoch)
        result.append(weights.of_batch(buffer, ids, labels, ids, epoch))
        assert result[-1].device == device
    return [*result, weights.of_all(buffer, statistics)]


@pytest.mark.parametrize(
    "options",
    [
        {"weighting": "gaussian"},
        {"weighting": "gaussian", "statistics": "batch"},
        {"weighting": "gaussian", "threshold": 0.5},
        {"weighting": "mixture", "wait_for_labels": True},
        {"weighting": "posterior", "wait_for_labels": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_weights_are_those_of_the_processor(tmp_path: Path, options: dict[str, Any]) -> None:
    expected = weights_of_steps(tmp_path, torch.device("cpu"), options)
    assert min(weights.min() for weights in expected) < 0.9
    with OtherDevice():
        weights = weights_of_steps(tmp_path, MPS, options)
    assert all(isinstance(each, ElsewhereTensor) for each in weights[:-1])
    for ours, theirs in zip(weights, expected, strict=True):
        assert torch.equal(ours.as_subclass(Tensor), theirs)


def test_confusions_are_counted_in_main_memory() -> None:
    ours, theirs = Confusion(LABELS), Confusion(LABELS)
    for _, labels, logits in batches(40, torch.device("cpu")):
        theirs.add(logits.argmax(dim=1), labels)
        with OtherDevice():
            ours.add(logits.to(MPS).argmax(dim=1), labels.to(MPS))
    assert torch.equal(ours.log_theta(), theirs.log_theta())
