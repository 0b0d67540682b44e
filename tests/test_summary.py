"""The summary at the end of a run: what it says, and that texts cannot take over the terminal."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lane_hf.report.table import COLUMNS
from lane_hf.summary import printable, summarise

METRICS = {
    "test_accuracy": 0.8125,
    "test_f1_macro": 0.75,
    "test_runtime": 1.0,
    "eval_accuracy": 0.5,
    "eval_f1_macro": 0.4321,
    "detection_auroc": 0.91,
    "detection_average_precision": 0.82,
    "detection_precision_at_5_percent": 0.73,
}


def make_issues(number: int = 12, **changes: Any) -> pd.DataFrame:
    """Return a table of issues, of which the first three are meant as such."""
    columns = {
        "row_id": list(range(number))[::-1],
        "given_label": ["sad"] * number,
        "suggested_label": ["glad"] * number,
        "suggestion_confidence": [0.876] * number,
        "score": [-3.25] * number,
        "alm": [-3.25] * number,
        "aum": [0.0] * number,
        "weight": [1.0] * number,
        "visits": [4] * number,
        "is_issue": [row < 3 for row in range(number)],
        **changes,
    }
    # The other columns are not shown.
    return pd.DataFrame({**dict.fromkeys(COLUMNS, 0.0), **columns})


def lines_of(
    output_dir: Path, metrics: dict[str, float] | None = None, issues: pd.DataFrame | None = None, text: str = "a text"
) -> list[str]:
    texts = [f"{text} {row}" for row in range(100)]
    return summarise(metrics or {}, issues, texts, output_dir, "lane").split("\n")


def test_everything_that_was_measured_is_said(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, METRICS, make_issues(is_flipped=[True, False] * 6))
    assert lines[:6] == [
        "",
        "== lane ==",
        "Test:               accuracy 0.812, macro-F1 0.750",
        "Validation:         accuracy 0.500, macro-F1 0.432",
        "Flipped labels:     AUROC 0.910, average precision 0.820, precision among the worst 5% 0.730",
        "Label issues:       3 of 12 rows (25.0%)",
    ]
    assert lines[7] == "The 10 most suspicious rows:"
    assert lines[8].split() == ["row", "given", "suggested", "sure", "score", "flipped", "text"]
    assert lines[9].split() == ["11", "sad", "glad", "0.88", "-3.25", "yes", "a", "text", "11"]
    assert lines[10].split() == ["10", "sad", "glad", "0.88", "-3.25", "no", "a", "text", "10"]
    assert lines[19:] == [
        "",
        f"Checkpoint:         {tmp_path}",
        f"Metrics:            {tmp_path / 'metrics.json'}",
        f"Label table:        {tmp_path / 'label_issues.parquet'}",
        f"Predictions:        {tmp_path / 'predictions.csv'}",
    ]


def test_what_was_not_done_is_not_said(tmp_path: Path) -> None:
    # Files of an earlier run lie there: they are not this run's.
    for name in ("label_issues.parquet", "predictions.csv"):
        (tmp_path / name).touch()
    assert lines_of(tmp_path) == ["", "== lane ==", "", f"Metrics:            {tmp_path / 'metrics.json'}"]
    # An unlabelled test split gives predictions, but no accuracy.
    assert lines_of(tmp_path, {"test_runtime": 1.0})[2:] == [
        "",
        f"Metrics:            {tmp_path / 'metrics.json'}",
        f"Predictions:        {tmp_path / 'predictions.csv'}",
    ]


def test_without_noise_there_is_no_column_of_flips(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, {}, make_issues())
    assert "flipped" not in "\n".join(lines)
    assert lines[6].split() == ["11", "sad", "glad", "0.88", "-3.25", "a", "text", "11"]


def test_fewer_rows_than_ten_are_all_shown(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, {}, make_issues(2, is_issue=[False, False]))
    assert "Label issues:       0 of 2 rows (0.0%)" in lines
    assert "The 2 most suspicious rows:" in lines


def test_texts_are_shown_up_to_40_characters(tmp_path: Path) -> None:
    issues = make_issues(3)
    texts = ["x" * 40, "y" * 41, "one two\t three"]
    lines = summarise({}, issues, texts, tmp_path, "lane").split("\n")
    shown = [line.split("  ")[-1] for line in lines[6:9]]
    assert shown == ["one two three", "y" * 37 + "...", "x" * 40]


def test_the_columns_stand_below_each_other(tmp_path: Path) -> None:
    issues = make_issues(3, given_label=["a", "a long name", "ab"], suggested_label=["x", "y", "z"])
    rows = lines_of(tmp_path, {}, issues)[5:9]
    assert (
        len({row.index(cell) for row, cell in zip(rows[1:], "xyz", strict=True)} | {rows[0].index("suggested")}) == 1
    )


def test_rows_that_were_never_seen_are_shown_as_such(tmp_path: Path) -> None:
    unseen = make_issues(
        3,
        given_label=pd.array([None] * 3, dtype="string"),
        suggested_label=pd.array([None] * 3, dtype="string"),
        suggestion_confidence=[float("nan")] * 3,
        score=[float("nan")] * 3,
        visits=[0] * 3,
        is_issue=[False] * 3,
        is_flipped=[True, False, True],
    )
    lines = lines_of(tmp_path, {}, unseen)
    assert lines[6].split() == ["2", "<NA>", "<NA>", "nan", "nan", "yes", "a", "text", "2"]


HOSTILE = "\x1b[31mred\x1b[0m\r\n\x07bell \x9b2J \u202egnp.exe\u2066 \x00 \ud83d end"


def test_texts_and_labels_cannot_control_the_terminal(tmp_path: Path) -> None:
    labels = pd.Series([HOSTILE] * 2, dtype=object)
    issues = make_issues(2, given_label=labels, suggested_label=labels)
    lines = summarise({}, issues, [HOSTILE] * 2, tmp_path, "lane").split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == len(lines_of(tmp_path, {}, make_issues(2)))
    assert "\ufffd[31mred\ufffd[0m \ufffdbell" in lines[6]


@given(st.text(st.characters()))
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    assert printable(shown) == shown
    shown.encode()  # every terminal can be sent this, as far as its encoding goes


@pytest.mark.parametrize(
    "text", ["plain text", "Grüße, 東京", "👩\u200d🚀", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "नमस्ते"]
)
def test_printable_leaves_every_language_as_it_is(text: str) -> None:
    assert printable(text) == text
