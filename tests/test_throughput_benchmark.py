"""The benchmark of absolute speed: that operations are counted right, and that it runs on this machine."""

import argparse
import itertools
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import cost
import throughput as benchmark


@pytest.fixture
def shape(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    monkeypatch.setitem(cost.SHAPES, "bert-base", tiny)
    return tiny


def forward_operations(shape: dict[str, int], rows: int, tokens: int, labels: int) -> int:
    """Count the products of a BERT classifier by hand: two operations for each multiplication."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    projections = 4 * rows * tokens * hidden * hidden  # query, key, value, output
    attention = 2 * rows * tokens * tokens * hidden  # scores, and the mean of values
    feed_forward = 2 * rows * tokens * hidden * inner
    head = rows * hidden * hidden + rows * hidden * labels
    return 2 * (shape["num_hidden_layers"] * (projections + attention + feed_forward) + head)


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cost.add_model_arguments(parser)
    args = parser.parse_args(
        ["--network", "bert-base", "--batch_size", "4", "--epochs", "1", "--pad_to", "32", *given]
    )
    return argparse.Namespace(**vars(args), first=1, steps=2)


def test_operations_are_those_counted_by_hand(shape: dict[str, int]) -> None:
    args = arguments("--max_length", "32")
    material = cost.make_material(16, args)
    expected = 2 * 3 * forward_operations(shape, 4, 32, len(material.names))  # backward: twice as many as forward
    assert benchmark.operations_of("Trainer", material, args) == expected
    # Two networks; the products of rows that are no network's are few.
    twice = benchmark.operations_of("lane[auxiliary=full]", material, args)
    assert 2 * expected <= twice < 2.1 * expected


def test_the_ceiling_is_that_of_the_fastest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))  # every product takes a second
    monkeypatch.setattr(benchmark, "SECONDS_A_SIZE", 0)
    assert benchmark.ceiling([8, 64, 16]) == 2 * 64**3


def test_a_run_on_this_machine(
    shape: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "SIZES", (64,))
    output = tmp_path / "throughput.jsonl"
    small = ["--network", "bert-base", "--batch_size", "2", "--first", "1", "--steps", "1", "--repeats", "1"]
    assert benchmark.main(["--methods", "Trainer", "lane", *small, "--output", str(output)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["method"] for line in lines] == ["Trainer", "lane"]
    assert all(line["seconds"] > 0 and line["operations"] > 0 for line in lines)
    shown = capsys.readouterr().out
    assert "all layers of bert-base" in shown
    assert "| `lane` |" in shown


def test_speeds_are_medians_over_the_repeats() -> None:
    about = {"method": "a", "steps": 10, "batch_size": 32, "operations": 4e12, "ceiling": 8e12}
    lines = [{**about, "seconds": seconds} for seconds in (1.0, 9.0, 2.0)]
    assert benchmark.table(lines).splitlines()[-1] == "| `a` | 160.0 | 2 | 25% |"
    on_gpu = [{**line, "gpu_memory_mib": 10.0 * number} for number, line in enumerate(lines)]
    assert benchmark.table(on_gpu).splitlines()[-1] == "| `a` | 160.0 | 2 | 25% | 20 |"
