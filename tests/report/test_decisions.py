"""Decisions of people about single rows: what they change, and what of them is refused."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_tables import ROWS, case

from lane_hf import InputError
from lane_hf.report.decisions import apply_decisions, has_decision
from lane_hf.report.from_margins import issues_from_margins
from lane_hf.report.review import write_review_queue


def test_decisions_are_applied(tmp_path: Path) -> None:
    table, issues = case()
    write_review_queue(issues, tmp_path / "queue.jsonl")
    decisions = pd.read_json(tmp_path / "queue.jsonl", lines=True, dtype=False).head(5)
    first = decisions["row_id"].tolist()
    decisions["decision"] = ["keep", "relabel", "relabel", "Drop", ""]
    decisions["new_label"] = ["", "", "ant", "", ""]
    fixed, changes = apply_decisions(table, decisions, issues, label_column="label")
    suggested = issues.set_index("row_id")["suggested_label"]
    expected = table.set_index("more")["label"].drop(first[3])
    expected[first[1]], expected[first[2]] = suggested[first[1]], "ant"
    assert fixed.set_index("more")["label"].to_dict() == expected.to_dict()
    changed = [row for row in first[1:4] if row not in expected or expected[row] != table["label"][row]]
    assert changes["row_id"].tolist() == changed
    assert (changes["source"] == "review").all()


def test_decisions_may_be_the_right_labels() -> None:
    table, issues = case()
    decisions = pd.DataFrame({"row_id": ["0", "3.0", "7"], "label": ["dog", None, table.loc[7, "label"]]})
    fixed, changes = apply_decisions(table, decisions, issues, label_column="label")
    assert fixed.loc[0, "label"] == "dog"
    assert changes["row_id"].tolist() == [0]
    assert (fixed["label"][1:] == table["label"][1:]).all()


@pytest.mark.parametrize(
    ("kind", "cell", "label"),
    [(int, 1.0, 1), (int, "1", 1), (int, " 1.0 ", 1), (str, " b ", " b "), (str, "c", "c"), (str, " c", "c")],
)
def test_a_decision_names_a_label_as_tables_write_it(kind: type, cell: Any, label: Any) -> None:
    labels = [0, 1, 2] if kind is int else ["a", " b ", "c"]
    given = [labels[row % 3] for row in range(60)]
    visits = {
        "row_id": range(60),
        "label": given,
        "margin": 2.0,
        "other_label": [labels[(row + 1) % 3] for row in range(60)],
    }
    issues = issues_from_margins(pd.DataFrame(visits)).issues
    decisions = pd.DataFrame({"row_id": [0, 3], "decision": ["relabel", "keep"], "new_label": [cell, None]})
    table = pd.DataFrame({"label": given})
    fixed, changes = apply_decisions(table, decisions, issues, label_column="label")
    assert fixed["label"].tolist() == [label, *given[1:]]
    assert len(changes) == 1


WRONG_DECISIONS = {
    "no id": ({"decision": ["keep"]}, "no column 'row_id'"),
    "no decision": ({"row_id": [0]}, "no column 'label'"),
    "unknown row": ({"row_id": [999], "decision": ["keep"]}, "decision 1: there is no row 999"),
    "unknown word": ({"row_id": [0, 3], "decision": ["keep", "maybe"]}, "decision 2: 'maybe' is unknown"),
    "unknown label": (
        {"row_id": [0], "decision": ["relabel"], "new_label": ["elk"]},
        "decision 1: there is no label 'elk'",
    ),
    "a list for a decision": (
        {"row_id": [0], "decision": [["drop"]]},
        "decision 1: decision is a list, expected a text",
    ),
    "a list for a label": (
        {"row_id": [0], "decision": ["relabel"], "new_label": [["ant", "bee"]]},
        "decision 1: new_label is a list, expected a text",
    ),
    "a label without a decision": (
        {"row_id": [0], "decision": [""], "new_label": ["ant"]},
        "decision 1: new_label is 'ant', but decision is empty: write relabel, or clear new_label",
    ),
    "a label of a row that stays": (
        {"row_id": [0], "decision": ["keep"], "new_label": ["ant"]},
        "decision 1: new_label is 'ant', but decision is 'keep'",
    ),
    "a label of a row that goes": (
        {"row_id": [0], "decision": ["drop"], "new_label": ["ant"]},
        "decision 1: new_label is 'ant', but decision is 'drop'",
    ),
    "twice": ({"row_id": [3, 3], "decision": ["keep", "drop"]}, "decision 2: row 3 is decided twice"),
}


@pytest.mark.parametrize(("decisions", "message"), WRONG_DECISIONS.values(), ids=WRONG_DECISIONS)
def test_wrong_decisions(decisions: dict[str, list], message: str) -> None:
    table, issues = case()
    with pytest.raises(InputError, match=message):
        apply_decisions(table, pd.DataFrame(decisions), issues, label_column="label")


def test_decisions_of_another_training_are_refused(tmp_path: Path) -> None:
    table, issues = case()
    write_review_queue(issues, tmp_path / "queue.jsonl")
    queue = pd.read_json(tmp_path / "queue.jsonl", lines=True, dtype=False)
    queue.loc[0, "decision"] = "drop"
    row = queue.loc[0, "row_id"]
    for column, other, message in (
        ("given_label", "elk", rf"the given_label of row {row} is 'elk', but '\w+' in the label table"),
        (
            "text",
            "text of row 999",
            rf"the text of row {row} is '.*999', but '.*{row}' in the label table",
        ),
    ):
        with pytest.raises(InputError, match=f"decision 1: {message}.*about another training"):
            apply_decisions(table, queue.assign(**{column: other}), issues, label_column="label")
    # Tools change spaces and ends of lines, and a table of right labels may have no texts.
    queue["text"] = queue["text"].str.replace(" ", "  \r\n") + " "
    for decisions in (queue, queue.assign(text=None), queue.drop(columns=["text", "given_label"])):
        fixed, changes = apply_decisions(table, decisions, issues, label_column="label")
        assert changes["row_id"].tolist() == [row]
        assert len(fixed) == ROWS - 1
    assert has_decision(queue).tolist() == [True] + [False] * (len(queue) - 1)


def test_long_texts_of_decisions_are_compared_as_far_as_they_are_known() -> None:
    table, issues = case()
    whole = "w " * 2000
    issues["text"] = whole[:1000]
    table["text"] = whole
    decisions = pd.DataFrame({"row_id": [0], "decision": ["drop"], "text": [whole]})
    assert len(apply_decisions(table, decisions, issues, label_column="label").changes) == 1
    with pytest.raises(InputError, match="about another training"):
        apply_decisions(table, decisions.assign(text="x" + whole), issues, label_column="label")
