"""The direction of label noise: against the definition by loops, and what must never be taken for one."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lane_hf.noise_direction import Transitions, count_transitions, uniform_transitions
from lane_hf.noise_probability import estimate_noise


def dense(noise: Transitions, size: int) -> np.ndarray:
    true, given = torch.arange(size).repeat_interleave(size), torch.arange(size).repeat(size)
    return noise.of(true, given).view(size, size).numpy()


def test_many_rows_are_told_what_each_is_told_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    labels, others, preferred = (torch.randint(0, 4, (300,), generator=generator) for _ in range(3))
    preferred = torch.where(labels == 1, 0, preferred)  # so that there is a direction
    noise = count_transitions(torch.rand(300, generator=generator), preferred, labels, others, 4)
    assert len(noise.pairs)
    alone = torch.cat([noise.of(true[None], given[None]) for true, given in zip(labels, others, strict=True)])
    assert torch.equal(noise.of(labels, others), alone)


def counted_by_loops(
    doubts: list[float], preferred: list[int], labels: list[int], others: list[int], size: int
) -> np.ndarray:
    """T from the definition: scale the whole table by turns, test every pair, count."""
    table = np.zeros((size, size))
    for k, y in zip(preferred, labels, strict=True):
        table[k, y] += 1
    used = len(set(labels))
    scaled = table + 1 / size
    target = scaled.sum(axis=0)
    rows, columns = np.ones(size), np.ones(size)
    for _ in range(500):
        for k in range(size):
            rows[k] = target[k] / sum(scaled[k, y] * columns[y] for y in range(size))
        for y in range(size):
            columns[y] = target[y] / sum(scaled[k, y] * rows[k] for k in range(size))
    level = NormalDist().inv_cdf(1 - 0.5 / (size * (size - 1)))
    uniform = sum(doubts) / len(doubts) / (used - 1)
    rates = {}
    for k in range(size):
        for y in range(size):
            both = table[k, y] + table[y, k]
            if k == y or table[k, y] == 0 or used == 2:
                continue
            there, back = rows[k] * columns[y], rows[y] * columns[k]
            share = back / (there + back)
            surplus = table[k, y] - both * share
            left = (table[k, y] * there - table[y, k] * back) / (target[k] + 10)
            rate = (table[k, y] - table[y, k]) / (table[k].sum() + 10)
            if surplus > level * math.sqrt(both * share * (1 - share)) and left > uniform and rate > 0:
                rates[k, y] = max(rate, left)
    rest = [doubt for doubt, s, y in zip(doubts, others, labels, strict=True) if (s, y) not in rates]
    uniform = sum(rest) / len(doubts) / (used - 1)
    result = np.full((size, size), uniform)
    for pair, rate in rates.items():
        result[pair] = max(rate, uniform)
    for k in range(size):
        others_of_k = used - 1 - sum(true == k for true, _ in rates)
        directed = sum(result[pair] for pair in rates if pair[0] == k)
        result[k, k] = max(0.1, 1 - directed - others_of_k * uniform)
    return result


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6), st.booleans())
def test_it_is_counted_as_written(seed: int, size: int, directed: bool) -> None:
    generator = np.random.default_rng(seed)
    preferred = generator.integers(0, size, 400)
    labels = np.where(generator.random(400) < 0.6, preferred, generator.integers(0, size, 400))
    if directed:
        labels = np.where(generator.random(400) < 0.3, (preferred + 1) % size, labels)
    others = np.where(labels == preferred, generator.integers(0, size, 400), preferred)
    doubts = generator.random(400)
    arguments = [torch.from_numpy(array) for array in (doubts, preferred, labels, others)]
    expected = counted_by_loops(*(array.tolist() for array in (doubts, preferred, labels, others)), size)
    np.testing.assert_allclose(dense(count_transitions(*arguments, size), size), expected, atol=1e-4)


@pytest.mark.parametrize(
    "table", [[[734, 0], [65, 40]], [[800, 0], [150, 50]], [[902, 0], [26, 72]], [[5, 0], [1, 9]]]
)
@pytest.mark.parametrize("size", [2, 3])
def test_a_pair_that_never_turns_round_is_no_direction_of_two_labels(table: list[list[int]], size: int) -> None:
    """Nor where the classifier has a third label, which no row has."""
    preferred, labels = rows_of(np.array(table))
    doubts = torch.full((len(labels),), 0.1)
    noise = count_transitions(doubts, preferred, labels, 1 - labels, size)
    assert len(noise.pairs) == 0
    assert noise.uniform.item() == pytest.approx(0.1)


@pytest.mark.parametrize("more", [1, 30])
def test_no_wrong_label_is_one_that_no_row_has(more: int) -> None:
    """A head may have more labels than the data; only what counts as chance is another then."""
    generator = torch.Generator().manual_seed(0)
    labels, others, preferred = (torch.randint(0, 4, (300,), generator=generator) for _ in range(3))
    preferred = torch.where(labels == 1, 0, preferred)
    doubts = torch.rand(300, generator=generator)
    own, wide = (count_transitions(doubts, preferred, labels, others, size) for size in (4, 4 + more))
    assert len(own.pairs)
    assert wide.uniform.item() == pytest.approx(own.uniform.item(), rel=0.3)
    rows = torch.arange(400) % 4
    margins, q = torch.where(torch.arange(400) < 40, -3.0, 3.0), torch.where(torch.arange(400) < 40, 0.1, 0.9)
    others = (rows + 1 + torch.arange(400) // 4 % 3) % 4
    found = [estimate_noise(margins, q, rows, size, others).probability for size in (4, 4 + more)]
    assert found[0][:40].min() > 0.5
    torch.testing.assert_close(*found)
    # Nor where the best other labels are not known.
    torch.testing.assert_close(*(estimate_noise(margins, q, rows, size).probability for size in (4, 4 + more)))


def rows_of(table: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    preferred, labels = np.nonzero(np.ones_like(table))
    times = table.round().astype(int).ravel()
    return tuple(torch.from_numpy(array.repeat(times)) for array in (preferred, labels))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 8))
def test_hard_rows_and_fond_classifiers_have_no_direction(seed: int, size: int) -> None:
    """Any quasi-symmetric table, a_k S[k, y] b_y with S symmetric: labels that are confused with each other, rare
    ones, ones that the classifier hardly ever prefers, and uniform noise."""
    generator = np.random.default_rng(seed)
    mixed = generator.random((size, size)) ** 3
    table = mixed + mixed.T + np.diag(3 * generator.random(size))
    table *= np.exp(generator.normal(0, 1, (size, 1))) * np.exp(generator.normal(0, 1, (1, size)))
    preferred, labels = rows_of(20_000 * table / table.sum())
    others = torch.where(preferred == labels, (labels + 1) % size, preferred)
    noise = count_transitions(torch.full((len(labels),), 0.01), preferred, labels, others, size)
    assert len(noise.pairs) == 0


def test_random_noise_without_direction_hardly_ever_passes() -> None:
    found = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        true = torch.randint(0, 10, (3000,), generator=generator)
        flipped = torch.rand(3000, generator=generator) < 0.3
        labels = torch.where(flipped, (true + torch.randint(1, 10, (3000,), generator=generator)) % 10, true)
        others = torch.where(flipped, true, (true + 1) % 10)
        found += len(count_transitions(0.0 * true, true, labels, others, 10).pairs)
    assert found / 40 < 1  # half a pair of 90, and what discreteness adds


def test_directions_and_their_rates_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, 6, (6000,), generator=generator)
    chance = torch.rand(6000, generator=generator)
    labels = torch.where(chance < 0.3, (true + 1) % 6, true)
    labels = torch.where(chance > 0.9, torch.randint(0, 6, (6000,), generator=generator), labels)
    others = torch.where(labels == true, (true + 1) % 6, true)
    noise = count_transitions((labels != true).double(), true, labels, others, 6)
    assert noise.pairs.tolist() == [1, 8, 15, 22, 29, 30]
    expected = 0.3 * np.roll(np.eye(6), 1, axis=1) + 0.1 / 6 + 0.6 * np.eye(6)
    assert np.abs(dense(noise, 6) - expected).max() < 0.07


def test_two_labels_have_no_direction() -> None:
    """Labels 1 that should be 0 look as a classifier does that is too fond of 0."""
    true = torch.arange(2).repeat_interleave(500)
    labels = torch.where(torch.arange(1000) % 500 < 200, 1, true)
    assert len(count_transitions((labels != true).double(), true, labels, 1 - labels, 2).pairs) == 0


def test_directions_found_before_stay_and_rates_only_rise() -> None:
    true = torch.arange(3).repeat_interleave(100)
    labels = torch.where(torch.arange(300) % 100 < 40, (true + 1) % 3, true)
    others = torch.where(labels == true, (true + 1) % 3, true)
    doubts = (labels != true).double()
    first = count_transitions(doubts, true, labels, others, 3)
    assert len(first.pairs) == 3
    # Now the classifier prefers what is given: nothing is to be seen any more.
    second = count_transitions(doubts, labels, labels, others, 3, earlier=first)
    torch.testing.assert_close(second.rates, first.rates)
    assert second.pairs.tolist() == first.pairs.tolist()
    higher = first._replace(rates=first.rates + 0.1)
    torch.testing.assert_close(count_transitions(doubts, true, labels, others, 3, earlier=higher).rates, higher.rates)


def test_the_neutral_margin_is_that_of_equal_true_probabilities() -> None:
    noise = Transitions(
        torch.tensor(0.05, dtype=torch.float64),
        torch.tensor([1]),
        torch.tensor([0.3], dtype=torch.float64),
        torch.tensor([0.65, 0.9, 0.9], dtype=torch.float64),
    )
    given, other = torch.tensor([1, 0, 2]), torch.tensor([0, 1, 0])
    q = dense(noise, 3)
    expected = [
        math.log((0.5 * q[y, y] + 0.5 * q[s, y]) / (0.5 * q[y, s] + 0.5 * q[s, s]))
        for y, s in zip(given.tolist(), other.tolist(), strict=True)
    ]
    assert noise.neutral_margin(given, other).tolist() == pytest.approx(expected, abs=1e-6)
    uniform = uniform_transitions(torch.tensor(0.3, dtype=torch.float64), 3)
    assert uniform.neutral_margin(given, other).tolist() == [0, 0, 0]


def test_memory_goes_with_rows_and_not_with_pairs_of_labels() -> None:
    """A table of 100,000 labels squared would take 80 GB."""
    labels = torch.arange(1000) * 100
    noise = count_transitions(torch.full((1000,), 0.1), labels, labels, labels + 1, 100_000)
    assert noise.kept.shape == (100_000,)
    assert len(noise.pairs) == 0
