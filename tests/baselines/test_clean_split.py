"""Which rows low losses speak for."""

import math

import pytest
import torch

from lane_hf.baselines.clean_split import CLEAN, CleanSplit


def two_humps(rows: int = 200, bad: float = 0.3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    is_bad = torch.rand(rows, generator=generator) < bad
    losses = torch.where(is_bad, 3.0, 0.3) + 0.1 * torch.randn(rows, generator=generator)
    return losses, is_bad


def test_low_losses_are_clean() -> None:
    losses, is_bad = two_humps()
    split, labels = CleanSplit(200), torch.zeros(200, dtype=torch.int64)
    split.update(torch.arange(200), losses)
    everyone = torch.arange(200)
    assert torch.equal(split.probability(everyone, labels), torch.ones(200))  # not fitted yet
    split.refit(labels, epoch=1)
    assert torch.equal(split.probability(everyone, labels) > CLEAN, ~is_bad)
    assert (split.epoch, split.finds_clean_rows) == (1, True)


def test_a_mixture_of_each_label_judges_a_label_by_its_own_rows() -> None:
    losses, is_bad = two_humps(400)
    labels = torch.arange(400) % 2
    losses = losses + 10 * labels  # a label that is learned late
    whole, each = CleanSplit(400), CleanSplit(400, num_labels=2)
    for split in (whole, each):
        split.update(torch.arange(400), losses)
        split.refit(labels, epoch=0)
    assert torch.equal(each.probability(torch.arange(400), labels) > CLEAN, ~is_bad)
    assert not bool((whole.probability(torch.arange(400), labels) > CLEAN)[labels == 1].any())


def test_the_loss_of_the_last_visit_counts_and_what_is_not_finite_does_not() -> None:
    split, labels = CleanSplit(4), torch.zeros(4, dtype=torch.int64)
    split.update(torch.tensor([0, 1, 2, 3]), torch.tensor([9.0, 0.1, 0.1, 9.0]))
    split.update(torch.tensor([0, 3, -1, 0]), torch.tensor([0.1, math.nan, 9.0, 9.0]))
    split.refit(labels, epoch=0)
    assert (split.probability(torch.arange(4), labels) > CLEAN).tolist() == [True, True, True, False]


def test_rows_never_seen_and_padding_are_clean() -> None:
    split, labels = CleanSplit(4), torch.zeros(4, dtype=torch.int64)
    split.update(torch.tensor([0, 1]), torch.tensor([0.1, 9.0]))
    split.refit(torch.tensor([0, 0, -1, -1]), epoch=0)
    assert split.probability(torch.tensor([3, -1, 1]), labels[:3]).round().tolist() == [1.0, 1.0, 0.0]


def test_equal_losses_are_all_clean() -> None:
    split, labels = CleanSplit(20), torch.zeros(20, dtype=torch.int64)
    split.update(torch.arange(20), torch.full((20,), 0.7))
    split.refit(labels, epoch=0)
    assert torch.equal(split.probability(torch.arange(20), labels), torch.ones(20))


def test_if_no_row_is_clean_all_count_as_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    losses, _ = two_humps()
    monkeypatch.setattr(
        "lane_hf.baselines.clean_split.clean_probability", lambda values, mixture, groups: torch.zeros_like(values)
    )
    split, labels = CleanSplit(200), torch.zeros(200, dtype=torch.int64)
    split.update(torch.arange(200), losses)
    split.refit(labels, epoch=0)
    assert not split.finds_clean_rows
    assert torch.equal(split.probability(torch.arange(200), labels), torch.ones(200))


@pytest.mark.parametrize("num_labels", [0, 3])
def test_a_state_is_continued_from(num_labels: int) -> None:
    losses, _ = two_humps()
    labels = torch.arange(200) % 3
    split, again = CleanSplit(200, num_labels), CleanSplit(200, num_labels)
    split.update(torch.arange(200), losses)
    split.refit(labels, epoch=2)
    again.load_state_dict(split.state_dict())
    assert again.epoch == 2
    assert torch.equal(again.probability(torch.arange(200), labels), split.probability(torch.arange(200), labels))
    fresh = CleanSplit(200, num_labels)
    fresh.load_state_dict(CleanSplit(200, num_labels).state_dict())
    assert fresh.epoch == -1
    with pytest.raises(ValueError, match="belongs to another data set"):
        CleanSplit(100, num_labels).load_state_dict(split.state_dict())
