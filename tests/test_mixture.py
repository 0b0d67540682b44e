"""The mixture of two Gaussians against scikit-learn, and what must hold for any averages."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lane_hf import mixture as module
from lane_hf.mixture import Mixture, clean_probability, fit_mixture

# Sizes, means and standard deviations of the lower and the higher hump.
HUMPS = {
    "separated": ((300, -4.0, 0.5), (700, 3.0, 1.0)),
    "overlapping": ((400, -1.0, 1.0), (600, 1.5, 0.8)),
    "few mislabelled": ((40, -3.0, 1.0), (960, 2.0, 1.0)),
    "wide lower": ((300, -2.0, 3.0), (700, 2.0, 0.5)),
}


def draw(name: str, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([mean + std * torch.randn(size, generator=generator) for size, mean, std in HUMPS[name]])


def humps_of_every_kind() -> tuple[Tensor, Tensor]:
    groups = torch.cat([torch.full((1000,), group) for group in range(len(HUMPS))])
    values = torch.cat([draw(name, seed=group) + 10 * group for group, name in enumerate(HUMPS)])
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    return values[order], groups[order]


def one(mixture: Mixture, group: int = -1) -> tuple[list[float], ...]:
    return tuple(parameter[group].tolist() for parameter in mixture)


def sklearn_fit(values: Tensor, **options: object) -> GaussianMixture:
    model = GaussianMixture(2, reg_covar=0.0, max_iter=100, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(values.double().numpy()[:, None])


def assert_same_fit(mixture: Mixture, model: GaussianMixture, tolerance: float) -> None:
    order = model.means_[:, 0].argsort()
    for parameter, theirs in zip(
        mixture, (model.means_[:, 0], model.covariances_[:, 0, 0], model.weights_), strict=True
    ):
        np.testing.assert_allclose(parameter[-1].numpy(), theirs[order], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", HUMPS)
def test_sklearn_from_the_same_start_finds_the_same_mixture(name: str) -> None:
    values = draw(name)
    halves = [values[values < values.mean()].double(), values[values >= values.mean()].double()]
    model = sklearn_fit(
        values,
        tol=1e-9,
        weights_init=[len(half) / len(values) for half in halves],
        means_init=[[half.mean().item()] for half in halves],
        precisions_init=[[[1 / half.var(correction=0).item()]] for half in halves],
    )
    mixture = fit_mixture(values)
    assert_same_fit(mixture, model, 2e-3)
    low, high = one(mixture)[0]
    between = torch.linspace(low, high - 1e-6, 50, dtype=torch.float64)
    theirs = model.predict_proba(between.numpy()[:, None])[:, model.means_[:, 0].argmax()]
    np.testing.assert_allclose(clean_probability(between, mixture).numpy(), theirs, atol=2e-3)


def test_sklearn_from_its_own_start_finds_the_same_separated_mixture() -> None:
    values = draw("separated")
    assert_same_fit(fit_mixture(values), sklearn_fit(values, tol=1e-9), 1e-3)


def test_probability_between_the_means_is_bayes_rule() -> None:
    mixture = Mixture(
        torch.tensor([[-2.0, 1.0]], dtype=torch.float64),
        torch.tensor([[4.0, 0.25]], dtype=torch.float64),
        torch.tensor([[0.3, 0.7]], dtype=torch.float64),
    )

    def posterior(value: float) -> float:
        low, high = (
            share * math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(variance)
            for mean, variance, share in ((-2.0, 4.0, 0.3), (1.0, 0.25, 0.7))
        )
        return high / (low + high)

    for value in (-2.0, -1.0, 0.0, 0.5, 0.99):
        assert clean_probability(torch.tensor([value]), mixture).item() == pytest.approx(posterior(value), rel=1e-5)
    # Below the lower mean it stays what it is there, from the higher mean on it is 1.
    assert clean_probability(torch.tensor([-50.0]), mixture).item() == pytest.approx(posterior(-2.0), rel=1e-5)
    assert posterior(1.0) < 1
    assert clean_probability(torch.tensor([1.0, 50.0]), mixture).tolist() == [1.0, 1.0]


def test_each_group_gets_what_it_would_get_alone() -> None:
    values, groups = humps_of_every_kind()
    together = fit_mixture(values, groups, len(HUMPS))
    assert together.means.shape == (len(HUMPS) + 1, 2)
    for group in range(len(HUMPS)):
        alone = fit_mixture(values[groups == group])
        # Iterations go on until every group stands still.
        for mine, others in zip(one(alone), one(together, group), strict=True):
            assert mine == pytest.approx(others, abs=2e-3)
    for mine, others in zip(one(fit_mixture(values)), one(together), strict=True):
        assert mine == pytest.approx(others, abs=1e-6)


@pytest.mark.parametrize("rare", [0, 9, 10])
def test_groups_that_are_too_small_get_the_mixture_over_all(rare: int) -> None:
    values = torch.cat([draw("separated"), draw("overlapping") + 5, torch.linspace(-9.0, -5.0, rare)])
    groups = torch.cat([torch.zeros(1000), torch.full((1000,), 3), torch.full((rare,), 2)]).long()
    mixture = fit_mixture(values, groups, 4)
    borrowed = [one(mixture, group) == one(mixture) for group in range(4)]
    assert borrowed == [False, True, rare < 10, False]


@pytest.mark.parametrize("rare", [0, 9, 10])
def test_the_mixture_over_all_is_fitted_only_if_a_group_needs_it(rare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.cat([draw("separated"), draw("overlapping") + 5, torch.linspace(-9.0, -5.0, rare)])
    groups = torch.cat([torch.zeros(1000), torch.full((1000,), 3), torch.full((rare,), 2)]).long()
    expected = fit_mixture(values, groups, 4)
    numbers, fit = [], module._fit
    monkeypatch.setattr(module, "_fit", lambda *given: numbers.append(given[-1]) or fit(*given))
    mixture = fit_mixture(values, groups, 4, always_pooled=False)
    assert numbers == ([4, 1] if rare == 9 else [4])
    assert torch.equal(clean_probability(values, mixture, groups), clean_probability(values, expected, groups))


@pytest.mark.parametrize("value", [-5.0, 0.1, 0.0])
def test_groups_without_spread_get_the_mixture_over_all(value: float) -> None:
    # In float64 the mean of thirteen times 0.1 is not 0.1.
    values = torch.cat([draw("separated").double(), torch.full((13,), value, dtype=torch.float64)])
    groups = torch.cat([torch.zeros(1000), torch.ones(13)]).long()
    mixture = fit_mixture(values, groups, 2)
    assert one(mixture, 1) == one(mixture)
    assert one(mixture, 0) != one(mixture)


@pytest.mark.parametrize("number", [1, 3, 13])
@pytest.mark.parametrize("value", [-5.0, -0.1, 0.0, 0.1, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_values_are_all_clean(value: float, number: int, dtype: torch.dtype) -> None:
    values = torch.full((number,), value, dtype=dtype)
    mixture = fit_mixture(values, torch.zeros(number, dtype=torch.int64), 2)
    probe = torch.tensor([value, value - 1, value + 1, value - 1e5], dtype=dtype)
    for groups in (None, torch.tensor([0, 0, 1, 1])):
        assert clean_probability(probe, mixture, groups).tolist() == [1.0] * 4
    assert mixture.shares.sum(dim=1).tolist() == [1.0] * 3
    assert mixture.means.flatten().tolist() == pytest.approx([float(values[0])] * 6)


def test_rounding_is_no_evidence() -> None:
    values = torch.tensor([-5.0, -5.0, -5.0 - 5e-7, -5.0 + 5e-7] * 5)
    assert len(set(values.tolist())) == 3
    assert clean_probability(values, fit_mixture(values)).tolist() == [1.0] * 20


def test_a_component_cannot_collapse_onto_equal_values() -> None:
    values = torch.cat([draw("overlapping"), torch.full((500,), 3.0)])
    variances = one(fit_mixture(values))[1]
    assert variances[1] == pytest.approx(1e-3 * values.double().var(correction=0).item(), rel=1e-6)


def test_a_mixture_per_group_keeps_a_class_that_is_lower_throughout() -> None:
    easy, rare = draw("separated"), draw("separated", seed=1)[250:350] - 6  # half of the rare rows are clean
    values, groups = torch.cat([easy, rare]), torch.cat([torch.zeros(1000), torch.ones(100)]).long()
    mixture = fit_mixture(values, groups, 2)
    assert (clean_probability(rare[50:], mixture) < 0.5).double().mean() > 0.8
    per_group = clean_probability(rare, mixture, groups[1000:])
    assert (per_group[:50] < 0.5).double().mean() > 0.95
    assert (per_group[50:] > 0.5).double().mean() > 0.95


@pytest.mark.parametrize("name", HUMPS)
def test_the_order_of_the_rows_is_irrelevant(name: str) -> None:
    values = draw(name)
    shuffled = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(1))]
    for mine, others in zip(fit_mixture(values), fit_mixture(shuffled), strict=True):
        torch.testing.assert_close(mine, others, atol=1e-6, rtol=1e-6)


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(HUMPS)),
    st.floats(1e-6, 1e6),
    st.floats(-100.0, 100.0),
)
def test_zero_and_unit_of_the_values_are_irrelevant(name: str, scale: float, shift: float) -> None:
    values = draw(name).double()
    moved = scale * (values + shift)
    mixture, moved_mixture = fit_mixture(values), fit_mixture(moved)
    torch.testing.assert_close(moved_mixture.means, scale * (mixture.means + shift), rtol=1e-5, atol=1e-5 * scale)
    torch.testing.assert_close(moved_mixture.variances, scale**2 * mixture.variances, rtol=1e-4, atol=0.0)
    torch.testing.assert_close(
        clean_probability(moved, moved_mixture), clean_probability(values, mixture), rtol=0.0, atol=1e-4
    )


averages = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -1.0, 3.0, 1e-30])


@given(
    st.lists(st.tuples(averages, st.integers(0, 2)), min_size=1, max_size=40),
    st.lists(averages, min_size=2, max_size=10),
)
def test_probabilities_are_probabilities_and_grow_with_the_value(
    rows: list[tuple[float, int]], probes: list[float]
) -> None:
    values, groups = (torch.tensor(column) for column in zip(*rows, strict=True))
    mixture = fit_mixture(values, groups, 3)
    for parameter in mixture:
        assert torch.isfinite(parameter).all()
    assert (mixture.variances > 0).all()
    assert (mixture.means[:, 0] <= mixture.means[:, 1]).all()
    torch.testing.assert_close(mixture.shares.sum(dim=1), torch.ones(4, dtype=torch.float64))
    probe = torch.tensor(sorted([*probes, *values.tolist()]))
    for group in (None, 0, 1, 2):
        at = None if group is None else torch.full((len(probe),), group)
        probability = clean_probability(probe, mixture, at)
        assert probability.dtype == torch.float32
        assert ((probability >= 0) & (probability <= 1)).all()  # false for NaN
        assert (probability.diff() >= -1e-6).all()
    # Of the rows that were fitted the highest is clean: it lies above the higher mean.
    assert clean_probability(values.max()[None], mixture).item() == 1.0


def test_chunks_of_one_row_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    values, groups = humps_of_every_kind()
    expected = fit_mixture(values, groups, len(HUMPS) + 1)
    monkeypatch.setattr(module, "_MOST_ROWS", 0)
    for mine, others in zip(fit_mixture(values, groups, len(HUMPS) + 1), expected, strict=True):
        torch.testing.assert_close(mine, others, rtol=1e-9, atol=1e-9)


def test_in_chunks_many_rows_have_the_same_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(0, 3, (270_000,), generator=generator)
    # In the first group one row of a hundred is mislabelled, in the last one the humps overlap; a few lie far out.
    share, distance = torch.tensor([0.01, 0.3, 0.4])[groups], torch.tensor([5.0, 6.0, 2.5])[groups]
    values = torch.randn(len(groups), generator=generator) + 2
    values -= distance * (torch.rand(len(groups), generator=generator) < share)
    values[:30] -= 40
    assert len(values) > module._MOST_ROWS
    mixture = fit_mixture(values, groups, 3)
    monkeypatch.setattr(module, "_MOST_ROWS", len(values))
    exact = fit_mixture(values, groups, 3)
    found, expected = (clean_probability(values, each, groups) for each in (mixture, exact))
    assert 0.1 < (expected < 0.5).double().mean() < 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(0, 2)), min_size=1, max_size=40), st.integers(1, 9)
)
def test_chunks_are_runs_of_sorted_rows(rows: list[tuple[float, int]], chunks: int) -> None:
    expected = []
    for group in range(3):
        own = sorted(value for value, its in rows if its == group)
        number = min(len(own), chunks)
        for chunk in range(number):
            run = [value for place, value in enumerate(own) if place * number // len(own) == chunk]
            expected.append((group, len(run), sum(run), sum(value * value for value in run)))
    values, groups = (torch.tensor(column) for column in zip(*rows, strict=True))
    values = values.double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNKS", chunks)
        moments, found = module._in_chunks(torch.stack([torch.ones_like(values), values, values**2]), groups, 3)
    assert found.tolist() == [each[0] for each in expected]
    for mine, others in zip(moments.T.tolist(), expected, strict=True):
        assert mine == pytest.approx(others[1:], rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_any_floating_type(dtype: torch.dtype) -> None:
    mixture = fit_mixture(draw("separated").to(dtype))
    assert one(mixture)[0] == pytest.approx([-4.0, 3.0], abs=0.1)
    assert mixture.means.dtype == torch.float64
