"""What a run leaves in its folder and what is read from there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import make_issues
from training import make_trainer

from lane_hf import InputError
from lane_hf.margin_history import MARGINS_FILE
from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.run_record import FACTS_FILE, ISSUES_FILE, TEXTS_FILE, read_run, write_issues


def written(folder: Path, texts: bool = True, **changes: Any) -> LabelIssues:
    issues = make_issues(30, texts=texts)
    write_issues(folder, issues, **changes)
    return issues


@pytest.mark.parametrize("texts", [True, False])
def test_the_table_comes_back_as_it_was(tmp_path: Path, texts: bool) -> None:
    issues = written(tmp_path, texts)
    record = read_run(tmp_path)
    columns = [*issues.columns]
    pd.testing.assert_frame_equal(pd.DataFrame(record.issues)[columns], pd.DataFrame(issues))
    assert record.issues.label_names == issues.label_names
    assert (record.log_history, record.settings, record.metrics) == ([], {}, {})
    assert record.margins is None
    assert record.distances is None


def test_texts_lie_apart_from_the_table(tmp_path: Path) -> None:
    written(tmp_path)
    assert "text" not in pd.read_parquet(tmp_path / ISSUES_FILE)
    assert TEXTS_FILE.startswith("_")
    assert "text of row" not in str((tmp_path / FACTS_FILE).read_text())


def test_a_trainers_run_is_read_with_its_log_and_margins(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, margin_history=True)
    data = trainer.train_dataset.add_column("row_id", list(range(100, 164)))
    trainer.train_dataset = data.add_column("text", [f"text {row}" * 1000 for row in range(64)])
    trainer.train()
    trainer.save_state()
    issues = trainer.label_issues()
    assert (issues["text"].str.len() == 1000).all()
    assert all(row.text.startswith(f"text {row.row_id - 100}t") for row in issues.itertuples())
    write_issues(tmp_path, issues, distances=np.ones((4, 4)) - np.eye(4))
    (tmp_path / "metrics.json").write_text(json.dumps({"test_accuracy": 0.5}))
    record = read_run(tmp_path)
    assert record.metrics == {"test_accuracy": 0.5}
    assert record.distances.tolist() == (np.ones((4, 4)) - np.eye(4)).tolist()
    assert any("lane/mean_weight" in line for line in record.log_history)
    assert record.margin_row_ids.tolist() == list(range(100, 164))
    average = dict(zip(record.margin_row_ids, np.nanmean(record.margins.astype(float), axis=0), strict=True))
    for row in record.issues.itertuples():
        assert row.aum == pytest.approx(average[row.row_id], abs=1e-2)


def damage(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x00 damaged")


WRONG = {
    "no folder": (lambda path: path / "absent", "no such folder"),
    "a file": (lambda path: path / ISSUES_FILE, "no such folder"),
    "another folder": (
        lambda path: path.parent,
        r"no folder of a training run.*write_issues\(folder, trainer\.label_issues\(\)\)",
    ),
    "damaged table": (lambda path: damage(path / ISSUES_FILE), "label_issues.parquet: cannot be read"),
    "another table": (
        lambda path: pd.DataFrame({"row_id": [1]}).to_parquet(path / ISSUES_FILE),
        "no column 'given_label', so it is no label table",
    ),
    "words for numbers": (
        lambda path: (
            pd.read_parquet(path / ISSUES_FILE).assign(alm="high").to_parquet(path / ISSUES_FILE, index=False)
        ),
        "column 'alm' is no alm of a label table",
    ),
    "damaged facts": (lambda path: damage(path / FACTS_FILE), "facts.json: cannot be read"),
    "a list of metrics": (lambda path: (path / "metrics.json").write_text("[]") and None, "expected an object"),
    "damaged margins": (lambda path: damage(path / MARGINS_FILE), "margins.npy: cannot be read.*Remove it"),
    "margins of another run": (
        lambda path: np.save(path / MARGINS_FILE, np.zeros((2, 7))),
        "belongs to another run",
    ),
    "texts of another kind": (
        lambda path: pd.DataFrame({"a": [1]}).to_parquet(path / TEXTS_FILE),
        "expected the columns row_id and text",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_folders_that_are_no_runs(tmp_path: Path, change: Any, message: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    written(folder)
    other = change(folder)
    with pytest.raises(InputError, match=message):
        read_run(other if isinstance(other, Path) else folder)


def test_labels_without_names_stay_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame(make_issues(20))
    for column in ("given_label", "suggested_label", "runner_up_label"):
        table[column] = table[column].map({"ant": 0, "bee": 1, "cow": 2, "dog": 3}).astype("Int64")
    write_issues(tmp_path, LabelIssues(table))
    issues = read_run(tmp_path).issues
    pd.testing.assert_frame_equal(pd.DataFrame(issues), table)


# ---- The table itself ----


def test_selections_are_plain_tables() -> None:
    issues = make_issues(20)
    assert type(issues.head(3)) is pd.DataFrame
    assert type(issues[issues["is_issue"]]) is pd.DataFrame
    issues["seen_before"] = 0
    assert isinstance(issues, LabelIssues)


def test_another_table_is_refused() -> None:
    with pytest.raises(InputError, match="no column 'row_id'"):
        LabelIssues(pd.DataFrame({"a": [1]}))


def test_texts_leave_only_if_asked(tmp_path: Path) -> None:
    issues = make_issues(20, texts=True)
    assert "text" not in issues.to_dataset().column_names
    assert issues.to_dataset(include_text=True)["text"][:] == issues["text"].tolist()
    for suffix, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        issues.write(tmp_path / f"issues.{suffix}")
        assert read(tmp_path / f"issues.{suffix}")["text"].tolist() == issues["text"].tolist()
