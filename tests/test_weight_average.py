"""The average of weights against sums written out, and what it does to the network it belongs to."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lane_hf.errors import InputError
from lane_hf.weight_average import WeightAverage


class Small(nn.Module):
    """A network with a frozen weight, a buffer that is saved, one that is not, and one of integers."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.zeros(3, dtype=dtype))
        self.frozen = nn.Parameter(torch.ones(2, dtype=dtype), requires_grad=False)
        self.register_buffer("mean", torch.zeros(2, dtype=dtype))
        self.register_buffer("scratch", torch.zeros(4), persistent=False)
        self.register_buffer("steps", torch.tensor(0))

    def set(self, value: Tensor | float) -> None:
        self.free.data.copy_(torch.as_tensor(value))
        self.mean.fill_(float(torch.as_tensor(value).flatten()[0]) + 1)
        self.steps += 1


def shown(average: WeightAverage, network: Small) -> tuple[list[float], list[float]]:
    with average.shown():
        return network.free.tolist(), network.mean.tolist()


def reference(values: list[float], rate: float) -> float:
    """Return the weighted mean, with each snapshot's weight written out as a product."""
    rates = [max(1 / (n + 1), rate) for n in range(len(values))]
    weights = []
    for n in range(len(values)):
        weight = rates[n]
        for later in rates[n + 1 :]:
            weight *= 1 - later
        weights.append(weight)
    assert sum(weights) == pytest.approx(1)
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(1, 300))
def test_is_a_mean_at_first_and_forgets_later(values: list[float], span: float) -> None:
    network = Small()
    average = WeightAverage(network, span)
    for value in values:
        network.set(value)
        average.update()
    expected = reference(values, average.every / span)
    free, mean = shown(average, network)
    assert free == pytest.approx([expected] * 3, abs=1e-3)
    assert mean == pytest.approx([expected + 1] * 2, abs=1e-3)


@pytest.mark.parametrize(("span", "every"), [(1, 1), (63, 1), (64, 1), (128, 2), (6400, 100)])
def test_some_sixty_updates_fall_into_a_span(span: int, every: int) -> None:
    assert WeightAverage(Small(), span).every == every


def test_a_span_forgets_all_but_1_in_e() -> None:
    network = Small()
    average = WeightAverage(network, span=640)
    for _ in range(400):
        network.set(1.0)
        average.update()
    network.set(0.0)
    for _ in range(640 // average.every):
        average.update()
    assert shown(average, network)[0][0] == pytest.approx(1 / 2.718, rel=0.02)


def test_the_trained_weights_come_back_bit_for_bit() -> None:
    network = Small()
    average = WeightAverage(network, span=5)
    for value in (torch.randn(3), torch.randn(3)):
        network.set(value)
        average.update()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with average.shown():
        inside = network.free.detach().clone()
        with average.shown():  # saving while evaluating
            assert torch.equal(network.free, inside)
        assert torch.equal(network.free, inside)
        assert not torch.equal(inside, before["free"])
    with pytest.raises(InputError), average.shown():
        raise InputError("evaluation failed")
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    average.settle()
    assert torch.equal(network.free, inside)


def test_frozen_weights_scratch_and_integers_are_left_alone() -> None:
    network = Small()
    average = WeightAverage(network, span=5)
    for value in (0.0, 4.0):
        network.set(value)
        network.scratch = torch.full((int(value) + 1,), value)  # of another shape
        average.update()
    average.settle()
    assert network.free.tolist() == [2.0] * 3
    assert network.frozen.tolist() == [1.0] * 2
    assert network.scratch.tolist() == [4.0] * 5
    assert network.steps == 2


def test_before_the_first_update_nothing_is_shown() -> None:
    network = Small()
    network.set(7.0)
    average = WeightAverage(network, span=5)
    assert shown(average, network)[0] == [7.0] * 3
    average.settle()
    assert network.free.tolist() == [7.0] * 3
    assert not average.has_begun


def small_steps(network: Small, average: WeightAverage, number: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        network.set(network.free.detach().float() + 1e-3 + 1e-4 * torch.randn(3, generator=generator))
        average.update()


def test_narrow_weights_have_a_wide_average() -> None:
    network = Small(torch.bfloat16)
    network.set(torch.full((3,), 256.0))
    average = WeightAverage(network, span=1000)
    for value in (256.0, 258.0, 258.0, 258.0):  # neighbours: nothing lies between them
        network.set(value)
        average.update()
    with average.shown():
        assert network.free.dtype == torch.bfloat16
    assert average._average["free"].tolist() == pytest.approx([257.5] * 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("number", [0, 7])
def test_goes_on_from_a_checkpoint_as_if_nothing_had_been(dtype: torch.dtype, number: int) -> None:
    network, other = Small(dtype), Small(dtype)
    average, restored = WeightAverage(network, span=40), WeightAverage(other, span=40)
    small_steps(network, average, number, seed=1)
    with average.shown():
        model, state = {n: t.clone() for n, t in network.state_dict().items()}, average.state_dict()
        state = {name: tensor.clone() for name, tensor in state.items()}
    is_narrow = dtype == torch.bfloat16
    assert any(name.startswith("average/") for name in state) == (is_narrow and number > 0)
    other.load_state_dict(model)
    restored.load_state_dict(state)
    assert torch.equal(other.free, network.free)
    for each, its in ((network, average), (other, restored)):
        small_steps(each, its, 5, seed=2)
    assert torch.equal(network.free, other.free)
    assert shown(average, network) == shown(restored, other)


def test_the_state_of_other_weights_is_refused() -> None:
    network = Small()
    average = WeightAverage(network, span=5)
    average.update()
    with average.shown():
        state = average.state_dict()
    network.free.requires_grad_(False)
    with pytest.raises(InputError, match="not those of the network"):
        WeightAverage(network, span=5).load_state_dict(state)


def test_tied_weights_are_averaged_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2, bias=False)
            self.second = nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight

    network: Any = Tied()
    average = WeightAverage(network, span=5)
    for value in (1.0, 3.0):
        network.first.weight.data.fill_(value)
        average.update()
    average.settle()
    assert network.second.weight is network.first.weight
    assert network.second.weight.unique().tolist() == [2.0]
