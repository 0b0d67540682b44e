"""Label interpolation: divergences and targets against plain float64 loops, and a whole run replayed by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interpolation_references import SlowRecord, random_logits, slow_divergence
from references import slow_softmax

from lane_hf.baselines.label_interpolation import (
    LabelDivergences,
    label_divergence,
    uniform_share,
)

# ---- Divergences ----


@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.1, 3.0, 30.0]))
def test_divergence_is_that_of_the_definition(seed: int, num_labels: int, scale: float) -> None:
    logits, labels = random_logits(5, num_labels, seed, scale)
    probs = logits.softmax(dim=1)
    got = label_divergence(probs.gather(1, labels[:, None]).squeeze(1))
    want = [
        slow_divergence(slow_softmax(row), label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(want), rtol=1e-5, atol=1e-6)


def test_divergence_falls_from_one_to_zero() -> None:
    got = label_divergence(torch.linspace(0, 1, 1001))
    assert got[0] == 1
    assert got[-1] == 0
    assert (got[1:] < got[:-1]).all()


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_normalised_divergences_agree_with_loops(seed: int, num_labels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_labels, (9,), generator=generator)
    labels[0], labels[1:] = 0, labels[1:].clamp_min(int(seed % 2))  # in odd cases row 0 is alone with its label
    divergences, record = LabelDivergences(9, num_labels), SlowRecord()
    for epoch in range(4):
        divergences.take_ranges(labels, epoch)
        record.begin_epoch()
        for _ in range(2):
            ids = torch.randint(-1, 9, (6,), generator=generator)
            probs = torch.rand(6, generator=generator)
            probs[5] = torch.nan
            asked = torch.tensor([-1, *range(9)])
            got = divergences.normalised(asked, labels[asked.clamp_min(0)])
            want = [0.0, *(record.share(row, int(labels[row])) for row in range(9))]
            torch.testing.assert_close(got, torch.tensor(want), rtol=1e-3, atol=1e-4)
            divergences.update(ids, probs)
            taken = set()
            for row, p in zip(ids.tolist(), probs.tolist(), strict=True):
                if row >= 0 and row not in taken and not math.isnan(p):
                    record.last[row] = int(labels[row]), slow_divergence([p, 1 - p], 0)
                taken.add(row)


def test_the_most_and_the_least_certain_row_of_each_label_get_zero_and_one() -> None:
    divergences, labels = LabelDivergences(6, 3), torch.tensor([0, 0, 0, 1, 1, 2])
    divergences.update(torch.arange(6), torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1, 0.5]))
    assert divergences.normalised(torch.arange(6), labels).eq(0).all()
    divergences.take_ranges(labels, epoch=0)
    got = divergences.normalised(torch.arange(6), labels)
    assert got[[0, 2, 3, 4, 5]].tolist() == [0, 1, 0, 1, 0]
    assert 0 < got[1] < 1
    divergences.update(torch.tensor([0, 2]), torch.tensor([1.0, 0.0]))
    assert divergences.normalised(torch.tensor([0, 2]), labels[[0, 2]]).tolist() == [0, 1]


def test_rows_whose_label_is_unknown_are_left_out_of_the_ranges() -> None:
    divergences = LabelDivergences(3, 2)
    divergences.update(torch.arange(3), torch.tensor([0.9, 0.5, 0.0]))
    divergences.take_ranges(torch.tensor([1, 1, -1]), epoch=0)
    assert divergences.normalised(torch.arange(3), torch.tensor([1, 1, 1])).tolist() == [0, 1, 1]
    assert divergences.normalised(torch.arange(3), torch.tensor([0, 0, 0])).tolist() == [0, 0, 0]


def test_state_comes_back_and_that_of_another_data_set_is_refused() -> None:
    labels = torch.tensor([0, 0, 1])
    divergences, other = LabelDivergences(3, 2), LabelDivergences(3, 2)
    divergences.update(torch.arange(3), torch.tensor([0.9, 0.5, 0.0]))
    divergences.take_ranges(labels, epoch=3)
    state = divergences.state_dict()
    want = divergences.normalised(torch.arange(3), labels)
    divergences.update(torch.arange(3), torch.tensor([0.1, 0.1, 0.1]))
    divergences.take_ranges(labels, epoch=4)
    other.load_state_dict(state)
    assert other.epoch == 3
    assert torch.equal(other.normalised(torch.arange(3), labels), want)
    for size in ((4, 2), (3, 3)):
        with pytest.raises(ValueError, match="another data set"):
            LabelDivergences(*size).load_state_dict(state)
    with pytest.raises(ValueError, match="no state of LabelDivergences"):
        other.load_state_dict({"probs": state["probs"]})
    with pytest.raises(IndexError, match="out of range"):
        other.update(torch.tensor([3]), torch.tensor([0.5]))


def test_the_common_share_falls_to_zero_over_part_of_training() -> None:
    got = [uniform_share(progress / 10, 0.4, 0.5) for progress in range(11)]
    assert got == pytest.approx([0.4, 0.32, 0.24, 0.16, 0.08, *[0.0] * 6])
    assert [uniform_share(progress, 0.4, 0.0) for progress in (0.0, 0.5)] == [0.0, 0.0]
