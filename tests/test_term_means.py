"""TermMeans: means of the numbers of each step, whatever their number."""

from types import SimpleNamespace

import pytest
import torch

from lane_hf.term_means import TermMeans

ONE_PROCESS = SimpleNamespace(reduce=lambda values, kind: values)


@pytest.mark.parametrize("steps", [1, 2, 63, 64, 65, 128, 1000])
def test_means_are_over_all_steps(steps: int) -> None:
    values = torch.randn(steps, generator=torch.Generator().manual_seed(steps))
    means = TermMeans()
    for value in values:
        means.count_step()
        means.add("loss", value)
    assert means.take(ONE_PROCESS) == {"loss": pytest.approx(values.double().mean().item(), abs=2e-6)}


def test_a_term_that_a_step_does_not_have_counts_as_zero_there() -> None:
    means = TermMeans()
    for step in range(4):
        means.count_step()
        means.add("always", torch.tensor(1.0))
        if step % 2:
            means.add("seldom", torch.tensor(1.0))
    assert means.take(ONE_PROCESS) == {"always": 1.0, "seldom": 0.5}


def test_taking_begins_anew_and_gradients_are_not_kept() -> None:
    means = TermMeans()
    weight = torch.ones((), requires_grad=True)
    means.count_step()
    means.add("loss", 3 * weight)
    assert list(means) == ["loss"]
    assert means.take(ONE_PROCESS) == {"loss": 3.0}
    assert len(means) == 0
    means.count_step()
    means.add("loss", torch.tensor(1.0, dtype=torch.bfloat16))
    assert means.take(ONE_PROCESS) == {"loss": 1.0}


@pytest.mark.parametrize("steps", [1, 64, 130])
def test_of_a_number_for_each_device_the_mean_counts(steps: int) -> None:
    values = torch.randn(steps, 3, generator=torch.Generator().manual_seed(steps))
    means = TermMeans()
    for value in values:
        means.count_step()
        means.add("loss", value)
    assert means.take(ONE_PROCESS) == {"loss": pytest.approx(values.double().mean().item(), abs=2e-6)}


def test_only_few_numbers_are_kept() -> None:
    means = TermMeans()
    for _ in range(500):
        means.add("loss", torch.tensor(1.0))
    assert len(means._values["loss"]) < 64
