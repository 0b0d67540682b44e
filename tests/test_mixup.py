"""Who is mixed with whom, and how much."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.mixup import Mixing, draw_mixing


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 10**6))
def test_partners_are_a_permutation_of_those_allowed(allowed: list[bool], seed: int) -> None:
    torch.manual_seed(seed)
    mixing = draw_mixing(torch.tensor(allowed), alpha=0.75)
    may = [row for row, use in enumerate(allowed) if use]
    partners = mixing.partners.tolist()
    assert sorted(partners[row] for row in may) == may
    assert all(partners[row] == row for row in range(len(allowed)) if row not in may)
    assert mixing.shares.shape == (len(allowed), 1)
    assert bool(((mixing.shares >= 0.5) & (mixing.shares <= 1)).all())


def test_every_partner_is_as_likely() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(4, 4)
    for _ in range(4000):
        counts[torch.arange(4), draw_mixing(torch.ones(4, dtype=torch.bool), 1.0).partners] += 1
    assert counts.sub(1000).abs().max() < 150


@pytest.mark.parametrize(("alpha", "mean"), [(1.0, 0.75), (0.05, 0.97), (500.0, 0.51)])
def test_shares_follow_the_beta_distribution(alpha: float, mean: float) -> None:
    torch.manual_seed(0)
    shares = draw_mixing(torch.ones(20_000, dtype=torch.bool), alpha).shares
    assert shares.mean().item() == pytest.approx(mean, abs=0.02)


def test_mixing_is_a_weighted_mean_with_the_partner() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 3, generator=generator, requires_grad=True)
    mixing = Mixing(torch.tensor([3, 1, 0, 4, 2]), torch.rand(5, 1, generator=generator))
    mixed = mixing.of(values)
    for row in range(5):
        share = mixing.shares[row].item()
        want = share * values[row] + (1 - share) * values[mixing.partners[row]]
        torch.testing.assert_close(mixed[row], want)
    mixed.sum().backward()
    assert bool((values.grad > 0).all())
