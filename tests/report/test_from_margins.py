"""Label tables from margins that were recorded elsewhere, such as by the aum package."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from aum import AUMCalculator

from lane_hf import InputError
from lane_hf.report.from_margins import issues_from_margins
from lane_hf.row_statistics import RowStatistics

ROWS, LABELS, EPOCHS = 40, 3, 3


def recorded(tmp_path: Path) -> tuple[pd.DataFrame, RowStatistics]:
    """Random logits, seen by the aum package and by ours."""
    generator = torch.Generator().manual_seed(0)
    calculator, statistics = AUMCalculator(str(tmp_path), compressed=False), RowStatistics(ROWS, LABELS)
    labels, ids = torch.arange(ROWS) % LABELS, torch.arange(ROWS)
    for _ in range(EPOCHS):
        logits = 3 * torch.randn(ROWS, LABELS, generator=generator)
        calculator.update(logits, labels, ids.tolist())
        statistics.record(statistics.observe(ids, labels, logits))
    calculator.finalize()
    return pd.read_csv(tmp_path / "full_aum_records.csv"), statistics


def test_the_csv_of_the_aum_package(tmp_path: Path) -> None:
    table, statistics = recorded(tmp_path)
    record = issues_from_margins(table)
    issues = record.issues.set_index("row_id").sort_index()
    assert record.issues["score"].is_monotonic_increasing
    assert issues["aum"].tolist() == pytest.approx(statistics.average_margin().tolist(), rel=1e-5, abs=1e-6)
    assert issues["given_label"].tolist() == [row % LABELS for row in range(ROWS)]
    assert issues["correctness"].tolist() == pytest.approx(statistics.correctness().tolist())
    assert (issues["visits"] == EPOCHS).all()
    for row, own in table.groupby("sample_id"):
        counts = own["other_logit"].value_counts()
        assert counts[issues.at[row, "runner_up_label"]] == counts.max()
        assert issues.at[row, "runner_up_share"] == pytest.approx(counts.max() / EPOCHS)
    doubted = issues[issues["is_issue"]]
    assert (doubted["suggested_label"] == doubted["runner_up_label"]).all()
    fine = issues[~issues["is_issue"]]
    assert (fine["suggested_label"] == fine["given_label"]).all()
    wide = table.pivot_table(index="num_measurements", columns="sample_id", values="margin").to_numpy()
    np.testing.assert_allclose(record.margins, wide, rtol=1e-3)
    assert record.margin_row_ids.tolist() == list(range(ROWS))


def test_wide_and_long_tables_say_the_same(tmp_path: Path) -> None:
    table, _ = recorded(tmp_path)
    long = table.rename(columns={"sample_id": "row_id", "target_logit": "label", "num_measurements": "epoch"})
    long = long[["row_id", "label", "epoch", "margin"]]
    wide = long.pivot_table(index=["row_id", "label"], columns="epoch", values="margin").add_prefix("margin_")
    from_long = issues_from_margins(long.sample(frac=1, random_state=0))
    from_wide = issues_from_margins(wide.reset_index())
    pd.testing.assert_frame_equal(pd.DataFrame(from_long.issues), pd.DataFrame(from_wide.issues))
    np.testing.assert_array_equal(from_long.margins, from_wide.margins)
    assert from_long.issues["suggested_label"].isna().sum() == from_long.issues["is_issue"].sum() > 0
    assert from_long.issues["confidence"].isna().all()


@pytest.mark.parametrize("number", [-np.inf, np.inf, -1e300])
def test_a_margin_that_is_no_number_is_left_out(number: float) -> None:
    rows = range(40)
    margins = [-4.0 if row < 8 else 3.0 + row % 3 for row in rows]
    table = pd.DataFrame(
        {"row_id": [*rows, 0], "label": [row % 2 for row in rows] + [0], "margin": [*margins, number]}
    )
    with pytest.warns(UserWarning, match="1 margins are infinite, or too large to count: left out"):
        issues = issues_from_margins(table).issues
    without = issues_from_margins(table.iloc[:-1]).issues
    pd.testing.assert_frame_equal(pd.DataFrame(issues), pd.DataFrame(without))
    assert issues["is_issue"].sum() == 8


def test_labels_get_their_names(tmp_path: Path) -> None:
    table, _ = recorded(tmp_path)
    issues = issues_from_margins(table, ["no", "perhaps", "yes"]).issues
    assert set(issues["given_label"]) == {"no", "perhaps", "yes"}
    assert issues.label_names == ["no", "perhaps", "yes"]
    assert issues.noise_matrix().shape == (3, 3)
    text = table.assign(target_logit=table["target_logit"].map(["no", "perhaps", "yes"].__getitem__))
    mixed = issues_from_margins(text).issues  # the other labels are numbers still
    assert set(mixed["given_label"]) == {"no", "perhaps", "yes"}
    assert {str(mixed[name].dtype) for name in ("given_label", "suggested_label", "runner_up_label")} == {"string"}


ONE = {"row_id": [0, 0], "label": ["a", "a"], "margin": [1.0, 2.0]}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no margins": ({"row_id": [0], "label": ["a"]}, "no column 'margin': its columns are 'row_id', 'label'"),
    "no label": ({"sample_id": [0], "aum": [1.0]}, "no column 'label'"),
    "two labels": ({**ONE, "label": ["a", "b"]}, "row 0 has two different labels"),
    "ids that are no numbers": ({**ONE, "row_id": ["x", "x"]}, "row ids must be integers, got 'x'"),
    "a label that is a list": (
        {**ONE, "label": [["a"], "a"]},
        "column 'label': .* is a list, expected a text or a number",
    ),
    "another label that is one": (
        {**ONE, "other_label": ["b", {"c": 1}]},
        "column 'other_label': .* is a dict, expected a text or a number",
    ),
    "a label that is a list in a wide table": (
        {"row_id": [0], "label": [["a"]], "margin_1": [1.0]},
        "column 'label': .* is a list",
    ),
    "margins that are no numbers": ({**ONE, "margin": ["high", 1.0]}, "column 'margin': 'high' is no number"),
}


@pytest.mark.parametrize(("columns", "message"), WRONG.values(), ids=WRONG)
def test_wrong_tables(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        issues_from_margins(pd.DataFrame(columns))


def test_names_of_labels_differ() -> None:
    with pytest.raises(InputError, match="label_names has 'a' twice: give every label a name of its own"):
        issues_from_margins(pd.DataFrame({**ONE, "label": [1, 1]}), ["a", "a"])


def test_labels_outside_of_the_names() -> None:
    with pytest.raises(InputError, match="label '3' is none of the 2 that label_names names"):
        issues_from_margins(pd.DataFrame({**ONE, "label": [3, 3]}), ["a", "b"])
