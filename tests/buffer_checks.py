"""Updates for an AlmBuffer, and what it is compared with."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
import torch
from references import SlowBuffer

from lane_hf.buffer import AlmBuffer

Event = tuple[int, float]


def feed(buffer: AlmBuffer, row_ids: Sequence[int], margins: Sequence[float]) -> None:
    buffer.update(torch.tensor(row_ids, dtype=torch.int64), torch.tensor(margins, dtype=torch.float32))


def float32_values(values: Sequence[float]) -> list[float]:
    return torch.tensor(values, dtype=torch.float32).tolist()


def random_calls(
    seed: int, rows: int, calls: int, size: int, offset: float = 0.0
) -> list[tuple[list[int], list[float]]]:
    """Batches of distinct rows, with padding, duplicates and non-finite margins now and then."""
    rng = random.Random(seed)
    result = []
    for _ in range(calls):
        ids = rng.sample(range(rows), size)
        margins = [rng.gauss(offset, 3.0) for _ in ids]
        if rng.random() < 0.3:
            ids[rng.randrange(size)] = -1
        if rng.random() < 0.3:
            ids[-1] = ids[0]
        if rng.random() < 0.1:
            margins[rng.randrange(size)] = rng.choice([math.nan, math.inf, -math.inf])
        result.append((ids, float32_values(margins)))
    return result


def assert_close(got: float, want: float) -> None:
    assert got == pytest.approx(want, rel=1e-9, abs=1e-9, nan_ok=True)


def assert_stats_match(buffer: AlmBuffer, slow: SlowBuffer) -> None:
    got, want = buffer.negative_stats(), slow.negative_stats()
    assert got.count.item() == want.count
    assert_close(got.mean.item(), want.mean)
    assert_close(got.variance.item(), want.variance)
    assert math.isnan(got.variance.item()) or got.variance.item() >= 0.0


def assert_averages_match(buffer: AlmBuffer, slow: SlowBuffer) -> None:
    assert buffer.average().tolist() == pytest.approx(slow.averages(), rel=1e-6, abs=1e-6)
    assert buffer.count.tolist() == slow.counts()


def assert_same_state(first: AlmBuffer, second: AlmBuffer) -> None:
    """Bitwise equal, whatever the public interface shows."""
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        assert states[0][key].dtype == states[1][key].dtype
        assert torch.equal(states[0][key].nan_to_num(nan=12345.0), states[1][key].nan_to_num(nan=12345.0)), key
    assert torch.equal(first.average(), second.average())
    assert torch.equal(first.count, second.count)
    assert int(first.skipped) == int(second.skipped)
    for one, two in zip(first.negative_stats(), second.negative_stats(), strict=True):
        assert one.item() == two.item() or (math.isnan(one.item()) and math.isnan(two.item()))
