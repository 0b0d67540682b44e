"""Checksums of what a process knows: equal for equal state, different for any other."""

from types import SimpleNamespace

import pytest
import torch

from lane_hf import AlmBuffer
from lane_hf.replicas import check_replicas, checksum, checksum_of_text


def test_checksums_tell_states_apart() -> None:
    state = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b": torch.tensor([True]),
        "c": torch.zeros(2, dtype=torch.bfloat16),
    }
    assert checksum(state) == checksum(dict(reversed(state.items())))
    assert 0 <= checksum(state) < 2**63
    others = [
        {**state, "a": state["a"].T},
        {**state, "a": state["a"].nextafter(torch.tensor(9.0))},
        {**state, "b": torch.tensor([False])},
        {"a": state["a"], "b": state["b"], "d": state["c"]},
    ]
    assert len({checksum(each) for each in [state, *others]}) == 5
    assert checksum_of_text("a") != checksum_of_text("b")


def test_one_margin_more_changes_the_checksum_of_a_buffer() -> None:
    buffer = AlmBuffer(1000)
    before = checksum(buffer.state_dict())
    buffer.update(torch.tensor([7]), torch.tensor([1e-6]))
    assert checksum(buffer.state_dict()) != before


def test_what_differs_and_where_is_named() -> None:
    others = torch.tensor([[5, 8], [5, 9], [5, 8], [5, 7]])
    accelerator = SimpleNamespace(device="cpu", gather=lambda own: torch.cat([own, others]))
    with pytest.raises(RuntimeError, match=r"weights differs from process 0 in process 2, 4 of 5"):
        check_replicas({"rows": 5, "weights": 8}, accelerator)
    check_replicas({"rows": 5}, SimpleNamespace(device="cpu", gather=lambda own: torch.cat([own, own])))
