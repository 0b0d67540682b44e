"""The detection benchmark: its scores against counting by hand, and its table."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import make_model, make_text_dataset, make_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import detection as benchmark


@pytest.mark.parametrize("seed", range(5))
def test_scores_against_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flipped = rng.uniform(size=150) < 0.3
    suspicion = rng.normal(size=150) + flipped
    issues = suspicion > 0.7
    found = benchmark.scores({"suspicion": suspicion, "issues": issues}, flipped)
    pairs = [(a, b) for a in suspicion[flipped] for b in suspicion[~flipped]]
    assert found["auroc"] == pytest.approx(np.mean([a > b for a, b in pairs]))
    order = sorted(range(150), key=lambda row: -suspicion[row])
    hits = [flipped[row] for row in order]
    precisions = [sum(hits[: k + 1]) / (k + 1) for k in range(150) if hits[k]]
    assert found["average_precision"] == pytest.approx(np.mean(precisions))
    number = int(flipped.sum())
    assert found["precision_at_flips"] == pytest.approx(sum(hits[:number]) / number)
    assert found["precision_at_100"] == pytest.approx(sum(hits[:100]) / 100)
    assert found["issue_precision"] == pytest.approx(sum(flipped & issues) / issues.sum())
    assert found["issue_recall"] == pytest.approx(sum(flipped & issues) / number)
    assert found["recall_at_issues"] == pytest.approx(sum(hits[: issues.sum()]) / number)


def test_every_finder_is_asked_about_rows_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    for seed, (split, number) in enumerate({"train": 256, "validation": 16, "test": 16}.items()):
        rows = make_text_dataset(number, seed=seed)
        names = [rows.features["label"].int2str(label) for label in rows["label"]]
        pd.DataFrame({"text": rows["text"], "label": names}).to_csv(folder / f"{split}.csv", index=False)
    make_model("bert").save_pretrained(tmp_path / "tiny")
    make_tokenizer(tmp_path / "tiny")
    settings = {"layers": None, "epochs": 6, "batch_size": 16, "learning_rate": 3e-3, "max_length": 16}
    args = Namespace(data_dir=tmp_path, model=str(tmp_path / "tiny"), max_train_samples=None, **settings)
    cell = benchmark.Cell("toy", "uniform:0.2", 1, args)
    for name, finder in benchmark.FINDERS.items():
        found = benchmark.scores(finder(cell, str(tmp_path / "out")), cell.flipped)
        assert found["auroc"] > 0.9, name


def test_a_finder_without_a_verdict_has_no_scores_of_one() -> None:
    found = benchmark.scores({"suspicion": np.array([1.0, 0.0])}, np.array([True, False]))
    assert "issue_precision" not in found
    nothing = {"suspicion": np.array([1.0, 0.0]), "issues": np.array([False, False])}
    assert benchmark.scores(nothing, np.array([True, False]))["issue_precision"] is None


def line(finder: str, seed: int, precision: float, steps: float, **changes: Any) -> dict[str, Any]:
    own = {"dataset": "toy", "noise": "uniform:0.4", "seed": seed, "settings": "s", "finder": finder}
    own |= {"auroc": 0.5, "average_precision": precision, "precision_at_flips": 0.5, "steps": steps}
    return {**own, "cleanlab": "2", "aum": "1", "versions": {"torch": "2"}, "device": "cpu", **changes}


def test_the_table_has_means_the_best_in_bold_and_costs() -> None:
    lines = [
        *(line("lane", seed, 0.8 + 0.1 * seed, 20.0, issue_precision=0.7, issue_recall=0.6) for seed in (0, 1)),
        *(line("aum", seed, 0.7, 10.0) for seed in (0, 1)),
    ]
    rows = benchmark.table(lines).splitlines()
    assert rows[2] == "| toy | uniform:0.4 | lane | **0.500** | **0.850** | **0.500** | **0.700** | **0.600** | 2.0 |"
    assert rows[3] == "| toy | uniform:0.4 | aum | **0.500** | 0.700 | **0.500** |  |  | 1.0 |"
    assert "seeds 0, 1" in benchmark.report(lines)
