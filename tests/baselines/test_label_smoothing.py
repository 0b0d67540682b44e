"""Label smoothing: the formula against plain floats, and the first step of a run against the formula."""

import math
from pathlib import Path

import pytest
import torch
from references import slow_softmax
from tiny import make_model, make_tokenizer
from training import logged, make_trainer

from lane_hf import InputError
from lane_hf.baselines import LabelSmoothingConfig, LabelSmoothingTrainer
from lane_hf.baselines.label_smoothing import smoothed_cross_entropy


def slow_smoothed(row: list[float], label: int, smoothing: float) -> float:
    logs = [math.log(p) for p in slow_softmax(row)]
    return -(1 - smoothing) * logs[label] - smoothing / len(row) * math.fsum(logs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("num_labels", [2, 5])
def test_the_loss_is_that_of_the_formula(num_labels: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(8, num_labels, generator=generator)
    labels = torch.randint(0, num_labels, (8,), generator=generator)
    want = [slow_smoothed(row, label, smoothing) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    got = smoothed_cross_entropy(logits, labels, smoothing)
    assert got.tolist() == pytest.approx(want, rel=1e-5)
    assert smoothed_cross_entropy(logits.half(), labels, smoothing).dtype == torch.float32


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 0.8])
def test_first_loss_is_the_formula_on_the_logits_of_the_model(tmp_path: Path, smoothing: float) -> None:
    trainer = make_trainer(
        tmp_path,
        kind=LabelSmoothingTrainer,
        args_kind=LabelSmoothingConfig,
        dropout=0.0,
        max_steps=1,
        smoothing=smoothing,
    )
    model = make_model("bert", dropout=0.0).eval()
    trainer.train()
    ids = torch.nonzero(trainer.row_statistics.visits).flatten().tolist()
    assert len(ids) == 8
    rows = [trainer.train_dataset[index] for index in ids]
    labels = [row.pop("label") for row in rows]
    with torch.no_grad():
        logits = model(**make_tokenizer().pad(rows, return_tensors="pt")).logits.tolist()
    want = [slow_smoothed(row, label, smoothing) for row, label in zip(logits, labels, strict=True)]
    assert logged(trainer, "loss")[0] == pytest.approx(sum(want) / 8, abs=2e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_wrong_options(tmp_path: Path, smoothing: float) -> None:
    with pytest.raises(InputError, match="smoothing must be in"):
        LabelSmoothingConfig(output_dir=str(tmp_path), smoothing=smoothing)
