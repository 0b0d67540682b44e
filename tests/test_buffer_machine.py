"""AlmBuffer under any order of updates, saves, loads and merges, against a model that keeps a dictionary of rows."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from unittest import mock

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lane_hf import buffer as buffer_module
from lane_hf.buffer import AlmBuffer
from lane_hf.checkpoint import load_state, save_state

FLOAT32_MAX = float(np.finfo(np.float32).max)

MARGINS = st.one_of(
    st.floats(-8, 8, width=32),
    st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300]),
    st.builds(
        lambda digit, exponent: float(np.float32(digit * 10.0**exponent)), st.integers(-3, 3), st.integers(-44, 38)
    ),
    st.sampled_from([FLOAT32_MAX, -FLOAT32_MAX, 2.0**-149, -(2.0**-149)]),
)
# A few rows are hit again and again, whatever the size of the buffer; -1 is padding, -2 stands for the last row.
BATCHES = st.lists(st.tuples(st.integers(-2, 5), MARGINS), min_size=1, max_size=8)
WHICH = st.integers(0, 1)


@dataclass
class Row:
    """What was seen of a row: exactly, and as a running float, which is how the buffer adds."""

    visits: int = 0
    exact: Fraction = Fraction(0)
    size: Fraction = Fraction(0)
    running: float = 0.0

    def average(self) -> float:
        return self.running / self.visits


@dataclass
class Model:
    rows: dict[int, Row] = field(default_factory=dict)
    skipped: int = 0

    def update(self, row_ids: list[int], margins: list[float]) -> None:
        done = {-1}
        for row_id, margin in zip(row_ids, margins, strict=True):
            if row_id in done:
                continue
            done.add(row_id)
            if not abs(margin) <= FLOAT32_MAX:
                self.skipped += 1
                continue
            self._add(row_id, Row(1, Fraction(margin), abs(Fraction(margin)), margin))

    def merge(self, other: Model) -> None:
        for row_id, row in list(other.rows.items()):
            self._add(row_id, row)
        self.skipped += other.skipped

    def copy(self) -> Model:
        return Model(dict(self.rows), self.skipped)

    def _add(self, row_id: int, new: Row) -> None:
        old = self.rows.get(row_id, Row())
        self.rows[row_id] = Row(
            old.visits + new.visits, old.exact + new.exact, old.size + new.size, old.running + new.running
        )


class BufferMachine(RuleBasedStateMachine):
    """Two buffers of the same number of rows, and their models."""

    @initialize(num_rows=st.sampled_from([700, 40, 6, 1]))
    def start(self, num_rows: int) -> None:
        # Several chunks even in small buffers.
        self.patch = mock.patch.object(buffer_module, "_ROWS_AT_ONCE", 16)
        self.patch.start()
        self.num_rows = num_rows
        self.buffers = [AlmBuffer(num_rows), AlmBuffer(num_rows)]
        self.models = [Model(), Model()]

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.stop()

    def row_id(self, drawn: int) -> int:
        return self.num_rows - 1 if drawn == -2 else min(drawn, self.num_rows - 1)

    @rule(which=WHICH, batch=BATCHES, dtype=st.sampled_from([torch.float32, torch.float64]))
    def update(self, which: int, batch: list[tuple[int, float]], dtype: torch.dtype) -> None:
        row_ids, margins = [self.row_id(drawn) for drawn, _ in batch], torch.tensor([m for _, m in batch], dtype=dtype)
        self.buffers[which].update(torch.tensor(row_ids), margins)
        self.models[which].update(row_ids, margins.tolist())

    @rule(which=WHICH, batch=BATCHES, times=st.integers(2, 6))
    def update_again_and_again(self, which: int, batch: list[tuple[int, float]], times: int) -> None:
        for turn in range(times):
            sign = 1 if turn % 2 else -1
            self.update(which, [(drawn, sign * margin) for drawn, margin in batch], torch.float32)

    @rule(which=WHICH, drawn=st.permutations(range(6)), exponent=st.integers(2, 37), gap=st.integers(3, 30))
    def huge_averages_come_and_go(self, which: int, drawn: list[int], exponent: int, gap: int) -> None:
        """Some rows get margins of about the same size far below zero, then, one by one, far above it; others stay."""
        self.update(which, [(each, -(10.0 ** (exponent - gap))) for each in drawn[4:]], torch.float32)
        huge = [(each, 10.0**exponent * (1 + each / 16)) for each in drawn[:4]]
        self.update(which, [(each, -margin) for each, margin in huge], torch.float32)
        for each, margin in sorted(huge):
            self.update(which, [(each, 1.5 * margin)], torch.float32)

    @rule(which=WHICH, drawn=st.lists(st.integers(-2, 5), max_size=8))
    def average(self, which: int, drawn: list[int]) -> None:
        row_ids = [self.row_id(each) for each in drawn]
        got = self.buffers[which].average(torch.tensor(row_ids, dtype=torch.int64)).tolist()
        for row_id, value in zip(row_ids, got, strict=True):
            row = self.models[which].rows.get(row_id)
            if row is None:  # never seen, or padding
                assert value == 0.0
                continue
            assert value == float(np.float32(row.average()))
            # Each of `visits` additions rounds a number no larger than the sum of all sizes, then the result becomes
            # a float32, the smallest of which are 2^-149 apart.
            exact = row.exact / row.visits
            error = Fraction(2) ** -53 * row.size + Fraction(2) ** -24 * abs(exact)
            assert abs(Fraction(value) - exact) <= error * Fraction("1.000001") + Fraction(2) ** -149

    @rule(which=WHICH)
    def save_and_load_into_a_fresh_buffer(self, which: int) -> None:
        facts = {"number_of_rows": self.num_rows}
        with tempfile.TemporaryDirectory() as folder:
            save_state(folder, {"alm": self.buffers[which].state_dict()}, facts)
            fresh = AlmBuffer(self.num_rows)
            fresh.load_state_dict(load_state(folder, {"alm"})["alm"])
        old, new = self.buffers[which].state_dict(), fresh.state_dict()
        assert all(torch.equal(old[name], new[name]) for name in old)
        self.buffers[which] = fresh

    @rule(source=WHICH)
    def load_into_the_other_buffer(self, source: int) -> None:
        self.buffers[1 - source].load_state_dict(self.buffers[source].state_dict())
        self.models[1 - source] = self.models[source].copy()

    @rule(which=WHICH)
    def merge(self, which: int) -> None:
        self.buffers[which].merge(self.buffers[1 - which])
        self.models[which].merge(self.models[1 - which])

    @invariant()
    def counts_are_right(self) -> None:
        for buffer, model in zip(self.buffers, self.models, strict=True):
            visits = [model.rows[row_id].visits if row_id in model.rows else 0 for row_id in range(self.num_rows)]
            assert buffer.count.tolist() == visits
            assert int(buffer.skipped) == model.skipped
            averages = [
                float(np.float32(model.rows[i].average())) if i in model.rows else 0.0 for i in range(len(buffer))
            ]
            assert buffer.average().tolist() == averages

    @invariant()
    def negative_stats_are_those_of_the_averages(self) -> None:
        for buffer, model in zip(self.buffers, self.models, strict=True):
            negative = [row.average() for row in model.rows.values() if row.average() < 0]
            got = buffer.negative_stats()
            assert got.count.item() == len(negative)
            if not negative:
                assert math.isnan(got.mean.item())
                assert math.isnan(got.variance.item())
                continue
            mean = math.fsum(negative) / len(negative)
            variance = math.fsum((value - mean) ** 2 for value in negative) / len(negative)
            # What rounding has left in a bin is below 1e-12 of its middle, which lies near averages in use; the
            # middle of the lowest bin is 3e-3.
            scale = max(*map(abs, negative), 3e-3)
            assert abs(got.mean.item() - mean) <= 1e-12 * scale
            assert abs(got.variance.item() - variance) <= 1e-12 * scale**2
            assert got.variance.item() >= 0


BufferMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
test_any_order_of_operations_equals_the_model = BufferMachine.TestCase
