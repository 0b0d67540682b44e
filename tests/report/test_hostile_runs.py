"""Run folders that were damaged or changed by hand: refused in one line, never with a traceback."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import LABELS, make_issues

from lane_hf import InputError
from lane_hf.report.decisions import apply_decisions
from lane_hf.report.fix import fix_table
from lane_hf.report.from_margins import issues_from_margins
from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.run_record import read_run, write_issues

ROWS = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_issues(tmp_path, make_issues(ROWS, texts=True), np.ones((4, 4)))
    return tmp_path


def test_a_whole_folder_is_read(folder: Path) -> None:
    np.save(folder / "_report/margins.npy", np.zeros((3, ROWS), np.float16))
    record = read_run(folder)
    assert record.distances is not None
    assert record.distances.shape == (4, 4)
    assert record.margins is not None


WRONG: dict[str, tuple[str, Any, str]] = {
    "names that are a number": ("_report/facts.json", {"label_names": 5}, "no list of texts"),
    "names that are numbers": ("_report/facts.json", {"label_names": [1, 2]}, "no list of texts"),
    "a name twice": ("_report/facts.json", {"label_names": [*LABELS, "ant"]}, "a name twice"),
    "too few names": ("_report/facts.json", {"label_names": LABELS[:2]}, "label_names lacks 'cow'"),
    "distances of words": ("_report/facts.json", {"distances": [["a"]]}, "no matrix of numbers"),
    "ragged distances": ("_report/facts.json", {"distances": [[1], [1, 2]]}, "no matrix of numbers"),
    "one distance": ("_report/facts.json", {"distances": 5}, "no matrix with"),
    "too few distances": ("_report/facts.json", {"label_names": LABELS, "distances": [[0]]}, "no matrix with"),
    "a log that is a number": ("trainer_state.json", {"log_history": 5}, "no list of objects"),
    "a log of numbers": ("trainer_state.json", {"log_history": [1]}, "no list of objects"),
    "a metric in words": ("metrics.json", {"test_accuracy": "good"}, "'test_accuracy' is no number"),
    "settings that are a number": ("run_config.json", {"RunConfig": 5}, "RunConfig is no object"),
}


@pytest.mark.parametrize(("name", "content", "message"), WRONG.values(), ids=WRONG)
def test_files_of_a_wrong_form_are_refused(folder: Path, name: str, content: Any, message: str) -> None:
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")
    assert message in str(caught.value)


ARRAYS: dict[str, np.ndarray | bytes] = {
    "nothing": b"",
    "one dimension": np.zeros(ROWS, np.float16),
    "three dimensions": np.zeros((2, 3, ROWS), np.float16),
    "complex numbers": np.zeros((2, ROWS), complex),
    "words": np.full((2, ROWS), "a"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_margins_of_a_wrong_form_are_refused(folder: Path, array: np.ndarray | bytes) -> None:
    content = io.BytesIO()
    if isinstance(array, bytes):
        content.write(array)
    else:
        np.save(content, array)
    (folder / "_report/margins.npy").write_bytes(content.getvalue())
    with pytest.raises(InputError, match="Remove it to go on without it"):
        read_run(folder)


TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": ({"given_label": pd.array([None] * ROWS, dtype="string")}, "has no given_label"),
    "labels of two kinds": ({"given_label": range(ROWS)}, "some labels are numbers, some texts"),
}


@pytest.mark.parametrize(("columns", "message"), TABLES.values(), ids=TABLES)
def test_labels_that_make_no_sense_are_refused(folder: Path, columns: dict[str, Any], message: str) -> None:
    path = folder / "label_issues.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path, index=False)
    with pytest.raises(InputError, match=message):
        read_run(folder)


# ---- Decisions on rows that were never seen ----


def case() -> tuple[pd.DataFrame, LabelIssues, int]:
    """A table, its issues, and a row that was never seen: nothing is given or suggested there."""
    issues = make_issues(ROWS)
    unseen = int(issues.loc[issues["visits"] == 0, "row_id"].iloc[0])
    labels = issues.set_index("row_id")["given_label"].sort_index().fillna("ant").astype(object)
    return pd.DataFrame({"label": labels.to_numpy(object)}), issues, unseen


@pytest.mark.parametrize("decision", [{"decision": "keep"}, {"decision": None}, {"label": None}])
def test_rows_that_were_never_seen_stay_where_people_keep_them(decision: dict[str, Any]) -> None:
    table, issues, unseen = case()
    fixed = apply_decisions(table, pd.DataFrame([{"row_id": unseen, **decision}]), issues, label_column="label")
    assert fixed.data["label"].tolist() == table["label"].tolist()
    assert fixed.changes.empty


def test_rows_that_were_never_seen_are_changed_where_people_say_so() -> None:
    table, issues, unseen = case()
    for decision in ({"decision": "relabel", "new_label": "cow"}, {"label": "cow"}):
        fixed = apply_decisions(table, pd.DataFrame([{"row_id": unseen, **decision}]), issues, label_column="label")
        assert fixed.data["label"].tolist()[unseen] == "cow"
    gone = pd.DataFrame([{"row_id": unseen, "decision": "drop"}])
    assert len(apply_decisions(table, gone, issues, label_column="label").data) == ROWS - 1
    bare = pd.DataFrame([{"row_id": unseen, "decision": "relabel"}])
    with pytest.raises(InputError, match="decision 1: nothing is suggested for this row"):
        apply_decisions(table, bare, issues, label_column="label")


def test_people_may_choose_a_label_that_no_row_has() -> None:
    table, _, unseen = case()
    issues = make_issues(ROWS, rare={"elk": 0})
    choice = pd.DataFrame([{"row_id": unseen, "decision": "relabel", "new_label": "elk"}])
    assert apply_decisions(table, choice, issues, label_column="label").data["label"].tolist()[unseen] == "elk"


# ---- Labels as the table writes them ----


@pytest.mark.parametrize("cells", [[1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0]])
def test_new_labels_are_of_the_kind_that_the_column_has(cells: list[Any], tmp_path: Path) -> None:
    table, issues, _ = case()
    kind = dict(zip(LABELS, cells, strict=True))
    names = {label: str(int(cell)) for label, cell in kind.items()}
    labels = {name: issues[name].map(names).astype("string") for name in ("given_label", "suggested_label")}
    issues = LabelIssues(issues.assign(**labels), list(names.values()))
    before = table.assign(label=table["label"].map(kind))
    fixed = fix_table(before, issues, label_column="label", min_confidence=0.5)
    assert len(fixed.changes) > 0
    assert fixed.data["label"].dtype == before["label"].dtype
    fixed.data.to_parquet(tmp_path / "fixed.parquet")


# ---- Margins ----


def test_margins_without_labels_or_margins_are_refused() -> None:
    table = pd.DataFrame({"row_id": [1, 2], "label": ["a", None], "margin_1": [1.0, 2.0]})
    with pytest.raises(InputError, match="row 2 has a margin, but no label"):
        issues_from_margins(table)
    with pytest.raises(InputError, match="every cell is empty"):
        issues_from_margins(table.assign(margin_1=np.nan))
