"""Label tables for tests, made by hand of rows whose flips are known."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from lane_hf.noise_probability import noise_probability
from lane_hf.report.label_issues import LabelIssues

LABELS = ["ant", "bee", "cow", "dog"]
ROWS = 80


def make_issues(
    num_rows: int,
    seed: int = 0,
    labels: list[str] | None = None,
    rare: dict[str, int] | None = None,
    texts: bool = False,
) -> LabelIssues:
    """Return a table of which every fourth row is flipped to the next label, some hard to tell, two rows not seen.

    Args:
        num_rows: number of rows.
        seed: of the margins.
        labels: names of the labels.
        rare: further labels, and how many rows get them.
        texts: have a column of texts.
    """
    rng, names = np.random.default_rng(seed), labels or LABELS
    true = rng.integers(0, len(names), num_rows)
    flipped = np.arange(num_rows) % 4 == 0
    given = np.where(flipped, (true + 1) % len(names), true)
    names = [*names, *(rare or {})]
    start = num_rows // 2
    for code, (_, number) in enumerate((rare or {}).items(), start=len(names) - len(rare or {})):
        given[start : start + number] = true[start : start + number] = code
        start += number
    other = np.where(flipped, true, (given + 1 + rng.integers(0, len(names) - 1, num_rows)) % len(names))
    other = np.where(other == given, (given + 1) % len(names), other)
    margins = np.where(flipped, -3.0, 3.0) + rng.normal(0, 2.0, num_rows)
    visits = np.full(num_rows, 4)
    visits[[1, 2]] = 0
    confidence = 1 / (1 + np.exp(-margins))
    known = (torch.tensor(each) for each in (margins, confidence, given))
    noise = noise_probability(*known, len(names), torch.tensor(other)).numpy()
    is_issue = (noise > 0.5) & (visits > 0)
    unseen = visits == 0
    table = pd.DataFrame(
        {
            "row_id": np.arange(num_rows),
            "given_label": named(given, names, unseen),
            "suggested_label": named(np.where(is_issue, other, given), names, unseen),
            "suggestion_confidence": np.where(is_issue, 1 - confidence, confidence),
            "noise_probability": noise,
            "runner_up_label": named(other, names, unseen),
            "runner_up_share": rng.uniform(0.25, 1, num_rows),
            "score": margins,
            "alm": margins,
            "aum": margins,
            "confidence": confidence,
            "variability": rng.uniform(0, 0.4, num_rows),
            "correctness": (margins > 0).astype(float),
            "weight": 1 - noise,
            "visits": visits.astype("int32"),
            "is_issue": is_issue,
            "is_flipped": flipped,
        }
    )
    numbers = table.columns[table.dtypes == "float64"]
    table.loc[unseen, numbers] = np.nan
    table[numbers] = table[numbers].astype("float32")
    if texts:
        table["text"] = pd.Series([f"text of row {row}" for row in range(num_rows)], dtype="string")
    return LabelIssues(table.sort_values("score", kind="stable", na_position="last", ignore_index=True), names)


def named(codes: np.ndarray, names: list[str], missing: np.ndarray) -> pd.Series:
    return pd.Series(np.array(names, dtype=object)[codes]).mask(missing).astype("string")


def case(**options: Any) -> tuple[pd.DataFrame, LabelIssues]:
    """A table of texts and labels, and its label issues; rows that were never seen have their label too."""
    issues = make_issues(ROWS, texts=True, **options)
    by_row = issues.set_index("row_id").sort_index()
    labels = by_row["given_label"].fillna("ant").astype(object)
    return pd.DataFrame({"text": by_row["text"], "label": labels, "more": range(ROWS)}).reset_index(drop=True), issues
