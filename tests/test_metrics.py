"""Metrics against scikit-learn and against counting, without a network."""

import math
import socket
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from transformers import EvalPrediction

from lane_hf.metrics import ClassificationMetrics, DetectionMetrics, compute_metrics


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError(f"a connection was opened: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def expected_classification(references: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float((references == predictions).mean()),
        "f1_macro": sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0),
        "f1_weighted": sklearn_metrics.f1_score(references, predictions, average="weighted", zero_division=0),
    }


@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    references, predictions = rng.integers(0, 2 + seed, 60), rng.integers(0, 2 + seed, 60)
    result = ClassificationMetrics().compute(predictions=predictions, references=references)
    assert result == pytest.approx(expected_classification(references, predictions))


def test_macro_f1_counts_by_hand() -> None:
    # Class 0: precision 1/2, recall 1/1, F1 2/3. Class 1: 1/1, 1/2, 2/3. Class 2 occurs nowhere and does not count.
    result = ClassificationMetrics().compute(predictions=[0, 1, 0], references=[0, 1, 1])
    assert result == pytest.approx({"accuracy": 2 / 3, "f1_macro": 2 / 3, "f1_weighted": 2 / 3})
    # A class that is only predicted does count, with 0.
    result = ClassificationMetrics().compute(predictions=[0, 1], references=[0, 0])
    assert result == pytest.approx({"accuracy": 0.5, "f1_macro": 1 / 3, "f1_weighted": 2 / 3})


@pytest.mark.parametrize("seed", range(5))
def test_detection_agrees_with_scikit_learn_and_with_sorting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    suspicion, flipped = rng.normal(size=100), rng.integers(0, 2, 100)
    if seed == 0:
        suspicion = suspicion.round()  # ties
    result = DetectionMetrics().compute(predictions=suspicion, references=flipped)
    assert result["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(flipped, suspicion))
    assert result["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(flipped, suspicion))
    worst = sorted(range(100), key=lambda row: -suspicion[row])[:5]
    assert result["precision_at_5_percent"] == pytest.approx(sum(flipped[row] for row in worst) / 5)


def test_detection_of_perfect_and_of_reversed_scores() -> None:
    flipped = [1] * 2 + [0] * 38
    perfect = DetectionMetrics().compute(predictions=np.arange(40)[::-1], references=flipped)
    assert perfect == {"auroc": 1.0, "average_precision": 1.0, "precision_at_5_percent": 1.0}
    reversed_scores = DetectionMetrics().compute(predictions=np.arange(40), references=flipped)
    assert reversed_scores["auroc"] == 0.0
    assert reversed_scores["precision_at_5_percent"] == 0.0


def test_the_worst_five_percent_are_at_least_one_row() -> None:
    result = DetectionMetrics().compute(predictions=[0.1, 0.9, 0.2], references=[0, 1, 0])
    assert result["precision_at_5_percent"] == 1.0


@pytest.mark.parametrize("flipped", [0, 1])
def test_areas_without_both_kinds_of_rows_are_undefined(flipped: int) -> None:
    result = DetectionMetrics().compute(predictions=[0.1, 0.2, 0.3], references=[flipped] * 3)
    assert math.isnan(result["auroc"])
    assert math.isnan(result["average_precision"])
    assert result["precision_at_5_percent"] == flipped


@pytest.mark.parametrize("wrap", [lambda logits: logits, lambda logits: (logits, np.zeros((3, 2)))])
def test_compute_metrics_takes_what_trainer_gives(wrap: Any) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    result = compute_metrics(EvalPrediction(predictions=wrap(logits), label_ids=labels))
    assert result == pytest.approx(expected_classification(labels, np.argmax(logits, axis=1)))
    assert all(isinstance(value, float) for value in result.values())
