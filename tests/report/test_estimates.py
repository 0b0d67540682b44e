"""What a label table says of the data set, against loops over its rows."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from report_tables import LABELS, make_issues

from lane_hf import InputError
from lane_hf.noise_probability import noise_probability
from lane_hf.report import estimates
from lane_hf.report.estimates import noise_rate, per_label
from lane_hf.report.label_issues import LabelIssues


def rows_of(issues: LabelIssues) -> list[dict]:
    return [row for row in pd.DataFrame(issues).to_dict("records") if row["visits"] > 0]


def test_the_noise_rate_is_the_mean_probability_and_lies_in_its_interval() -> None:
    issues = make_issues(400)
    rows = rows_of(issues)
    rate = issues.noise_rate()
    assert rate.estimate == pytest.approx(math.fsum(row["noise_probability"] for row in rows) / len(rows), rel=1e-5)
    assert 0 <= rate.low < rate.estimate < rate.high <= 1
    assert rate == issues.noise_rate()
    assert rate.high - rate.low < 0.2


def test_the_interval_covers_the_estimates_of_other_samples() -> None:
    """The share of flips is the same in every sample; the estimates should fall into the interval of the first."""
    first = make_issues(300, seed=0).noise_rate()
    # The estimate itself is the mean probability: see above.
    others = [make_issues(300, seed=seed)["noise_probability"].mean() for seed in range(1, 9)]
    assert sum(first.low <= other <= first.high for other in others) >= 6
    width = first.high - first.low
    assert width < 0.25
    wide = make_issues(60, seed=0).noise_rate()
    assert wide.high - wide.low > width  # fewer rows say less


def sampled(generator: np.random.Generator, rows: int = 300) -> pd.DataFrame:
    wrong = generator.random(rows) < 0.2
    margins = np.where(wrong, generator.normal(-2.5, 1, rows), generator.normal(3, 1, rows)).astype(np.float32)
    labels = generator.integers(3, size=rows)
    noise = noise_probability(torch.tensor(margins), None, torch.tensor(labels), 3).numpy()
    return pd.DataFrame(
        {"noise_probability": noise, "aum": margins, "confidence": np.nan, "given_label": labels, "visits": 3}
    )


def test_the_interval_covers_the_true_rate_as_often_as_it_says() -> None:
    """Quantiles of the 20 resamples covered it in 90 of these 100 samples."""
    generator = np.random.default_rng(0)
    rates = [noise_rate(sampled(generator), seed) for seed in range(100)]
    assert 93 <= sum(rate.low <= 0.2 <= rate.high for rate in rates) <= 98


def test_the_interval_of_many_rows_comes_from_fewer_as_wide_as_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    table = sampled(np.random.default_rng(0), rows=2000)
    from_all = noise_rate(table)
    monkeypatch.setattr(estimates, "_LARGEST_SAMPLE", 200)
    from_few = noise_rate(table)
    assert from_few.estimate == from_all.estimate
    assert 1 / 1.5 < (from_few.high - from_few.low) / (from_all.high - from_all.low) < 1.5


def test_no_issue_among_a_few_rows_says_little() -> None:
    none = make_issues(50).assign(noise_probability=0.0, aum=4.0)
    rate = LabelIssues(none).noise_rate()
    assert (rate.estimate, rate.low) == (0.0, 0.0)
    assert rate.high >= 3 / 50


def test_no_row_seen_gives_no_rate() -> None:
    unseen = make_issues(20).assign(visits=0)
    issues = LabelIssues(unseen)
    assert all(map(math.isnan, issues.noise_rate()))
    assert math.isnan(issues.expected_precision())


def test_expected_precision_is_the_mean_over_the_rows_of_the_cut() -> None:
    issues = make_issues(200)
    rows = rows_of(issues)
    marked = [row["noise_probability"] for row in rows if row["is_issue"]]
    assert issues.expected_precision() == pytest.approx(np.mean(marked))
    for number in (1, 10, 1000):
        expected = np.mean([row["noise_probability"] for row in rows[:number]])
        assert issues.expected_precision(number) == pytest.approx(expected)
    with pytest.raises(InputError, match="number must be at least 1, got 0"):
        issues.expected_precision(0)


def test_each_label_against_a_loop() -> None:
    issues = make_issues(300, rare={"rare": 3, "absent": 0})
    table = issues.per_label().set_index("label")
    assert table.index.tolist() == issues.label_names
    for label, line in table.iterrows():
        own = [row for row in rows_of(issues) if row["given_label"] == label]
        assert line["rows"] == len(own)
        assert line["issues"] == sum(row["is_issue"] for row in own)
        assert line["received"] == sum(row["is_issue"] and row["suggested_label"] == label for row in rows_of(issues))
        if own:
            assert line["noise_rate"] == pytest.approx(np.mean([row["noise_probability"] for row in own]))
            assert line["mean_margin"] == pytest.approx(np.mean([row["alm"] for row in own]), rel=1e-5)
            assert line["confidence"] == pytest.approx(np.mean([row["confidence"] for row in own]), rel=1e-5)
    assert table.at["rare", "note"].startswith("only 3 rows")
    assert table.at["absent", "note"].startswith("no row has this label")
    assert (table.loc[LABELS, "note"] == "").all()


def test_labels_without_names_are_those_that_occur() -> None:
    table = pd.DataFrame(make_issues(100))
    assert per_label(table)["label"].tolist() == sorted(LABELS)


def test_the_noise_matrix_against_a_loop() -> None:
    issues = make_issues(300, rare={"absent": 0})
    matrix = issues.noise_matrix()
    names = issues.label_names
    expected = {(a, b): 0.0 for a in names for b in names}
    for row in rows_of(issues):
        expected[row["given_label"], row["given_label"]] += 1 - row["noise_probability"]
        expected[row["given_label"], row["runner_up_label"]] += row["noise_probability"]
    for given in names:
        total = sum(expected[given, other] for other in names)
        line = [expected[given, other] / total if total else float(given == other) for other in names]
        assert matrix.loc[given].tolist() == pytest.approx(line)
    assert matrix.sum(axis=1).to_numpy() == pytest.approx(1)


def test_the_similarity_against_a_loop() -> None:
    issues = make_issues(300)
    names = issues.label_names
    close = np.zeros((len(names), len(names)))
    for i, given in enumerate(names):
        own = [row for row in rows_of(issues) if row["given_label"] == given]
        weight = sum(1 - row["noise_probability"] for row in own)
        for j, other in enumerate(names):
            votes = [
                (1 - row["noise_probability"]) * row["runner_up_share"]
                for row in own
                if row["runner_up_label"] == other
            ]
            close[i, j] = sum(votes) / weight
    close = (close + close.T) / 2
    expected = close / close.max()
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(issues.label_similarity().to_numpy(), expected, rtol=1e-6)


def test_two_labels_and_rows_without_a_runner_up() -> None:
    table = make_issues(50, labels=["no", "yes"])
    table["runner_up_label"] = pd.Series(pd.NA, index=table.index, dtype="string")
    issues = LabelIssues(table, ["no", "yes"])
    assert issues.noise_matrix().to_numpy() == pytest.approx(np.eye(2))
    assert issues.label_similarity().to_numpy() == pytest.approx(np.eye(2))
