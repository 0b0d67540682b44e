"""The benchmark of what a step spends where: what belongs to which part, and that it runs."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import step_split as benchmark


@dataclass
class Event:
    name: str
    self_cpu_time_total: float = 0.0
    cpu_parent: "Event | None" = None
    sequence_nr: int = -1


def test_operations_belong_to_the_innermost_part_and_gradients_to_what_they_are_the_gradient_of() -> None:
    losses = Event("part: losses", 1.0)
    network = Event("part: classifier", 2.0, losses)
    forward = Event("aten::linear", 5.0, network, sequence_nr=7)
    loss = Event("aten::cross_entropy_loss", 3.0, losses, sequence_nr=8)
    backward = Event("autograd::engine::evaluate_function: AddmmBackward0", 0.5, None, sequence_nr=7)
    multiply = Event("aten::mm", 11.0, backward)
    unknown = Event("autograd::engine::evaluate_function: X", 0.25, None, sequence_nr=99)
    optimizer = Event("aten::add_", 13.0, Event("Optimizer.step#AdamW.step"))
    other = Event("aten::copy_", 17.0)
    found = benchmark.split([losses, network, forward, loss, backward, multiply, unknown, optimizer, other])
    assert found == {
        "losses": 4.0,
        "classifier": 7.0,
        "classifier, backward": 11.5,
        benchmark.OPTIMIZER: 13.0,
        benchmark.REST: 17.25,
    }


def test_the_table_is_in_shares_of_the_first_method_and_names_no_crumbs() -> None:
    lines = [
        {"method": "Trainer", "parts": {"classifier": 8.0, "the rest": 2.0}},
        {"method": "lane", "parts": {"classifier": 9.0, "losses": 1.0, "crumbs": 0.001, "the rest": 2.0}},
        {"method": "lane", "parts": {"classifier": 19.0, "losses": 2.0, "the rest": 3.0}},
    ]
    assert benchmark.table(lines).splitlines()[2:] == [
        "| classifier | 80.0% | 90.0% |",
        "| losses |  | 10.0% |",
        "| the rest | 20.0% | 20.0% |",
        "| **together** | 100.0% | 120.0% |",
    ]


def test_both_networks_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, figure = tmp_path / "split.jsonl", tmp_path / "split.svg"
    few = ["--layers", "1", "--batch_size", "8", "--first", "1", "--steps", "2", "--repeats", "1"]
    names = ["--methods", "Trainer", "lane[auxiliary=full]"]
    assert benchmark.main([*few, *names, "--output", str(output), "--figure", str(figure)]) == 0
    usual, both = (json.loads(line)["parts"] for line in output.read_text().splitlines())
    for part in ("classifier", "classifier, backward", benchmark.OPTIMIZER):
        assert usual[part] > 0
        assert both[part] > 0
    for part in ("second network", "second network, backward", "margins, averages, weights", "contrastive term"):
        assert part not in usual
        assert both[part] > 0
    assert "| second network, backward |" in capsys.readouterr().out
    assert ">second network, backward<" in figure.read_text()
