"""`lane issues`: what it says is what the table says."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cli_runs import ROWS, Run

from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.run_record import write_issues

Lane = Callable[..., str]


def test_it_says_what_is_in_the_table(run: Run, lane: Lane) -> None:
    said, issues = lane("issues", run.folder, "--number", 5), run.issues
    number = int(issues["is_issue"].sum())
    rate = issues.noise_rate()
    assert f"{number} of {ROWS} rows ({number / ROWS:.1%}) are marked as issues." in said
    assert f"{rate.estimate:.1%} (95% interval {rate.low:.1%} to {rate.high:.1%})" in said
    assert f"Expected precision of the issues: {issues.expected_precision():.1%}" in said
    lines = [line.split() for line in said.splitlines()]
    for label in issues.per_label().itertuples():
        assert [
            label.label,
            str(label.rows),
            str(label.issues),
            f"{label.noise_rate:.1%}",
            str(label.received),
        ] in lines
    shown = lines[lines.index(["row", "given", "suggested", "confidence", "score", "flipped", "text"]) + 1 :]
    assert [line[0] for line in shown] == issues["row_id"].head(5).map(str).tolist()
    assert shown[0][1:3] == [issues["given_label"][0], issues["suggested_label"][0]]


def test_rare_labels_are_warned_about(tmp_path: Path, lane: Lane) -> None:
    said = lane("issues", Run(tmp_path / "rare", rare={"rare": 3, "absent": 0}).folder)
    assert "Warning: rare: only 3 rows" in said
    assert "Warning: absent: no row has this label" in said


def test_rows_are_chosen_and_written(run: Run, lane: Lane, tmp_path: Path) -> None:
    output = tmp_path / "some.csv"
    options = ("--only_issues", "--label", "cow", "dog", "--min_confidence", 0.5, "--output", output)
    lane("issues", run.folder, *options)
    written, issues = pd.read_csv(output), run.issues
    expected = issues[issues["is_issue"] & issues["given_label"].isin(["cow", "dog"])]
    expected = expected[expected["suggestion_confidence"] >= 0.5]
    assert 0 < len(expected) < issues["is_issue"].sum()
    assert written["row_id"].tolist() == expected["row_id"].tolist()
    assert written["text"].tolist() == expected["text"].tolist()


def test_json_is_one_document(run: Run, lane: Lane) -> None:
    said = json.loads(lane("issues", run.folder, "--json", "--number", 100))
    assert said["number_of_issues"] == run.issues["is_issue"].sum()
    assert said["noise_rate"] == pytest.approx(run.issues.noise_rate().estimate)
    assert [row["row_id"] for row in said["rows"]] == run.issues["row_id"].tolist()
    assert said["rows"][-1]["score"] is None
    assert "text" not in said["rows"][0]


def test_a_terminal_gets_boxes_and_no_markup(run: Run, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    run.change_issues(text="[bold red]shown as it is[/] \x1b[31m")
    said = lane("issues", run.folder, "--number", 2)
    assert "───" in said
    assert "[bold red]shown as it is[/]" in said.replace("\n", "")
    assert "\x1b[31m" not in said


WRONG: dict[str, tuple[list[str], str]] = {
    "label": (["--label", "elk"], "there is no label 'elk': the labels are 'ant', 'bee', 'cow', 'dog'"),
    "number": (["--number", "-1"], "number must not be negative, got -1"),
    "output": (["--output", "rows.xlsx"], "unknown kind of file"),
    "folder": (["--output", "nowhere/rows.csv"], "there is no folder nowhere"),
    "percent": (["--min_confidence", "90"], "min_confidence must be in [0, 1], got 90.0"),
    "no number": (["--min_confidence", "nan"], "min_confidence must be in [0, 1], got nan"),
    "option": (["--nmber", "1"], "unknown argument --nmber. See lane issues --help"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(run: Run, refused: Lane, options: list[str], message: str) -> None:
    assert message in refused("issues", run.folder, *options)


def test_nothing_is_overwritten(run: Run, refused: Lane) -> None:
    for path in (run.train_file, run.folder / "label_issues.parquet"):
        before = path.read_bytes()
        assert "exists already: nothing is overwritten" in refused("issues", run.folder, "--output", path)
        assert path.read_bytes() == before


def test_rows_that_were_never_seen_are_said_and_shown_as_such(run: Run, lane: Lane) -> None:
    assert "Not seen in training: 2 rows" in lane("issues", run.folder)
    run.change_issues(
        **dict.fromkeys(
            ("given_label", "suggested_label", "runner_up_label"), pd.array([None] * ROWS, dtype="string")
        ),
        **dict.fromkeys(
            ("score", "aum", "alm", "noise_probability", "suggestion_confidence", "confidence"), float("nan")
        ),
        visits=0,
        is_issue=False,
    )
    said = lane("issues", run.folder)
    assert f"Not seen in training: {ROWS} rows" in said
    assert "noise rate:" not in said
    assert "nan" not in said
    assert json.loads(lane("issues", run.folder, "--json"))["noise_rate"] is None


def test_labels_without_names_are_chosen_by_their_numbers(run: Run, lane: Lane) -> None:
    names = run.issues.label_names
    labels = ("given_label", "suggested_label", "runner_up_label")
    numbers = {
        label: pd.array(run.issues[label].map(names.index, na_action="ignore"), dtype="Int64") for label in labels
    }
    write_issues(run.folder, LabelIssues(run.issues.assign(**numbers)))
    said = json.loads(lane("issues", run.folder, "--label", 2, "--json", "--number", ROWS))
    assert {row["given_label"] for row in said["rows"]} == {2}
    assert len(said["rows"]) == (run.issues["given_label"] == names[2]).sum()


def test_no_run(tmp_path: Path, refused: Lane) -> None:
    assert refused("issues", tmp_path / "absent") == f"{tmp_path / 'absent'}: no such folder"
    assert "no folder of a training run" in refused("issues", tmp_path)


def test_an_empty_choice_is_said(run: Run, lane: Lane) -> None:
    run.change_issues(is_issue=False)
    said = lane("issues", run.folder, "--only_issues")
    assert "No row is chosen." in said
    assert "nan" not in said
