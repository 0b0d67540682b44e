"""Metrics as `evaluate.Metric` modules on scikit-learn: no metric script is ever fetched from the Hub."""

from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

_CITATION = """@article{scikit-learn, title={Scikit-learn: Machine Learning in Python},
author={Pedregosa, F. and others}, journal={Journal of Machine Learning Research}, volume={12}, pages={2825--2830},
year={2011}}"""


METRICS = ("accuracy", "f1_macro", "f1_weighted")
"""What [`compute_metrics`] gives."""


class ClassificationMetrics(evaluate.Metric):
    """Accuracy, macro-F1 and weighted F1 of class predictions.

    Macro-F1 goes over the classes that occur among references or predictions, as in scikit-learn.

    Example:
        >>> ClassificationMetrics().compute(predictions=[0, 1, 1], references=[0, 1, 0])["accuracy"]
        0.6666666666666666
    """

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description="Accuracy, macro-F1 and weighted F1.",
            citation=_CITATION,
            features=datasets.Features(features),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "f1_macro": float(f1_score(references, predictions, average="macro", zero_division=0)),
            "f1_weighted": float(f1_score(references, predictions, average="weighted", zero_division=0)),
        }


class DetectionMetrics(evaluate.Metric):
    """How well a score finds flipped labels: ROC area, average precision, and precision among the worst 5%.

    Predictions are suspicions, higher for rows that look mislabelled; references are 1 for flipped rows, else 0. Area
    and average precision are NaN if all rows are flipped, or none.

    Example:
        >>> result = DetectionMetrics().compute(predictions=[0.9, 0.1, 0.2], references=[1, 0, 0])
        >>> result["auroc"], result["average_precision"]
        (1.0, 1.0)
    """

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description="AUROC, average precision and precision among the worst 5% of label error detection.",
            citation=_CITATION,
            features=datasets.Features(features),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        suspicion, flipped = np.asarray(predictions, dtype=float), np.asarray(references)
        worst = np.argsort(-suspicion, kind="stable")[: max(1, round(0.05 * len(suspicion)))]
        defined = 0 < flipped.sum() < len(flipped)
        return {
            "auroc": float(roc_auc_score(flipped, suspicion)) if defined else float("nan"),
            "average_precision": float(average_precision_score(flipped, suspicion)) if defined else float("nan"),
            "precision_at_5_percent": float(flipped[worst].mean()),
        }


def compute_metrics(prediction: Any) -> dict[str, float]:
    """Return accuracy, macro-F1 and weighted F1: what `Trainer` wants as `compute_metrics`.

    Args:
        prediction: an `EvalPrediction` with logits `[N, K]` and label ids `[N]`.

    Example:
        >>> from transformers import EvalPrediction
        >>> logits, labels = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 0])
        >>> compute_metrics(EvalPrediction(logits, labels))["accuracy"]
        0.5
    """
    logits = first_output(prediction.predictions)
    return ClassificationMetrics().compute(predictions=np.argmax(logits, axis=1), references=prediction.label_ids)


def first_output(predictions: Any) -> Any:
    """Return the logits out of what `Trainer` predicts: some models give more besides, as a tuple."""
    return predictions[0] if isinstance(predictions, tuple) else predictions
