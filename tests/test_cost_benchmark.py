"""The benchmark of costs: how ratios are taken, and that every method runs in it."""

import argparse
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import cost as benchmark


def test_a_ratio_is_that_to_the_trainer_runs_beside_it() -> None:
    runs = iter([("Trainer", 1.0), ("a", 3.0), ("Trainer", 2.0), ("b", 4.0), ("Trainer", 6.0)])

    def train(name: str) -> tuple[float, float | None]:
        expected, seconds = next(runs)
        assert name == expected
        return seconds, None

    ratios = dict(benchmark.ratios_of_a_repeat(["a", "b"], train))
    assert ratios == {"a": {"seconds": 3.0, "ratio": 2.0}, "b": {"seconds": 4.0, "ratio": 1.0}}


def test_of_a_gpu_the_memory_of_both_is_told() -> None:
    memory = {"Trainer": 10.0, "a": 12.0}
    (_, found), *_ = benchmark.ratios_of_a_repeat(["a"], lambda name: (2.0, memory[name]))
    assert found == {
        "seconds": 2.0,
        "ratio": 1.0,
        "gpu_memory_mib": 12.0,
        "trainer_seconds": 2.0,
        "trainer_memory_mib": 10.0,
    }


def test_the_table_shows_medians() -> None:
    lines = [{"method": "a", "ratio": ratio} for ratio in (1.0, 5.0, 2.0)]
    assert benchmark.table(lines).splitlines()[-1] == "| `a` | 2.00 | 1.00 to 5.00 |"


def test_runs_of_several_sizes_are_told_size_by_size() -> None:
    about = {
        "layers": 2,
        "max_length": 64,
        "device": "cpu",
        "threads": 2,
        "torch": "2",
        "transformers": "5",
        "repeat": 0,
    }
    lines = [
        {"method": "a", "ratio": 1.0, "batch_size": 32, "labels": None, "pad_to": None, **about},
        {"method": "b", "ratio": 2.0, "batch_size": 32, "labels": None, "pad_to": None, **about},
        {"method": "b", "ratio": 3.0, "batch_size": 32, "labels": 500, "pad_to": 128, **about},
    ]
    assert benchmark.report(lines).splitlines()[2:] == [
        "| batch | labels | tokens | `a` | `b` |",
        "|---|---|---|---|---|",
        "| 32 | as in the data | as in the data | 1.00 | 2.00 |",
        "| 32 | 500 | 128 |  | 3.00 |",
    ]


@pytest.mark.parametrize(("labels", "expected"), [(2, [0, 1]), (5000, None), (None, None)])
def test_fewer_labels_merge_those_of_the_data(labels: int | None, expected: list[int] | None) -> None:
    args = argparse.Namespace(labels=labels, model=None, max_length=8)
    material = benchmark.make_material(60, args)
    whole = benchmark.make_material(60, argparse.Namespace(labels=None, model=None, max_length=8))
    assert material.rows["input_ids"] == whole.rows["input_ids"]
    assert sorted(set(material.rows["label"])) == (expected or sorted(set(whole.rows["label"])))
    assert len(material.names) == len(expected or whole.names)


def test_with_views_the_reference_has_them_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "cost.jsonl"
    few = ["--rows", "16", "--layers", "1", "--repeats", "1", "--epochs", "1", "--batch_size", "4"]
    argv = ["--methods", "lane[auxiliary=full]", "--auxiliary_layers", "1", "--views", "2", *few]
    assert benchmark.main([*argv, "--output", str(output)]) == 0
    (line,) = (json.loads(each) for each in output.read_text().splitlines())
    assert (line["method"], line["views"]) == ("lane[auxiliary=full], auxiliary_layers=1", 2)
    assert "time, plain on 3 views = 1" in capsys.readouterr().out
    runs = iter([("plain", 1.0), ("a", 3.0), ("plain", 2.0)])

    def train(name: str) -> tuple[float, None]:
        expected, seconds = next(runs)
        assert name == expected
        return seconds, None

    assert dict(benchmark.ratios_of_a_repeat(["a"], train, "plain"))["a"]["ratio"] == 2.0


def test_methods_with_one_stage_and_with_several_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "cost.jsonl"
    argv = ["--methods", "plain", "aum", "--rows", "24", "--layers", "1", "--repeats", "1", "--output", str(output)]
    assert benchmark.main(argv) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["method"] for line in lines] == ["plain", "aum"]
    assert all(line["seconds"] > 0 and line["ratio"] > 0 for line in lines)
    assert "| `aum` |" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["Trainer", "plain", "cartography-easy"])
def test_every_method_trains_as_many_layers_as_are_asked_for(method: str, tmp_path: Path) -> None:
    args = argparse.Namespace(labels=None, model=None, max_length=8, views=0, pad_to=None, epochs=2, batch_size=8)
    args.layers, args.auxiliary_layers, args.network = 2, None, benchmark.PACKAGED
    trainer = benchmark.make_trainer(method, str(tmp_path), benchmark.make_material(16, args), args)
    trainer.train()  # stages make their models in training
    assert trainer.model.config.num_hidden_layers == 2
