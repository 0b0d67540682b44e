"""The benchmark of how many operations a step launches: what is counted, for which part, and that methods add few."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import operations as benchmark
from step_split import OPTIMIZER, REST


def test_views_and_allocations_do_not_count() -> None:
    values = torch.ones(4, 3)
    with benchmark.CountOperations() as counter:
        values.T[:2].unsqueeze(0).expand(5, 2, 4)
        torch.empty(7)
        values.detach()
        assert not counter.numbers
        values.add_(1)
        (values * 2).sum()
    assert dict(counter.numbers) == {REST: 3}


def test_operations_belong_to_the_innermost_part_and_gradients_to_what_they_are_the_gradient_of() -> None:
    weight = torch.ones(3, 3, requires_grad=True)
    with benchmark.CountOperations() as counter:
        with counter.part("loss"):
            with counter.part("network"):
                hidden = torch.ones(2, 3) @ weight  # ones, mm
            loss = F.relu(hidden).sum()  # relu, sum
        loss.backward()  # of the loss: the one that it starts from is the engine's; relu's; of the network: mm
    assert counter.numbers["network"] == 2
    assert counter.numbers["loss"] == 2
    assert counter.numbers["network, backward"] == 1
    assert counter.numbers["loss, backward"] == 1
    assert counter.numbers[REST] == 1


def test_the_table_has_a_column_for_each_method_and_their_sums() -> None:
    lines = [
        {"method": "Trainer", "operations": {"classifier": 1000.0, REST: 20.0}},
        {"method": "lane", "operations": {"classifier": 1000.0, "losses": 30.4, REST: 20.0}},
    ]
    assert benchmark.table(lines).splitlines() == [
        "| part | `Trainer` | `lane` |",
        "|---|---|---|",
        "| classifier | 1,000 | 1,000 |",
        "| losses |  | 30 |",
        f"| {REST} | 20 | 20 |",
        "| **together** | 1,020 | 1,050 |",
    ]


def test_what_methods_add_to_the_operations_of_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "operations.jsonl"
    few = ["--layers", "1", "--batch_size", "4", "--first", "1", "--steps", "3", "--output", str(output)]
    assert benchmark.main([*few, "--methods", "Trainer", "plain", "lane"]) == 0
    usual, plain, lane = (json.loads(line)["operations"] for line in output.read_text().splitlines())
    for own in (usual, plain, lane):
        assert own["classifier"] > 20
        assert own["classifier, backward"] > 20
        assert own[OPTIMIZER] > 0
    added = [sum(own.values()) - sum(usual.values()) for own in (plain, lane)]
    # Not zero, or it was not counted. Rows taken in batch by batch: some 90 and 300; margins taken twice and numbers
    # for the log added one by one: 36 more with LANE.
    assert 10 < added[0] < 40
    assert 100 < added[1] < 160
    assert "| contrastive term, backward |" in capsys.readouterr().out
