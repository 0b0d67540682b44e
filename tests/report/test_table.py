"""The table of label issues: order, names, types, and that it stays small."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from lane_hf.noise_probability import noise_probability
from lane_hf.report.table import COLUMNS, build_table
from lane_hf.row_scores import RowScores
from lane_hf.row_statistics import RowStatistics

ROWS, LABELS = 61, 3
UNSEEN = [7, 60]
NAMES = ["ant", "bee", "cow"]


def noisy_run(spread: float = 0.3) -> tuple[RowStatistics, Tensor, Tensor, Tensor]:
    """Statistics of rows of which every fourth is mislabelled and two were never seen; scores; labels; mislabelled."""
    generator = torch.Generator().manual_seed(0)
    true, bad = torch.arange(ROWS) % LABELS, torch.arange(ROWS) % 4 == 0
    given = torch.where(bad, (true + 1) % LABELS, true)
    statistics = RowStatistics(ROWS, LABELS)
    seen = torch.tensor([row for row in range(ROWS) if row not in UNSEEN])
    for _ in range(3):
        logits = spread * torch.randn(ROWS, LABELS, generator=generator)
        logits[torch.arange(ROWS), true] += 4.0
        statistics.record(statistics.observe(seen, given[seen], logits[seen]))
    return statistics, 2 * statistics.average_margin(), given, bad


def judged(scores: torch.Tensor, weights: torch.Tensor) -> RowScores:
    """A method whose scores are averaged margins."""
    return RowScores(scores, weights, scores)


def make_table(**options: Any) -> pd.DataFrame:
    statistics, scores, *_ = noisy_run()
    return build_table(statistics, judged(scores, torch.linspace(0.0, 1.0, ROWS)), **options)


def test_every_row_once_worst_first_and_unseen_rows_last() -> None:
    table = make_table()
    assert tuple(table.columns) == COLUMNS
    assert table.index.tolist() == list(range(ROWS))
    assert sorted(table["row_id"]) == list(range(ROWS))
    assert table["row_id"].tolist()[-2:] == UNSEEN
    seen = table[:-2]
    assert seen["alm"].notna().all()
    assert seen["alm"].is_monotonic_increasing
    assert seen["alm"].iloc[0] < 0 < seen["alm"].iloc[-1]


def test_each_column_holds_what_was_recorded_of_its_row() -> None:
    statistics, scores, given, _ = noisy_run()
    table = make_table().sort_values("row_id")[:]
    table = table[~table["row_id"].isin(UNSEEN)]
    rows = torch.tensor(table["row_id"].to_numpy())
    candidates, share = statistics.candidates(), statistics.candidate_share()
    issue = torch.tensor(table["is_issue"].to_numpy())
    assert 5 < int(issue.sum()) < 25
    assert table["given_label"].tolist() == given[rows].tolist()
    assert table["suggested_label"].tolist() == torch.where(issue, candidates[rows], given[rows]).tolist()
    assert table["alm"].tolist() == scores[rows].tolist()
    assert table["aum"].tolist() == statistics.average_margin()[rows].tolist()
    assert table["weight"].tolist() == torch.linspace(0.0, 1.0, ROWS)[rows].tolist()
    assert table["visits"].tolist() == [3] * (ROWS - 2)
    assert table["runner_up_label"].tolist() == candidates[rows].tolist()
    assert table["runner_up_share"].tolist() == statistics.candidate_share()[rows].tolist()
    assert table["confidence"].tolist() == statistics.given_confidence()[rows].tolist()
    assert table["variability"].tolist() == statistics.given_variability()[rows].tolist()
    assert table["correctness"].tolist() == statistics.correctness()[rows].tolist()
    margins = statistics.average_margin()[rows]
    confidence = statistics.given_confidence()[rows]
    doubted = noise_probability(margins, confidence, given[rows], LABELS, candidates[rows])
    assert table["noise_probability"].tolist() == doubted.tolist()
    expected = torch.where(issue, doubted * share[rows], 1 - doubted)
    assert table["suggestion_confidence"].tolist() == expected.tolist()


def test_mislabelled_rows_are_the_issues_and_get_their_true_label() -> None:
    *_, bad = noisy_run()
    table = make_table().set_index("row_id")
    for row in set(range(ROWS)) - set(UNSEEN):
        assert table.loc[row, "is_issue"] == bool(bad[row]), row
        assert table.loc[row, "suggested_label"] == row % LABELS
        assert table.loc[row, "suggestion_confidence"] > 0.9


@pytest.mark.parametrize("names", [None, NAMES])
def test_an_issue_is_a_row_with_another_suggestion(names: list[str] | None) -> None:
    seen = make_table(label_names=names)[:-2]
    assert seen["suggested_label"].notna().all()
    assert (seen["is_issue"] == (seen["given_label"] != seen["suggested_label"])).all()


def test_an_issue_is_more_likely_wrong_than_right() -> None:
    statistics, scores, given, _ = noisy_run(spread=4.0)  # the humps overlap
    seen = torch.tensor([row for row in range(ROWS) if row not in UNSEEN])
    margins = statistics.average_margin()[seen]
    confidence, others = statistics.given_confidence()[seen], statistics.candidates()[seen]
    probability = noise_probability(margins, confidence, given[seen], LABELS, others)
    assert ((probability > 0.1) & (probability < 0.5)).any()
    assert ((probability > 0.5) & (probability < 0.9)).any()
    expected = probability > 0.5
    assert expected.any()
    table = build_table(statistics, judged(scores, torch.ones(ROWS))).set_index("row_id")
    assert table.loc[seen.tolist(), "is_issue"].tolist() == expected.tolist()


def test_types_of_the_columns() -> None:
    numbers = ("suggestion_confidence", "noise_probability", "runner_up_share", "score", "alm", "aum", "weight")
    expected = dict.fromkeys((*numbers, "confidence", "variability", "correctness"), "float32")
    expected |= {"row_id": "int64", "visits": "int32", "is_issue": "bool"}
    for names, label_type in ((None, "Int64"), (NAMES, "string")):
        types = make_table(label_names=names).dtypes.astype(str).to_dict()
        labels = ("given_label", "suggested_label", "runner_up_label")
        assert types == {**expected, **dict.fromkeys(labels, label_type)}


def test_rows_never_seen_have_no_label_and_no_suggestion() -> None:
    for names in (None, NAMES):
        unseen = make_table(label_names=names)[-2:]
        for column in ("given_label", "suggested_label", "suggestion_confidence", "noise_probability", "score", "alm"):
            assert unseen[column].isna().all(), column
        assert unseen["visits"].tolist() == [0, 0]
        assert unseen["is_issue"].tolist() == [False, False]


def test_names_stand_for_the_numbers() -> None:
    numbers, named = make_table(), make_table(label_names=NAMES)
    for column in ("given_label", "suggested_label"):
        assert [NAMES[label] for label in numbers[column][:-2]] == named[column][:-2].tolist()
    rest = [column for column in COLUMNS if not column.endswith("label")]
    pd.testing.assert_frame_equal(numbers[rest], named[rest])


def test_the_users_own_row_ids() -> None:
    own = 1000 - 7 * np.arange(ROWS)
    table, plain = make_table(row_ids=own), make_table()
    assert table["row_id"].tolist() == own[plain["row_id"]].tolist()
    assert table["row_id"].dtype == np.int64


def test_rows_with_equal_scores_keep_their_order_and_are_no_issues() -> None:
    statistics = RowStatistics(15, 2)
    ids = torch.arange(15)
    statistics.record(statistics.observe(ids, torch.zeros(15).long(), torch.tensor([[0.0, 3.0]]).repeat(15, 1)))
    table = build_table(statistics, judged(statistics.average_margin(), torch.ones(15)))
    assert table["row_id"].tolist() == list(range(15))
    assert not table["is_issue"].any()
    assert table["suggested_label"].tolist() == [0] * 15


def test_nothing_recorded_at_all() -> None:
    table = build_table(RowStatistics(4, LABELS), RowScores(torch.zeros(4), torch.ones(4)), label_names=NAMES)
    assert table["row_id"].tolist() == [0, 1, 2, 3]
    assert table["given_label"].isna().all()
    assert table["alm"].isna().all()
    assert not table["is_issue"].any()
    assert table["weight"].tolist() == [1.0] * 4


def test_the_table_is_not_a_view_of_the_statistics() -> None:
    statistics, scores, given, _ = noisy_run()
    table = build_table(statistics, judged(scores, torch.ones(ROWS)))
    before = table.copy(deep=True)
    statistics.record(statistics.observe(torch.arange(ROWS), given, torch.full((ROWS, LABELS), 9.0)))
    scores.zero_()
    pd.testing.assert_frame_equal(table, before)


# [rows, labels] of single bytes would already take 1000 MB.
LARGE = """
import sys, torch
from pathlib import Path
from lane_hf.report.table import build_table
from lane_hf.row_scores import RowScores
from lane_hf.row_statistics import Observation, RowStatistics

def status(name):
    return next(int(line.split()[1]) / 1024 for line in Path("/proc/self/status").open() if line.startswith(name))

torch.set_num_threads(1)
rows, labels = 1_000_000, 1000
build_table(RowStatistics(2, 2), RowScores(torch.zeros(2), torch.ones(2)))  # whatever is imported late
statistics, ids = RowStatistics(rows, labels), torch.arange(rows)
given, bad = ids % labels, ids % 7 == 0
scores = torch.where(bad, -3.0, 3.0) + 0.5 * torch.randn(rows, generator=torch.Generator().manual_seed(0))
ones = torch.ones(rows)
statistics.record(Observation(ids, given, scores, 0.5 * ones, (given + 1) % labels, 0.25 * ones))
before = status("VmRSS")
names = [f"label {label}" for label in range(labels)]
table = build_table(statistics, RowScores(scores, ones, scores), label_names=names)
assert table["is_issue"].sum() == int(bad.sum()), table["is_issue"].sum()
print(round(status("VmHWM") - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux")
def test_a_million_rows_of_a_thousand_labels_take_memory_by_the_row() -> None:
    finished = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) < 500  # MB
