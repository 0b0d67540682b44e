"""Statistics of the negative averages and the Gaussian weights, against float64 loops and Cantelli's inequality."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from references import (
    slow_gaussian_weight,
    slow_negative_stats,
    slow_threshold,
    slow_weight_below,
)

from lane_hf.weighting import NegativeStats, gaussian_weights, negative_stats

SMALLEST_WEIGHT = math.exp(-80.0)
TIED = st.sampled_from([-3.0, -1.5, -0.1, -0.0, 0.0, 0.1, 2.0])
FREE = st.floats(-1000, 1000, width=32)
NEGATIVE = st.floats(-1000, -(2.0**-10), width=32)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def assert_weight_in_float32_range(weight: float, value: float, mean: float, variance: float) -> None:
    """The weight lies where float32 arithmetic may put it: either the subtraction or the exponential may round."""
    slack = 2.5e-7 * max(1.0, abs(value), abs(mean))
    threshold = slow_threshold(mean)
    distance = mean - value
    low = slow_weight_below(distance + slack, variance) * (1 - 3e-5)
    high = slow_weight_below(max(distance - slack, 0.0), variance) * (1 + 3e-5)
    gaussian = low <= weight <= high
    if value < threshold - slack:
        assert gaussian, (weight, low, high)
    elif value > threshold + slack:
        assert weight == 1.0
    else:
        assert gaussian or weight == 1.0


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([TIED, FREE]).flatmap(lambda v: st.lists(v, min_size=1, max_size=20)), st.data())
def test_negative_stats_equal_the_loop_reference(values: list[float], data: st.DataObject) -> None:
    averages = torch.tensor(values, dtype=torch.float64).to(data.draw(st.sampled_from(DTYPES)))
    mask = data.draw(st.none() | st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    got = negative_stats(averages, None if mask is None else torch.tensor(mask))
    want = slow_negative_stats(averages.tolist(), mask)
    assert got.count.item() == want.count
    assert got.mean.item() == pytest.approx(want.mean, rel=1e-12, abs=0, nan_ok=True)
    assert got.variance.item() == pytest.approx(want.variance, rel=1e-9, abs=1e-18, nan_ok=True)


@pytest.mark.parametrize("values", [[-1.0, -2.0, 3.0], [1.0, 2.0]])
def test_negative_stats_are_scalar_tensors_of_the_documented_types(values: list[float]) -> None:
    stats = negative_stats(torch.tensor(values))
    assert isinstance(stats, NegativeStats)
    assert stats._fields == ("mean", "variance", "count")
    assert [part.dtype for part in stats] == [torch.float64, torch.float64, torch.int64]
    assert [part.dim() for part in stats] == [0, 0, 0]


@pytest.mark.parametrize(
    ("values", "mask"),
    [
        ([0.0, -0.0, 1.0], None),
        ([2.0], None),
        ([], None),
        ([-1.0, -2.0], [False, False]),
        ([-1.0, 2.0], [False, True]),
    ],
)
def test_negative_stats_of_an_empty_set_are_nan_with_count_zero(values: list[float], mask: list[bool] | None) -> None:
    stats = negative_stats(torch.tensor(values), None if mask is None else torch.tensor(mask))
    assert math.isnan(stats.mean.item())
    assert math.isnan(stats.variance.item())
    assert stats.count.item() == 0


def test_negative_stats_of_one_entry_have_zero_variance() -> None:
    stats = negative_stats(torch.tensor([5.0, -0.25, 3.0]))
    assert [part.item() for part in stats] == [-0.25, 0.0, 1]


def test_negative_stats_divide_by_the_count() -> None:
    stats = negative_stats(torch.tensor([-1.0, -3.0, 100.0]))
    assert [part.item() for part in stats] == [-2.0, 1.0, 2]


def test_variance_survives_a_mean_far_larger_than_the_spread() -> None:
    values = torch.tensor([-10000.0, -10000.001953125] * 50, dtype=torch.float32)
    want = slow_negative_stats(values.tolist())
    assert want.variance > 0
    assert negative_stats(values).variance.item() == pytest.approx(want.variance, rel=1e-6)


def test_masked_negative_stats_leave_their_inputs_unchanged() -> None:
    averages, mask = torch.tensor([-1.0, 2.0, -3.0]), torch.tensor([True, True, False])
    negative_stats(averages, mask)
    assert averages.tolist() == [-1.0, 2.0, -3.0]
    assert mask.tolist() == [True, True, False]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.one_of(TIED, FREE), min_size=1, max_size=8),
    st.one_of(NEGATIVE, TIED),
    st.one_of(st.sampled_from([0.0, 1e-15, 1e-12, 1e-6, 1.0]), st.floats(0, 1e5)),
    st.sampled_from(DTYPES),
)
@example([-1.0, -1.000002, -0.999998, -3.0], -1.0, 0.0, torch.float64)
def test_gaussian_weights_equal_the_loop_reference(
    values: list[float], mean: float, variance: float, dtype: torch.dtype
) -> None:
    alm = torch.tensor(values, dtype=torch.float64).to(dtype)
    weights = gaussian_weights(alm, mean, variance)
    assert weights.dtype == torch.float32
    assert weights.shape == alm.shape
    for weight, value in zip(weights.tolist(), alm.tolist(), strict=True):
        assert_weight_in_float32_range(weight, value, mean, variance)
        assert SMALLEST_WEIGHT * (1 - 1e-4) <= weight <= 1.0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(TIED, FREE), min_size=1, max_size=20))
def test_weights_of_a_set_from_its_own_statistics_equal_the_loop_reference(values: list[float]) -> None:
    averages = torch.tensor(values, dtype=torch.float32)
    stats = negative_stats(averages)
    weights = gaussian_weights(averages, stats.mean, stats.variance)
    want = slow_negative_stats(averages.tolist())
    for weight, value in zip(weights.tolist(), averages.tolist(), strict=True):
        if want.count == 0 or value >= 0:
            assert weight == 1.0
        else:
            assert_weight_in_float32_range(weight, value, want.mean, want.variance)


def test_gaussian_weights_of_a_worked_example() -> None:
    weights = gaussian_weights(torch.tensor([-4.0, -3.0, -2.0, -1.0, 0.0, 5.0]), -2.0, 0.5)
    assert weights.tolist() == pytest.approx([math.exp(-4.0), math.exp(-1.0), 1.0, 1.0, 1.0, 1.0], rel=1e-5)


@pytest.mark.parametrize("mean", [-1.0, -1000.0, -0.001])
def test_values_barely_below_the_mean_keep_full_weight_even_without_variance(mean: float) -> None:
    scale = 1e-6 * max(1.0, abs(mean))
    inside = torch.tensor([mean, mean - 0.4 * scale], dtype=torch.float64)
    outside = torch.tensor([mean - 3.0 * scale], dtype=torch.float64)
    assert gaussian_weights(inside, mean, 0.0).tolist() == [1.0, 1.0]
    assert gaussian_weights(outside, mean, 0.0).item() < 0.1


@pytest.mark.parametrize("value", [-0.1, -0.3, -1e-3, -123.456])
def test_equal_members_all_keep_full_weight(value: float) -> None:
    averages = torch.full((1001,), value)
    stats = negative_stats(averages)
    assert gaussian_weights(averages, stats.mean, stats.variance).eq(1.0).all()


def test_a_set_of_one_keeps_full_weight() -> None:
    averages = torch.tensor([-0.7, 3.0])
    stats = negative_stats(averages)
    assert gaussian_weights(averages, stats.mean, stats.variance).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("variance", [0.0, 1e-30, 1e-12])
def test_variance_is_floored(variance: float) -> None:
    weight = gaussian_weights(torch.tensor([-3e-6], dtype=torch.float64), -1e-9, variance).item()
    want = slow_gaussian_weight(-3e-6, -1e-9, variance)
    assert 0.01 < want < 0.02
    assert weight == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("variance", [math.nan, 0.0, 1.0])
def test_a_nan_mean_gives_full_weight_to_all(as_tensor: bool, variance: float) -> None:
    alm = torch.tensor([-100.0, -1.0, 0.0, 4.0])
    mean: float | torch.Tensor = math.nan
    spread: float | torch.Tensor = variance
    if as_tensor:
        mean, spread = torch.tensor(mean, dtype=torch.float64), torch.tensor(variance, dtype=torch.float64)
    assert gaussian_weights(alm, mean, spread).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_statistics_of_an_empty_set_give_full_weight_to_all() -> None:
    stats = negative_stats(torch.tensor([1.0, 2.0]))
    assert gaussian_weights(torch.tensor([-5.0, 1.0]), stats.mean, stats.variance).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [-50.0, -1e10, -3e38, -math.inf])
@pytest.mark.parametrize("variance", [0.0, 1e-3, 1.0])
def test_weights_far_below_the_mean_stop_at_the_smallest_weight(value: float, variance: float) -> None:
    weight = gaussian_weights(torch.tensor([value]), -1.0, variance).item()
    assert weight == pytest.approx(SMALLEST_WEIGHT, rel=1e-4)


def test_half_precision_values_are_squared_in_float32() -> None:
    weights = gaussian_weights(torch.tensor([-1000.0, -600.0], dtype=torch.float16), -500.0, 1e5)
    assert weights.tolist() == pytest.approx([math.exp(-1.25), math.exp(-0.05)], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_and_scalar_tensors_give_the_same_weights(dtype: torch.dtype) -> None:
    alm = torch.tensor([-6.0, -3.0, -2.5, 1.0])
    plain = gaussian_weights(alm, -2.75, 1.5)
    tensors = gaussian_weights(alm, torch.tensor(-2.75, dtype=dtype), torch.tensor(1.5, dtype=dtype))
    torch.testing.assert_close(plain, tensors, rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=100)
@given(st.lists(FREE, min_size=2, max_size=20), NEGATIVE, st.floats(1e-6, 1e5))
def test_a_higher_value_never_weighs_less(values: list[float], mean: float, variance: float) -> None:
    weights = gaussian_weights(torch.tensor(sorted(values)), mean, variance).tolist()
    for lower, higher in itertools.pairwise(weights):
        assert lower <= higher * (1 + 1e-6)


def test_weights_carry_no_gradient_and_leave_their_inputs_unchanged() -> None:
    alm = torch.tensor([-5.0, 1.0], requires_grad=True)
    mean = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    variance = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    assert not gaussian_weights(alm, mean, variance).requires_grad
    assert alm.tolist() == [-5.0, 1.0]
    assert mean.item() == -1.0
    assert variance.item() == 0.0


@pytest.mark.parametrize("limit", [0.1, 0.5])
@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.lists(NEGATIVE, min_size=1, max_size=60),
        st.lists(st.sampled_from([-1.0, -1.0, -1.0, -1.5, -2.0, -40.0, 3.0]), min_size=1, max_size=60),
        st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda n: [-1.0] * n[0] + [-2.0] * n[1]),
    )
)
def test_few_members_of_a_set_can_be_weighted_down(limit: float, values: list[float]) -> None:
    averages = torch.tensor(values, dtype=torch.float32)
    stats = negative_stats(averages)
    weights = gaussian_weights(averages, stats.mean, stats.variance).tolist()
    negatives = [weight for weight, value in zip(weights, values, strict=True) if value < 0]
    share = sum(weight < limit for weight in negatives) / max(len(negatives), 1)
    assert share <= 1 / (1 + 2 * math.log(1 / limit))


@pytest.mark.parametrize(("upper", "below_tenth"), [(5, True), (4, False)])
def test_the_bound_on_the_share_is_almost_attained(upper: int, below_tenth: bool) -> None:
    averages = torch.tensor([-1.0] * upper + [-2.0])
    stats = negative_stats(averages)
    weight = gaussian_weights(averages, stats.mean, stats.variance)[-1].item()
    assert weight == pytest.approx(math.exp(-upper / 2), rel=1e-5)
    assert (weight < 0.1) is below_tenth
