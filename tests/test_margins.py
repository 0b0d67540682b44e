"""Margins, label-aware margins and smoothed probabilities against one-row-at-a-time references."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import slow_label_aware_margin, slow_margin

from lane_hf.margins import label_aware_margin, make_label_aware, margin, smooth_probabilities

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
EMOTIONS = ["SDN", "JOY", "FER", "ANG", "SRP", "DSG", "TRS", "ANT"]
TABLE_LOGITS = [1.1, 0.45, 1.2, 1.8, 0.27, 1.56, 0.11, -0.7]


@st.composite
def margin_cases(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits with many ties or none, labels, and probabilities that may be tiny or zero."""
    rows, classes = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    dtype = draw(st.sampled_from(DTYPES))
    tied = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0])
    free = st.floats(-50, 50, width=32)
    value = draw(st.sampled_from([tied, free]))
    matrix = st.lists(st.lists(value, min_size=classes, max_size=classes), min_size=rows, max_size=rows)
    prob = st.one_of(st.sampled_from([0.0, 1e-9, 1e-6, 1e-4, 0.5, 1.0]), st.floats(0, 1, width=32))
    probs = st.lists(st.lists(prob, min_size=classes, max_size=classes), min_size=rows, max_size=rows)
    labels = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    return (
        torch.tensor(draw(matrix), dtype=torch.float64).to(dtype),
        torch.tensor(draw(labels)),
        torch.tensor(draw(probs), dtype=torch.float64).to(dtype),
    )


def table_row(prob_of_anger: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    probs = torch.full((1, 8), (1 - prob_of_anger) / 7)
    probs[0, EMOTIONS.index("ANG")] = prob_of_anger
    return torch.tensor([TABLE_LOGITS]), torch.tensor([EMOTIONS.index("FER")]), probs


@settings(deadline=None, max_examples=200)
@given(margin_cases())
def test_margin_and_runner_up_equal_the_loop_reference(case: tuple[torch.Tensor, ...]) -> None:
    logits, labels, _ = case
    values, runner_up = margin(logits, labels)
    expected = [slow_margin(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert values.dtype == torch.float32
    assert values.shape == labels.shape
    assert runner_up.dtype == torch.int64
    assert runner_up.tolist() == [index for _, index in expected]
    assert values.tolist() == pytest.approx([value for value, _ in expected], rel=1e-6, abs=1e-7)


@settings(deadline=None, max_examples=200)
@given(margin_cases())
def test_label_aware_margin_equals_the_loop_reference(case: tuple[torch.Tensor, ...]) -> None:
    logits, labels, probs = case
    values = label_aware_margin(logits, labels, probs)
    expected = [
        slow_label_aware_margin(row, label, prob)
        for row, label, prob in zip(logits.tolist(), labels.tolist(), probs.tolist(), strict=True)
    ]
    assert values.dtype == torch.float32
    assert values.shape == labels.shape
    assert values.tolist() == pytest.approx(expected, rel=2e-6, abs=1e-7)
    assert torch.equal(make_label_aware(*margin(logits, labels), probs), values)


def test_margin_reproduces_the_first_table_of_the_paper() -> None:
    logits, labels, _ = table_row(0.8955)
    values, runner_up = margin(logits, labels)
    assert values.item() == pytest.approx(-0.6, abs=1e-6)
    assert EMOTIONS[runner_up.item()] == "ANG"


@pytest.mark.parametrize(("prob_of_anger", "printed"), [(0.8955, -0.67), (0.5217, -1.15)])
def test_label_aware_margin_reproduces_the_first_table_of_the_paper(prob_of_anger: float, printed: float) -> None:
    value = label_aware_margin(*table_row(prob_of_anger)).item()
    assert value == pytest.approx(-0.6 / prob_of_anger, abs=1e-5)
    assert round(value, 2) == printed


def test_ties_for_runner_up_go_to_the_lowest_index() -> None:
    logits = torch.tensor([[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0], [0.0, 1.0, 5.0, 1.0], [-0.0, 7.0, 0.0, -0.0]])
    _, runner_up = margin(logits, torch.tensor([0, 2, 2, 1]))
    assert runner_up.tolist() == [1, 0, 1, 0]


def test_wide_tied_rows_still_give_the_lowest_index() -> None:
    classes = 1000
    labels = torch.tensor([0, 1, 500, 999])
    _, runner_up = margin(torch.zeros(4, classes), labels)
    assert runner_up.tolist() == [1, 0, 0, 0]


def test_label_aware_margin_uses_the_probability_of_the_lowest_tied_index() -> None:
    value = label_aware_margin(torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([0]), torch.tensor([[0.1, 0.5, 0.25]]))
    assert value.item() == pytest.approx(-2.0)


def test_label_aware_margin_reads_the_runner_up_column_of_its_own_row() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.5], [0.5, 0.0, 2.0]])
    probs = torch.tensor([[0.9, 0.5, 0.1], [0.3, 0.3, 0.4]])
    values = label_aware_margin(logits, torch.tensor([0, 0]), probs)
    assert values.tolist() == pytest.approx([-1.0 / 0.5, -1.5 / 0.4])


def test_label_aware_margin_leaves_zero_and_positive_margins_unscaled() -> None:
    logits = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0078125, 0.0]])
    values = label_aware_margin(logits, torch.tensor([0, 1, 0]), torch.full((3, 2), 1e-3))
    assert values.tolist() == [1.0, 0.0, 0.0078125]


@pytest.mark.parametrize("prob", [0.0, 1e-12, 1e-6])
def test_label_aware_margin_floors_the_probability_at_one_millionth(prob: float) -> None:
    value = label_aware_margin(torch.tensor([[0.0, 0.5]]), torch.tensor([0]), torch.tensor([[1.0, prob]]))
    assert value.item() == pytest.approx(-0.5e6, rel=1e-5)


def test_margin_of_two_classes_is_the_difference_of_the_logits() -> None:
    values, runner_up = margin(torch.tensor([[0.25, 1.0], [0.25, 1.0]]), torch.tensor([0, 1]))
    assert values.tolist() == [-0.75, 0.75]
    assert runner_up.tolist() == [1, 0]


def test_runner_up_is_never_the_label_when_every_other_logit_is_minus_infinity() -> None:
    logits = torch.full((3, 3), -math.inf)
    logits[0, 0] = logits[1, 1] = logits[2, 2] = 1.0
    values, runner_up = margin(logits, torch.tensor([0, 1, 2]))
    assert runner_up.tolist() == [1, 0, 0]
    assert values.tolist() == [math.inf] * 3


@pytest.mark.parametrize("label", [0, 1])
def test_runner_up_is_right_at_the_most_negative_finite_float32(label: int) -> None:
    lowest = torch.finfo(torch.float32).min
    logits = torch.full((1, 2), lowest)
    values, runner_up = margin(logits, torch.tensor([label]))
    assert runner_up.tolist() == [1 - label]
    assert values.item() == 0.0


def test_half_precision_margins_are_computed_in_float32() -> None:
    wide = torch.tensor([[60000.0, -60000.0]], dtype=torch.float16)
    assert margin(wide, torch.tensor([1]))[0].item() == -120000.0
    fine = torch.tensor([[256.0, -1.0]], dtype=torch.bfloat16)
    assert margin(fine, torch.tensor([1]))[0].item() == -257.0


def test_a_row_with_nan_logits_leaves_the_other_rows_alone() -> None:
    logits = torch.tensor([[math.nan, math.nan], [0.0, 2.0]])
    values, runner_up = margin(logits, torch.tensor([0, 0]))
    assert values[1].item() == -2.0
    assert runner_up[1].item() == 1


def test_margins_carry_no_gradient_and_leave_their_inputs_unchanged() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.5], [2.0, 0.0, 1.0]], requires_grad=True)
    probs = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]], requires_grad=True)
    before = logits.detach().clone(), probs.detach().clone()
    labels = torch.tensor([0, 0])
    values, runner_up = margin(logits, labels)
    aware = label_aware_margin(logits, labels, probs)
    assert not values.requires_grad
    assert not runner_up.requires_grad
    assert not aware.requires_grad
    assert torch.equal(logits, before[0])
    assert torch.equal(probs, before[1])
    assert labels.tolist() == [0, 0]


@settings(deadline=None, max_examples=100)
@given(margin_cases(), st.one_of(st.sampled_from([0.0, 0.1, 0.999]), st.floats(0, 1, exclude_max=True)))
def test_smooth_probabilities_mix_in_the_uniform_distribution(case: tuple[torch.Tensor, ...], eps: float) -> None:
    probs = case[2]
    smoothed = smooth_probabilities(probs, eps)
    classes = probs.shape[1]
    assert smoothed.dtype == torch.float32
    assert smoothed.shape == probs.shape
    for got, row in zip(smoothed.tolist(), probs.tolist(), strict=True):
        assert got == pytest.approx([(1 - eps) * p + eps / classes for p in row], rel=1e-6, abs=1e-7)


def test_smoothed_distributions_still_sum_to_one_and_are_bounded_below() -> None:
    smoothed = smooth_probabilities(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.2)
    assert smoothed.sum().item() == pytest.approx(1.0)
    assert smoothed.tolist()[0] == pytest.approx([0.85, 0.05, 0.05, 0.05])


def test_smooth_probabilities_pass_the_gradient_scaled_by_one_minus_eps() -> None:
    probs = torch.tensor([[0.2, 0.8, 0.0], [0.1, 0.3, 0.6]], requires_grad=True)
    upstream = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    smooth_probabilities(probs, 0.25).backward(upstream)
    assert probs.grad is not None
    torch.testing.assert_close(probs.grad, 0.75 * upstream)


def test_smooth_probabilities_do_not_change_their_input() -> None:
    probs = torch.tensor([[0.2, 0.8]])
    smooth_probabilities(probs, 0.5)
    assert torch.equal(probs, torch.tensor([[0.2, 0.8]]))


@pytest.mark.parametrize("eps", [-1e-9, -1.0, 1.0, 1.5, math.inf, -math.inf, math.nan])
def test_smooth_probabilities_reject_eps_outside_the_half_open_unit_interval(eps: float) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        smooth_probabilities(torch.tensor([[0.5, 0.5]]), eps)
