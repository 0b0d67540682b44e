"""`lane fix`: the new table, what it says first, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cli_runs import ROWS, Run

from lane_hf.report.fix import BEFORE_COLUMN, fix_table

Lane = Callable[..., str]


@pytest.mark.parametrize("action", ["relabel", "drop"])
def test_the_train_file_is_fixed_into_another(run: Run, lane: Lane, tmp_path: Path, action: str) -> None:
    before = run.train_file.read_bytes()
    output, log = tmp_path / "fixed.csv", tmp_path / "changes.csv"
    said = lane("fix", run.folder, "--output", output, "--action", action, "--changes", log)
    expected = fix_table(run.table, run.issues, label_column="label", action=action)
    pd.testing.assert_frame_equal(pd.read_csv(output), expected.data.reset_index(drop=True), check_dtype=False)
    assert pd.read_csv(log)["row_id"].tolist() == expected.changes["row_id"].tolist()
    first = said.splitlines()[0]
    assert first.startswith(f"{len(expected.changes)} of {ROWS} rows will be {action}")
    assert "expected precision" in first
    assert run.train_file.read_bytes() == before


def test_people_review_and_decide(run: Run, lane: Lane, tmp_path: Path) -> None:
    queue = tmp_path / "queue.jsonl"
    said = lane("fix", run.folder, "--action", "review", "--output", queue)
    assert str(queue) in said
    assert "queue.argilla.json" in said
    rows = [json.loads(line) for line in queue.read_text().splitlines()]
    rows[0]["decision"], rows[1]["decision"] = "drop", "relabel"
    queue.write_text("\n".join(map(json.dumps, rows)))
    output = tmp_path / "fixed.csv"
    said = lane("fix", run.folder, "--from", queue, "--output", output)
    assert "1 labels changed, 1 rows dropped" in said
    fixed = pd.read_csv(output).set_index("more")
    assert rows[0]["row_id"] not in fixed.index
    assert fixed.at[rows[1]["row_id"], "label"] == rows[1]["suggested_label"]
    assert (fixed["label"] != fixed[BEFORE_COLUMN]).sum() == 1


def test_rows_of_a_named_data_set_are_made_again(tmp_path: Path, lane: Lane, job: object) -> None:
    """From training on a part of the demo data, with labels spoiled, to the fixed table."""
    job("--max_train_samples=60", "--label_noise=0.3", "--num_train_epochs=1", "--dataset=demo")
    folder = job.output_dir
    issues = pd.read_parquet(folder / "label_issues.parquet").set_index("row_id").sort_index()
    lane("fix", folder, "--output", tmp_path / "fixed.parquet", "--min_confidence", 0, "--action", "drop")
    fixed = pd.read_parquet(tmp_path / "fixed.parquet")
    kept = issues[~issues["is_issue"]]
    assert fixed["label"].tolist() == kept["given_label"].tolist()
    assert fixed["is_flipped"].tolist() == kept["is_flipped"].tolist()


def test_what_is_refused(run: Run, refused: Lane, tmp_path: Path) -> None:
    output = tmp_path / "fixed.csv"
    there = tmp_path / "there.csv"
    there.write_text("mine")
    assert "exists already: nothing is overwritten" in refused("fix", run.folder, "--output", there)
    assert "exists already" in refused("fix", run.folder, "--output", run.train_file)
    assert "exists already" in refused("fix", run.folder, "--output", output, "--changes", there)
    assert there.read_text() == "mine"
    assert "unknown kind of file" in refused("fix", run.folder, "--output", tmp_path / "fixed.xlsx")
    assert "min_confidence must be in [0, 1]" in refused("fix", run.folder, "--output", output, "--min_confidence", 90)
    wrong = tmp_path / "wrong.csv"
    pd.DataFrame({"row_id": [0], "decision": ["maybe"]}).to_csv(wrong, index=False)
    assert "'maybe' is unknown" in refused("fix", run.folder, "--output", output, "--from", wrong)
    assert "no such file" in refused("fix", run.folder, "--output", output, "--from", tmp_path / "absent.csv")
    assert "there is no column 'y'" in refused("fix", run.folder, "--output", output, "--label_column", "y")
    message = refused("fix", run.folder, "--output", tmp_path / "q.jsonl", "--action", "review", "--from", wrong)
    assert "leave --from and --changes out" in message
    run.table.assign(label="ant").to_csv(run.train_file, index=False)
    assert "has changed since" in refused("fix", run.folder, "--output", output)
    run.train_file.unlink()
    assert "no such file" in refused("fix", run.folder, "--output", output)
    (run.folder / "run_config.json").unlink()
    assert "give --table" in refused("fix", run.folder, "--output", output)
    assert not output.exists()
