"""A table of numbers per row, against a dictionary."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.row_table import RowTable

ROWS = 5
batches = st.lists(
    st.lists(st.tuples(st.integers(-1, ROWS - 1), st.integers(-9, 9), st.booleans()), min_size=1, max_size=8),
    max_size=6,
)


@given(batches, st.booleans())
def test_equals_a_dictionary(given_batches: list[list[tuple[int, int, bool]]], by_mask: bool) -> None:
    fast, slow = RowTable(ROWS, fill=-1.0), dict.fromkeys(range(ROWS), -1.0)
    for batch in given_batches:
        ids, values, counted = (torch.tensor(column) for column in zip(*batch, strict=True))
        at = fast.slots(ids, counted if by_mask else None)
        fast.values[at] = values.float()
        met: set[int] = set()
        for row, value, use in batch:
            if row >= 0 and row not in met and (use or not by_mask):
                slow[row] = float(value)
            met.add(row)
    assert fast.rows.tolist() == list(slow.values())
    assert fast.of(torch.tensor([0, -1, 3])).tolist() == [slow[0], -1.0, slow[3]]


def test_vectors() -> None:
    table = RowTable(3, (2,))
    table.values[table.slots(torch.tensor([1]))] = torch.tensor([[1.0, 2.0]])
    assert table.of(torch.tensor([1, -1])).tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert len(table) == 3


@pytest.mark.parametrize("row", [-2, 3])
def test_a_row_out_of_range(row: int) -> None:
    with pytest.raises(IndexError, match=f"row id {row} is out of range"):
        RowTable(3).slots(torch.tensor([row]))


def test_what_is_written_to_no_row_is_not_in_the_state() -> None:
    table = RowTable(2)
    table.values[table.slots(torch.tensor([-1]))] = math.nan
    assert table.state_dict()["rows"].tolist() == [0.0, 0.0]


def test_a_state_is_a_copy_and_is_continued_from() -> None:
    table, other = RowTable(2), RowTable(2)
    table.values[table.slots(torch.tensor([0]))] = 4.0
    state = table.state_dict()
    table.values[0] = 9.0
    other.load_state_dict(state)
    assert other.rows.tolist() == [4.0, 0.0]
    with pytest.raises(ValueError, match="belongs to another data set"):
        RowTable(3).load_state_dict(state)
