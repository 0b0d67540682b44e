"""The benchmark of language models as labellers: which rows and examples, the command line, and going on."""

import doctest
import importlib
import sys
from pathlib import Path
from typing import Any

import language_models
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from language_models import CHAT, NAMES, base, make_data, make_model, make_tokenizer, read
from openai_server import KEY

from lane_hf.errors import InputError
from lane_hf.metrics import ClassificationMetrics

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import accuracy_table
import llm_fewshot as benchmark
from llm.cache import AnswerCache
from llm.prompts import Labelled, Task
from llm.sampling import draw_examples, draw_test_rows, stratified_counts


@given(st.lists(st.integers(0, 30), min_size=2, max_size=8).filter(any), st.data())
def test_samples_are_in_proportion(sizes: list[int], data: st.DataObject) -> None:
    number = data.draw(st.integers(1, sum(sizes)))
    counts = stratified_counts(np.array(sizes), number, np.random.default_rng(data.draw(st.integers(0, 9))))
    assert counts.sum() == number
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
    occurring = sum(size > 0 for size in sizes)
    if number >= occurring:
        assert all(count > 0 for count, size in zip(counts, sizes, strict=True) if size)
    quotas = [number * size / sum(sizes) for size in sizes]
    if min(quota for quota in quotas if quota) >= 1:  # no class is lifted to its one row
        assert all(abs(count - quota) < 1 for count, quota in zip(counts, quotas, strict=True))


def test_examples_are_other_rows_in_another_order_for_every_seed() -> None:
    labels = [0] * 60 + [1] * 30 + [2] * 10
    first, same, other = (draw_examples(labels, 3, 20, seed) for seed in (1, 1, 2))
    assert first == same != other
    assert len(set(first)) == 20
    assert [sum(labels[row] == k for row in first) for k in range(3)] == [12, 6, 2]
    assert [labels[row] for row in first] != sorted(labels[row] for row in first)
    assert sorted(draw_examples(labels, 3, 100, 5)) == list(range(100))
    with pytest.raises(InputError, match="101 examples are asked for, but there are only 100"):
        draw_examples(labels, 3, 101, 1)


def test_test_rows_are_the_same_every_time() -> None:
    rows = draw_test_rows(1000, 50)
    assert rows == draw_test_rows(1000, 50) == sorted(set(rows))
    assert len(rows) == 50
    assert rows[:10] != list(range(10))


def cell(noise: str, seed: int) -> dict[str, Any]:
    return {"dataset": "toy", "noise": noise, "seed": seed}


def test_the_share_of_wrong_examples_is_exact(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    args = benchmark.parse([*base(data), "--examples", "20"])
    clean = benchmark.make_task(cell("clean", 1), args)
    train = pd.read_csv(data / "toy" / "train.csv")
    true = dict(zip(train["text"], train["label"], strict=True))
    for noise, wrong in {"uniform:0.4": 8, "pair:0.25": 5, "semantic-plutchik:0.1": 2, "clean": 0}.items():
        task = benchmark.make_task(cell(noise, 1), args)
        flipped = [example for example in task.examples if true[example.text] != example.label]
        assert len(flipped) == wrong
        assert [example for example in task.examples if example.is_flipped] == flipped
        assert [example.text for example in task.examples] == [example.text for example in clean.examples]
        assert [NAMES[label] for label in task.labels] == list(pd.read_csv(data / "toy" / "test.csv")["label"])
    shuffled = benchmark.make_task(cell("shuffle:1", 1), args)
    assert sorted(e.label for e in shuffled.examples) == sorted(e.label for e in clean.examples)
    assert any(example.is_flipped for example in shuffled.examples)


def test_unparsed_answers_are_wrong_but_no_class() -> None:
    task = Task("toy", NAMES, [], ["a"] * 6, [0, 0, 1, 1, 2, 2])
    scores = benchmark.scores_of(Labelled([0, -1, 1, 1, 3, 2], [0] * 6, 6, 0, None), task)["epochs"][0]
    assert scores["test_accuracy"] == pytest.approx(4 / 6)
    # Precision and recall: 1, 1/2; 1, 1; 1, 1/2; 0, 0 (predicted once, never right).
    assert scores["test_f1_macro"] == pytest.approx((2 / 3 + 1 + 2 / 3 + 0) / 4)
    parsed = [0, 3, 1, 1, 3, 2]
    scores = benchmark.scores_of(Labelled(parsed, [0] * 6, 6, 0, None), task)["epochs"][0]
    usual = ClassificationMetrics().compute(predictions=parsed, references=task.labels)
    assert (scores["test_accuracy"], scores["test_f1_macro"]) == (usual["accuracy"], usual["f1_macro"])


def test_examples_in_docstrings() -> None:
    tried = 0
    for name in ("answers", "cache", "local", "prompts", "sampling", "scoring", "server", "tokens"):
        outcome = doctest.testmod(importlib.import_module(f"llm.{name}"))
        assert outcome.failed == 0
        tried += outcome.attempted
    assert tried >= 6


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-chat"
    make_model().save_pretrained(folder)
    make_tokenizer(template=CHAT).save_pretrained(folder)
    return folder


def test_a_model_labels_and_the_tables_show_it(
    tmp_path: Path, language_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = make_data(tmp_path), tmp_path / "lines.jsonl"
    argv = base(data, model=language_model, repeats=2, max_test_rows=10)
    assert benchmark.main(argv) == 0
    assert capsys.readouterr().err == ""
    lines = read(output)
    assert [line["seed"] for line in lines] == [1, 2]
    for line in lines:
        assert line["method"] == "fewshot[tiny-chat,examples=8]"
        assert (line["noise"], line["examples_mislabelled"], line["examples_used"]) == ("uniform:0.25", 2, 8)
        assert (line["requests"], line["cached"], line["unparsed"], line["test_rows"]) == (10, 0, 0, 10)
        assert 0 <= line["epochs"][0]["test_accuracy"] <= 1
        assert line["settings"] == "max_test_rows=10,scores=sum"
        assert line["cost"] is None
    assert accuracy_table.main([str(output)]) == 0
    shown = capsys.readouterr().out
    assert "| `fewshot[tiny-chat,examples=8]` |" in shown
    assert "toy, uniform:0.25, seed 1, 2 (max_test_rows=10, scores=sum;" in shown
    # Cells that are there are skipped; without them, answers are still there.
    before = output.read_bytes()
    assert benchmark.main(argv) == 0
    assert output.read_bytes() == before
    output.write_text("")
    assert benchmark.main(argv) == 0
    assert [(line["requests"], line["cached"]) for line in read(output)] == [(0, 10)] * 2
    assert [line["epochs"] for line in read(output)] == [line["epochs"] for line in lines]


def test_a_cache_with_a_half_written_line(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    first = AnswerCache(path)
    first.put("a", answer="joy")
    first.put("b", answer="fear")
    first.close()
    path.write_text(path.read_text()[:-10])
    again = AnswerCache(path)
    assert (again.get("a"), again.get("b")) == ({"key": "a", "answer": "joy"}, None)
    again.put("b", answer="anger")
    again.close()
    assert AnswerCache(path).get("b") == {"key": "b", "answer": "anger"}
    assert AnswerCache(path).get("a") == {"key": "a", "answer": "joy"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "uniform"}, "--noise 'uniform': expected clean or KIND:RATE"),
        ({"noise": "uniform:x"}, "--noise 'uniform:x'"),
        ({"noise": "uniform:1.5"}, "--noise 'uniform:1.5'"),
        ({"noise": "odd:0.1"}, "--noise 'odd:0.1'"),
        ({"noise": "semantic-plutchik:0.1"}, "no place on Plutchik's wheel is known for 'bed'"),
        ({"examples": 41}, "41 examples are asked for, but there are only 40 training rows"),
        ({"examples": 0}, "--examples must be above 0, got 0"),
        ({"examples": "many"}, "invalid int value: 'many'"),
        ({"timeout": "nan", "server": "http://host"}, "--timeout must be above 0, got nan"),
        ({"price_in": -1, "server": "http://host"}, "--price_in must be 0 or more, got -1"),
        ({"price_in": 1, "server": "http://host"}, "give both --price_in and --price_out"),
        ({"max_cost": 1, "server": "http://host"}, "--max_cost needs --price_in"),
        ({"max_cost": 1}, "--max_cost is for models on a server only"),
        ({"normalise": "mean", "server": "http://host"}, "--normalise is for models on this machine only"),
        ({"server": "host:80"}, "--server must be an address"),
        ({"server": "http://host:port"}, "--server must be an address"),
        ({"server": f"http://me:{KEY}@host"}, "--server must not hold a name, a password"),
        ({"datasets": "other"}, "no such file"),
        ({"output": "/no/such/folder/lines.jsonl"}, "cannot be read and written"),
        ({"model": "/no/such/model"}, "no causal language model can be loaded"),
        ({"data_dir": None}, "the following arguments are required: --data_dir"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    if changes.get("noise") == "semantic-plutchik:0.1":
        monkeypatch.setattr(language_models, "NAMES", ["table", "chair", "lamp", "bed"])
    assert benchmark.main(base(make_data(tmp_path), **changes)) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("error: ")
    assert len(printed.err.splitlines()) == 1
    assert KEY not in printed.err + printed.out


def test_an_output_that_is_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "lines.jsonl"
    output.write_text("my notes\n")
    assert benchmark.main(base(make_data(tmp_path))) == 2
    assert "line 1: not a line of this benchmark" in capsys.readouterr().err
    assert output.read_text() == "my notes\n"


def test_test_rows_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_data(tmp_path)
    pd.read_csv(data / "toy" / "test.csv")[["text"]].to_csv(data / "toy" / "test.csv", index=False)
    assert benchmark.main(base(data)) == 2
    assert "test.csv: the test rows need labels" in capsys.readouterr().err


def test_long_texts_have_fewer_examples(tmp_path: Path) -> None:
    argv = base(tmp_path, examples=None)
    assert benchmark.parse(argv).examples == 100
    assert benchmark.parse([*argv, "--long"]).examples == 10
    assert benchmark.parse([*argv, "--long", "--examples", "7"]).examples == 7
