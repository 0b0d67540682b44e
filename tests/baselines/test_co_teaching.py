"""Co-teaching: which rows are kept, who learns them, and how much is forgotten when nobody says."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_text_dataset, make_tokenizer
from torch.nn import functional as F
from training import logged, make_trainer
from variants import train_and_check

from lane_hf import InputError
from lane_hf.baselines import CoTeachingConfig, CoTeachingTrainer
from lane_hf.baselines.base import Batch
from lane_hf.baselines.co_teaching import ForgetRate, estimated_noise_rate, kept_rows
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.row_statistics import RowStatistics
from lane_hf.step_rows import StepRows


def make(folder: Path, **options: Any) -> CoTeachingTrainer:
    return make_trainer(folder, kind=CoTeachingTrainer, args_kind=CoTeachingConfig, **options)


def slow_kept(losses: list[float], share: float) -> list[bool]:
    finite = [row for row, loss in enumerate(losses) if math.isfinite(loss)]
    number = max(1, math.ceil(round(share * len(finite), 6)))
    chosen = sorted(finite, key=lambda row: (losses[row], row))[:number]
    return [row in chosen for row in range(len(losses))]


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.0, math.inf]), min_size=1, max_size=20),
    st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.6, 0.9, 1.0]),
)
def test_kept_rows_are_the_first_of_the_sorted_ones(losses: list[float], share: float) -> None:
    assert kept_rows(torch.tensor(losses), share).tolist() == slow_kept(losses, share)


def test_a_share_of_the_rows_is_not_one_more_by_rounding() -> None:
    assert int(kept_rows(torch.arange(30.0), 0.1).sum()) == 3
    assert int(kept_rows(torch.arange(10.0), 0.7).sum()) == 7


def hand_made(first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, finite: torch.Tensor) -> Batch:
    number = len(labels)
    rows = StepRows(torch.arange(number), number, number, number, 1)
    return Batch(first, labels, finite, rows, {"logits": first, "auxiliary_logits": second}, labels)


def ready(folder: Path, **options: Any) -> CoTeachingTrainer:
    trainer = make(folder, **options)
    trainer.reset_rows()
    trainer.state.max_steps, trainer.state.global_step, trainer.state.epoch = 10, 10, 2.0
    return trainer


@pytest.mark.parametrize("seed", range(4))
def test_each_network_learns_what_the_other_has_chosen(tmp_path: Path, seed: int) -> None:
    trainer = ready(tmp_path, forget_rate=0.4)
    generator = torch.Generator().manual_seed(seed)
    first, second = (3 * torch.randn(10, 4, generator=generator) for _ in range(2))
    labels = torch.randint(0, 4, (10,), generator=generator)
    leaves = [first.clone().requires_grad_(), second.clone().requires_grad_()]
    loss = trainer.loss_of(hand_made(*leaves, labels, torch.ones(10)))
    ce = [[-row[y] + math.log(sum(map(math.exp, row))) for row, y in zip(z.tolist(), labels.tolist(), strict=True)]
          for z in (first, second)]  # fmt: skip
    by_first, by_second = (slow_kept(losses, 0.6) for losses in ce)
    want = np.mean([v for v, k in zip(ce[0], by_second, strict=True) if k])
    want += np.mean([v for v, k in zip(ce[1], by_first, strict=True) if k])
    assert loss.item() == pytest.approx(want, rel=1e-5)
    loss.backward()
    for leaf, kept in zip(leaves, (by_second, by_first), strict=True):
        assert (leaf.grad.abs().sum(dim=1) > 0).tolist() == kept
    scores = trainer.row_scores().scores[:10].tolist()
    assert scores == pytest.approx([-(a + b) / 2 for a, b in zip(*ce, strict=True)], rel=1e-5)


def test_rows_that_are_not_finite_in_either_network_are_never_kept(tmp_path: Path) -> None:
    trainer = ready(tmp_path, forget_rate=0.0)
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    first[0] = 0.0  # what a row that is not finite is replaced by
    second[1, 2] = math.nan
    labels = torch.tensor([0, 1, 2, 0])
    leaves = [first.requires_grad_(), second.requires_grad_()]
    loss = trainer.loss_of(hand_made(*leaves, labels, torch.tensor([0.0, 1.0, 1.0, 1.0])))
    loss.backward()
    assert math.isfinite(loss.item())
    for leaf in leaves:
        assert (leaf.grad.nan_to_num(9.0).abs().sum(dim=1) > 0).tolist() == [False, False, True, True]


def test_a_batch_without_any_finite_row_gives_a_zero_with_a_gradient(tmp_path: Path) -> None:
    trainer = ready(tmp_path)
    leaf = torch.zeros(3, 4, requires_grad=True)
    loss = trainer.loss_of(hand_made(leaf, torch.full((3, 4), math.nan), torch.tensor([0, 1, 2]), torch.ones(3)))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(leaf.grad, torch.zeros(3, 4))


def test_the_share_forgotten_rises_to_the_rate(tmp_path: Path) -> None:
    trainer = ready(tmp_path, forget_rate=0.5, forget_ramp=0.4)
    logits, labels = torch.randn(8, 4), torch.zeros(8, dtype=torch.int64)
    for step, kept in ((0, 8), (2, 6), (4, 4), (9, 4)):
        trainer.state.global_step = step
        leaf = logits.clone().requires_grad_()
        trainer.loss_of(hand_made(leaf, logits, labels, torch.ones(8))).backward()
        assert int((leaf.grad.abs().sum(dim=1) > 0).sum()) == kept


def test_the_noise_rate_is_estimated_from_margins() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, labels = 600, torch.arange(600) % 3
    bad = torch.rand(rows, generator=generator) < 0.3
    statistics = RowStatistics(rows, 3)
    true = torch.where(bad, (labels + 1) % 3, labels)
    logits = 4 * F.one_hot(true, 3).float() + 0.5 * torch.randn(rows, 3, generator=generator)
    statistics.record(statistics.observe(torch.arange(rows), labels, logits))
    assert estimated_noise_rate(statistics) == pytest.approx(bad.float().mean().item(), abs=0.02)


def test_a_rate_that_is_given_is_kept_and_one_that_is_not_is_estimated_once_an_epoch() -> None:
    rows = RowStatistics(40, 2)
    labels = torch.arange(40) % 2
    rows.record(rows.observe(torch.arange(40), labels, 3.0 * F.one_hot(labels, 2) + torch.randn(40, 2) * 0.1))
    wrong = torch.arange(10)
    for _ in range(4):
        rows.record(rows.observe(wrong, labels[wrong], 9.0 * F.one_hot(1 - labels[wrong], 2)))
    given_rate, free = ForgetRate(0.3), ForgetRate(None)
    for epoch in (0, 1, 2):
        given_rate.refresh(rows, epoch)
        free.refresh(rows, epoch)
        assert given_rate.value == 0.3
        assert free.epoch == (-1, 1, 2)[epoch]
    assert free.value == pytest.approx(0.25, abs=0.02)
    value, more = free.value, torch.arange(10, 25)
    for _ in range(9):
        rows.record(rows.observe(more, labels[more], 9.0 * F.one_hot(1 - labels[more], 2)))
    assert estimated_noise_rate(rows) > 0.4
    free.refresh(rows, epoch=2)
    assert free.value == value  # until the next epoch
    again, other = ForgetRate(None), ForgetRate(0.1)
    again.load_state_dict(free.state_dict())
    other.load_state_dict(free.state_dict())
    assert (again.value, again.epoch, other.value) == (free.value, 2, 0.1)


def test_wrong_labels_are_forgotten_and_ranked_low(tmp_path: Path) -> None:
    data = make_text_dataset(256, 4, tokenizer=make_tokenizer())
    noisy = inject_into_dataset(data, kind="uniform", rate=0.25, seed=3)
    flipped = np.asarray(noisy["is_flipped"])
    trainer = make(
        tmp_path,
        train_dataset=noisy.remove_columns(["is_flipped", "original_label"]),
        num_train_epochs=6,
        learning_rate=3e-3,
    )
    train_and_check(trainer, tmp_path / "final")
    table = trainer.label_issues().set_index("row_id").sort_index()
    scores = table["score"].to_numpy()
    wins = (scores[~flipped][:, None] > scores[flipped][None, :]).mean()
    assert wins > 0.9
    assert logged(trainer, "co_teaching/forget_rate")[-1] == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"forget_rate": 1.0}, "forget_rate must be in"), ({"forget_ramp": 1.5}, "forget_ramp must be in")],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CoTeachingConfig(output_dir=str(tmp_path), **options)
