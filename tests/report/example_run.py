"""A run record for tests of the report, with everything that there can be."""

from typing import Any

import numpy as np
from report_tables import make_issues

from lane_hf.report.run_record import RunRecord


def example_record(num_rows: int = 600, texts: bool = True, labels: list[str] | None = None) -> RunRecord:
    """Return a record with a log, settings, margins of four epochs and distances."""
    issues = make_issues(num_rows, texts=texts, labels=labels)
    rng, names = np.random.default_rng(1), issues.label_names
    place = issues.set_index("row_id")["aum"].sort_index().fillna(0.0).to_numpy()
    margins = (place + rng.normal(0, 0.5, (4, num_rows))).astype(np.float16)
    margins[2, 5] = np.nan
    log: list[dict[str, Any]] = []
    for epoch in range(1, 5):
        line = {"loss": 2 / epoch, "loss_ce": 1 / epoch, "loss_aux": 1.1 / epoch, "lane/mean_weight": 1 - 0.1 * epoch}
        line |= {
            "lane/share_below_half": 0.05 * epoch,
            "lane/alm_mean": -epoch / 2,
            "lane/alm_std": epoch / 4,
            "lane/negative_share": 0.1,
        }
        log += [{"epoch": epoch, **line}, {"epoch": epoch, "eval_accuracy": 0.8, "eval_f1_macro": 0.1 * epoch}]
    return RunRecord(
        issues,
        log,
        {"RunConfig": {"method": "lane", "seed": 42}, "versions": {"torch": "2.13.0"}, "processes": 1},
        {"test_accuracy": 0.912, "detection_auroc": 0.987, "train_runtime": 12.0},
        margins,
        np.arange(num_rows),
        np.abs(np.subtract.outer(range(len(names)), range(len(names)))).astype(float),
    )


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours such as "#0072b2", from 1 to 21 (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)
