"""Rows that fill up the last batch are taken out, against what Accelerate's own samplers hand out."""

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from lane_hf.row_ids import PADDING_ID
from lane_hf.step_rows import StepRows, pop_rows, without_fillers


def batches_of(num_rows: int, size: int, processes: int, split: bool) -> list[list[list[int]]]:
    """The batches of each process in an epoch."""
    whole = size * processes if split else size
    sampler = BatchSampler(range(num_rows), whole, drop_last=False)
    return [list(BatchSamplerShard(sampler, processes, rank, split)) for rank in range(processes)]


def as_batch(ids: list[int], views: int) -> dict[str, torch.Tensor]:
    rows = torch.tensor(ids).repeat_interleave(views)
    return {
        "row_id": rows,
        "labels": rows % 3,
        "input_ids": rows[:, None] * torch.ones(1, 5),
        "scale": torch.tensor(2.0),
    }


@given(st.integers(1, 70), st.integers(1, 9), st.integers(2, 5), st.integers(1, 3), st.booleans())
def test_every_row_counts_once_an_epoch_and_steps_are_means_over_rows(
    num_rows: int, size: int, processes: int, views: int, split: bool
) -> None:
    epoch = batches_of(num_rows, size, processes, split)
    steps = len(epoch[0])
    assert all(len(batches) == steps for batches in epoch)
    seen: list[int] = []
    for step in range(steps):
        rest = num_rows % (size * processes)
        is_cut = step == steps - 1 and rest > 0
        parts, expected = [], []
        for rank in range(processes):
            batch = as_batch(epoch[rank][step], views)
            cut = without_fillers(batch, rank, rest, views) if is_cut else batch
            rows = pop_rows(cut, rank, processes)
            assert "row_id" not in cut
            assert len(cut.pop("labels")) == len(cut.pop("input_ids")) == len(rows.ids) >= views
            assert cut.pop("scale") == 2
            assert not cut
            parts.append(rows)
            expected += [row for row in rows.ids.tolist() if row != PADDING_ID]
        # What gathering gives: the padded entries of all processes, one after the other.
        gathered = torch.cat([rows.pad(rows.ids + 0.5) for rows in parts])
        assert parts[0].real(gathered).tolist() == [row + 0.5 for row in expected]
        per_row = torch.cat([rows.pad(rows.ids[::views]) for rows in parts])
        assert parts[0].real(per_row).tolist() == expected[::views]
        wide = torch.cat([rows.pad(rows.ids[:, None] * torch.ones(1, 4)) for rows in parts])
        assert parts[0].real(wide).shape == (len(expected), 4)
        # The mean over processes of share * mean is the mean over all rows.
        means = [rows.share * rows.ids.double().mean() for rows in parts]
        assert sum(means) / processes == pytest.approx(sum(expected) / len(expected))
        seen += expected[::views]
    assert seen == list(range(num_rows))


def test_a_full_step_counts_fully() -> None:
    rows = pop_rows({"row_id": torch.arange(4)}, process_index=1, processes=3)
    assert rows == StepRows(rows.ids, size=4, total=12, own=4, processes=3)
    assert rows.share == 1.0


def test_a_process_with_fillers_only_keeps_one_that_counts_nothing() -> None:
    batch = without_fillers(as_batch([0, 1, 2], views=2), process_index=2, real_rows=5, views_per_row=2)
    rows = pop_rows(batch, process_index=2, processes=3)
    assert rows.ids.tolist() == [PADDING_ID, PADDING_ID]
    assert rows.share == 0
    assert batch["labels"].tolist() == [0, 0]
