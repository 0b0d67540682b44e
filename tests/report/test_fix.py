"""Fixes of labels: what changes, what stays, what is refused, and that nothing is overwritten."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from report_tables import LABELS, ROWS, case, make_issues

from lane_hf import InputError
from lane_hf.report.decisions import apply_decisions
from lane_hf.report.fix import BEFORE_COLUMN, fix_dataset, fix_table, plan
from lane_hf.report.from_margins import issues_from_margins
from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.review import write_review_queue


def as_dataset(table: pd.DataFrame) -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABELS), "more": Value("int64")})
    return Dataset.from_pandas(table.assign(label=table["label"].map(LABELS.index)), features=features)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_relabelling_changes_the_certain_issues_and_nothing_else(confidence: float) -> None:
    table, issues = case()
    before = table.copy()
    fixed, changes = fix_table(table, issues, label_column="label", min_confidence=confidence)
    pd.testing.assert_frame_equal(table, before)
    expected, count = table["label"].tolist(), 0
    for row in issues.to_dict("records"):
        if row["is_issue"] and row["suggestion_confidence"] >= confidence:
            expected[row["row_id"]] = row["suggested_label"]
            count += 1
    assert 0 < count < 40
    assert fixed["label"].tolist() == expected
    assert fixed[BEFORE_COLUMN].tolist() == table["label"].tolist()
    assert fixed["more"].tolist() == list(range(ROWS))
    assert len(changes) == count
    assert (changes["before"] != changes["after"]).all()
    assert (changes["source"] == "suggestion").all()


def test_dropping_takes_rows_whose_label_is_wrong_with_that_probability() -> None:
    table, issues = case()
    fixed, changes = fix_table(table, issues, label_column="label", min_confidence=0.8, action="drop")
    gone = set(issues.loc[issues["is_issue"] & (issues["noise_probability"] >= 0.8), "row_id"])
    assert 0 < len(gone) < 40
    assert fixed["more"].tolist() == [row for row in range(ROWS) if row not in gone]
    assert set(changes["row_id"]) == gone
    assert changes["after"].isna().all()
    assert (
        changes["confidence"].tolist() == issues.set_index("row_id").loc[changes["row_id"]].noise_probability.tolist()
    )


def test_a_dataset_keeps_its_features_and_says_first_what_to_expect(capsys: pytest.CaptureFixture) -> None:
    table, issues = case()
    data = as_dataset(table)
    fixed, changes = fix_dataset(data, issues, min_confidence=0.9)
    assert isinstance(fixed.features["label"], ClassLabel)
    assert fixed.column_names == ["text", "label", "more", BEFORE_COLUMN]
    by_table = fix_table(table, issues, label_column="label", min_confidence=0.9).data
    assert [LABELS[label] for label in fixed["label"]] == by_table["label"].tolist()
    assert fixed[BEFORE_COLUMN][:] == data["label"][:]
    noise = issues.set_index("row_id").loc[changes["row_id"], "noise_probability"].mean()
    said = capsys.readouterr().out
    assert said.startswith(f"{len(changes)} of {ROWS} rows will be relabelled: expected precision {noise:.1%}")
    assert f"{changes['confidence'].mean():.1%} (the new labels are right)" in said
    dropped, changes = fix_dataset(data, issues, min_confidence=0.9, action="drop", verbose=False)
    assert capsys.readouterr().out == ""
    assert len(dropped) == ROWS - len(changes)
    assert dropped["more"][:] == fix_table(table, issues, label_column="label", action="drop").data["more"].tolist()


@pytest.mark.parametrize(("rows", "few"), [(192, False), (188, True)])
def test_few_rows_for_each_label_are_warned_of(rows: int, few: bool, capsys: pytest.CaptureFixture) -> None:
    issues = make_issues(rows + 2)  # two of them were not seen
    names = issues.label_names
    issues.dataset = Dataset.from_dict(
        {"label": issues.set_index("row_id").sort_index()["given_label"].fillna("ant").tolist()}
    ).cast_column("label", ClassLabel(names=names))
    issues.fix(min_confidence=0.5)
    said = capsys.readouterr().out
    warning = (
        "(the new labels are right). Warning: 47 rows for each label are few (48 were enough where it was measured)"
    )
    assert (warning in said, "Warning" in said) == (few, few)
    issues.fix(action="drop")  # whether a label is wrong is known with fewer rows
    assert "Warning" not in capsys.readouterr().out


def test_the_table_fixes_the_data_set_that_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table, issues = case()
    issues.dataset = as_dataset(table)
    assert len(issues.fix(action="drop").data) < ROWS
    assert "will be dropped" in capsys.readouterr().out
    issues.fix(action="drop", verbose=False)
    issues.fix(action="review", output=tmp_path / "queue.jsonl", verbose=False)
    assert capsys.readouterr().out == ""
    issues.dataset = None
    with pytest.raises(InputError, match="does not know its data set"):
        issues.fix()


@pytest.mark.parametrize("feature", [Value("int64"), ClassLabel(names=["A", "B", "C", "D"])])
def test_a_data_set_may_hold_numbers_whose_names_only_the_model_knows(feature: Any) -> None:
    table, issues = case()
    assert issues.label_names == LABELS
    named = fix_table(table, issues, label_column="label").data
    codes = Dataset.from_dict(
        {"label": [LABELS.index(label) for label in table["label"]]}, Features({"label": feature})
    )
    fixed, changes = fix_dataset(codes, issues)
    assert len(changes) > 0
    assert fixed.features["label"] == feature
    assert [LABELS[code] for code in fixed["label"]] == named["label"].tolist()
    assert fixed[BEFORE_COLUMN][:] == codes["label"][:]
    other = codes.map(lambda row: {"label": (row["label"] + 1) % len(LABELS)})
    with pytest.raises(InputError, match="the table has changed since"):
        fix_dataset(other, issues)


@pytest.mark.parametrize("feature", [Value("int64"), ClassLabel(names=["no", "yes"]), Value("bool")])
def test_a_model_without_a_configuration_knows_numbers_only(feature: Any) -> None:
    number = 64
    labels = [row % 2 for row in range(number)]
    wrong = {3, 10}
    given = [1 - label if row in wrong else label for row, label in enumerate(labels)]
    margins = [-4.0 if row in wrong else 3.0 + row % 3 for row in range(number)]
    visits = pd.DataFrame(
        {"row_id": range(number), "label": given, "margin": margins, "other_label": [1 - x for x in given]}
    )
    issues = issues_from_margins(visits).issues
    assert issues.label_names is None
    data = Dataset.from_dict({"label": given}).cast_column("label", feature)
    fixed, changes = fix_dataset(data, issues, min_confidence=0.5)
    assert set(changes["row_id"]) == wrong
    assert fixed.features["label"] == feature
    assert [int(label) for label in fixed["label"]] == labels


def test_rows_are_found_by_their_own_ids() -> None:
    table, issues = case()
    issues["row_id"] = 1000 - issues["row_id"]
    shuffled = table.assign(row_id=[str(1000 - row) for row in range(ROWS)]).sample(frac=1, random_state=0)
    fixed, changes = fix_table(shuffled, issues, label_column="label")
    for row_id, after in zip(changes["row_id"], changes["after"], strict=True):
        assert fixed.loc[fixed["row_id"] == str(row_id), "label"].tolist() == [after]
    assert (fixed["label"] != fixed[BEFORE_COLUMN]).sum() == len(changes)


def test_nothing_certain_changes_nothing() -> None:
    table, issues = case()
    issues["suggestion_confidence"] = np.float32(0.2)
    fixed, changes = fix_table(table, issues, label_column="label")
    assert changes.empty
    assert fixed["label"].tolist() == table["label"].tolist()


REFUSED = {
    "action": ({"action": "burn"}, "action='burn' is unknown"),
    "review of a table": ({"action": "review"}, "action='review' is unknown"),
    "confidence": ({"min_confidence": 90}, r"min_confidence must be in \[0, 1\], got 90"),
    "column": ({"label_column": "y"}, "no column 'y'"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    table, issues = case()
    with pytest.raises(InputError, match=message):
        fix_table(table, issues, **{"label_column": "label", **options})


def test_another_table_is_refused() -> None:
    table, issues = case()
    with pytest.raises(InputError, match="has 79 rows, the label table 80"):
        fix_table(table[1:], issues, label_column="label")
    changed = table.copy()
    changed.loc[5, "label"] = "dog" if changed.loc[5, "label"] != "dog" else "cow"
    with pytest.raises(InputError, match=r"row 5: its label is .* has changed since"):
        fix_table(changed, issues, label_column="label")
    with pytest.raises(InputError, match="no row with row_id"):
        fix_table(table.assign(row_id=range(1000, 1000 + ROWS)), issues, label_column="label")


@pytest.mark.parametrize("action", ["relabel", "drop"])
def test_a_table_can_be_fixed_again(action: str) -> None:
    table, issues = case()
    once = fix_table(table, issues, label_column="label", action=action)
    assert len(once.changes) > 0
    again = make_issues(ROWS, texts=True, seed=1)  # of another training, on what the first fix made
    rows = once.data.reset_index(drop=True)
    again = LabelIssues(again[again["row_id"] < len(rows)])
    again["given_label"] = rows["label"][again["row_id"]].to_numpy()
    again["text"] = rows["text"][again["row_id"]].to_numpy()
    twice, changes = fix_table(rows, again, label_column="label")
    assert len(changes) > 0
    assert twice[BEFORE_COLUMN].tolist() == rows[BEFORE_COLUMN].tolist()  # the label before the first fix
    assert (twice["label"] != rows["label"]).sum() == (changes["before"] != changes["after"]).sum() > 0
    data = as_dataset(rows.drop(columns=BEFORE_COLUMN))
    data = data.add_column(BEFORE_COLUMN, [LABELS.index(label) for label in rows[BEFORE_COLUMN]])
    fixed = fix_dataset(data, again, verbose=False).data
    assert [LABELS[code] for code in fixed["label"]] == twice["label"].tolist()
    assert fixed[BEFORE_COLUMN][:] == data[BEFORE_COLUMN][:]
    assert fixed.column_names == data.column_names


@pytest.mark.parametrize("rows", [[{"text": "a", "label": 0}] * ROWS, torch.utils.data.Dataset()], ids=["list", "own"])
def test_a_data_set_without_columns_is_refused_with_what_to_do(rows: Any) -> None:
    _, issues = case()
    name = type(rows).__name__
    with pytest.raises(InputError, match=rf"a {name} cannot be fixed, only a datasets.Dataset: .*plan\(issues\)"):
        fix_dataset(rows, issues)


def swapped(table: pd.DataFrame) -> pd.DataFrame:
    """The table with two rows of one label exchanged, which no check of labels can see."""
    first, second = table.index[table["label"] == table["label"].iloc[0]][:2]
    order = list(range(len(table)))
    order[first], order[second] = second, first
    return table.iloc[order].reset_index(drop=True)


def test_rows_that_moved_within_a_label_are_refused() -> None:
    table, issues = case()
    moved = swapped(table)
    assert moved["label"].equals(table["label"])
    message = (
        r"row \d+: its text is 'text of row \d+', but it was trained with 'text of row \d+': the table has changed"
    )
    with pytest.raises(InputError, match=message):
        fix_table(moved, issues, label_column="label")
    with pytest.raises(InputError, match=message):
        fix_dataset(as_dataset(moved), issues, verbose=False)
    decisions = pd.DataFrame({"row_id": [0], "decision": ["drop"]})
    with pytest.raises(InputError, match=message):
        apply_decisions(moved, decisions, issues, label_column="label")
    with pytest.raises(InputError, match=message):
        fix_table(moved.rename(columns={"text": "body"}), issues, label_column="label")


def test_texts_are_compared_in_the_column_that_was_trained_on() -> None:
    table, issues = case()
    renamed = table.assign(title="news").rename(columns={"text": "body"})
    fix_table(renamed, issues, label_column="label")
    fix_table(renamed, issues, label_column="label", text_column="body")
    fix_table(renamed.assign(text="a summary"), issues, label_column="label")
    with pytest.raises(InputError, match="its text is 'a summary', but"):
        fix_table(renamed.assign(text="a summary"), issues, label_column="label", text_column="text")
    with pytest.raises(InputError, match="its text is 'other', but"):
        fix_table(table.assign(text="other"), issues, label_column="label")


def test_texts_that_cannot_be_compared_refuse_nothing() -> None:
    table, issues = case()
    moved = swapped(table)
    fix_table(moved.drop(columns="text"), issues, label_column="label")
    fix_table(moved.assign(text=pd.NA), issues, label_column="label")
    fix_table(moved.drop(columns="text").assign(source="web"), issues, label_column="label")
    without = LabelIssues(pd.DataFrame(issues).drop(columns="text"), LABELS)
    fix_table(moved, without, label_column="label")
    fix_dataset(as_dataset(moved).remove_columns("text"), issues, verbose=False)
    issues["text"] = pd.Series(["", None] * (ROWS // 2), dtype="string")
    fix_table(moved, issues, label_column="label")


def test_long_texts_are_compared_as_far_as_they_are_known() -> None:
    table, issues = case()
    issues["text"] = issues["text"] + "-" * 1000
    issues["text"] = issues["text"].str[:1000]
    table["text"] = " " + table["text"] + "-" * 2000 + "\n"  # built-in data sets are stripped before training
    fix_table(table, issues, label_column="label")
    issues.loc[issues["row_id"] == 7, "text"] = issues["text"].iloc[0][:900] + "changed"
    table.loc[7, "text"] = issues["text"].iloc[0]
    with pytest.raises(
        InputError, match=r"row 7: its text is '\.\.\.-*\.\.\.', but it was trained with '\.\.\.-{15}changed'"
    ):
        fix_table(table, issues, label_column="label")


# ---- Review ----


def test_the_queue_holds_the_issues_worst_first(tmp_path: Path) -> None:
    _, issues = case()
    paths = write_review_queue(issues, tmp_path / "queue.jsonl")
    assert [path.name for path in paths] == ["queue.jsonl", "queue.argilla.json"]
    lines = [json.loads(line) for line in paths[0].read_text().splitlines()]
    expected = issues.loc[issues["is_issue"]]
    assert [line["row_id"] for line in lines] == expected["row_id"].tolist()
    assert [line["suggested_label"] for line in lines] == expected["suggested_label"].tolist()
    assert all(line["decision"] == line["new_label"] == "" for line in lines)
    assert lines[0]["text"] == f"text of row {lines[0]['row_id']}"
    records = json.loads(paths[1].read_text())
    assert [record["id"] for record in records] == [str(row) for row in expected["row_id"]]
    assert records[0]["fields"] == {"text": lines[0]["text"]}
    assert records[0]["suggestions"]["label"]["value"] == lines[0]["suggested_label"]
    with pytest.raises(InputError, match="exists already"):
        write_review_queue(issues, tmp_path / "queue.jsonl")
    with pytest.raises(InputError, match=r"ending in \.jsonl"):
        write_review_queue(issues, tmp_path / "queue.csv")


def test_review_changes_nothing_and_says_where_the_queue_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table, issues = case()
    data = as_dataset(table)
    fixed, changes = fix_dataset(data, issues, action="review", output=tmp_path / "queue.jsonl")
    assert fixed is data
    assert changes.empty
    assert str(tmp_path / "queue.jsonl") in capsys.readouterr().out
    for options in ({"action": "review"}, {"output": tmp_path / "other.jsonl"}):
        with pytest.raises(InputError, match="give both or none"):
            fix_dataset(data, issues, **options)


def test_a_plan_is_worst_first() -> None:
    _, issues = case()
    changes = plan(issues, min_confidence=0.5)
    scores = issues.set_index("row_id").loc[changes["row_id"], "score"]
    assert scores.is_monotonic_increasing
