"""`lane fix`: the new table, what it says first, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_runs import ROWS, Run
from datasets import Dataset

from lane_hf.noise import inject
from lane_hf.report.fix import BEFORE_COLUMN, fix_table
from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.run_record import write_issues

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
    assert ("Warning: 20 rows for each label are few" in first) == (action == "relabel")
    assert run.train_file.read_bytes() == before


def test_people_review_and_decide(run: Run, lane: Lane, tmp_path: Path) -> None:
    queue = tmp_path / "queue.jsonl"
    said = lane("fix", run.folder, "--action", "review", "--output", queue)
    assert f"{run.issues['is_issue'].sum()} rows, worst first: {queue}" in said
    assert "queue.argilla.json" in said
    rows = [json.loads(line) for line in queue.read_text().splitlines()]
    rows[0]["decision"], rows[1]["decision"] = "drop", "relabel"
    queue.write_text("\n".join(map(json.dumps, rows)))
    output = tmp_path / "fixed.csv"
    said = lane("fix", run.folder, "--from", queue, "--output", output)
    assert said.splitlines()[0] == "2 of the 2 rows that people decided on will change."
    assert "1 label changed, 1 row dropped" in said
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
    assert "leave --from out" in message
    run.table.assign(label="ant").to_csv(run.train_file, index=False)
    assert "has changed since" in refused("fix", run.folder, "--output", output)
    run.train_file.unlink()
    assert "no such file" in refused("fix", run.folder, "--output", output)
    (run.folder / "run_config.json").unlink()
    assert "give --table" in refused("fix", run.folder, "--output", output)
    assert not output.exists()


def test_rows_that_moved_within_a_label_are_refused(run: Run, refused: Lane, lane: Lane, tmp_path: Path) -> None:
    rows = run.table.index[run.table["label"] == run.table.loc[0, "label"]][:2]
    swapped = run.table.copy()
    swapped.loc[rows, "text"] = run.table.loc[rows[::-1], "text"].to_numpy()
    # Training takes one of several columns of texts: the others show nothing.
    swapped.assign(title=run.table["text"]).to_csv(run.train_file, index=False)
    output = tmp_path / "fixed.csv"
    message = refused("fix", run.folder, "--output", output)
    assert f"row {rows[0]}: its text is" in message or f"row {rows[1]}: its text is" in message
    decisions = tmp_path / "d.csv"
    decisions.write_text("row_id,decision\n5,drop\n")
    assert "has changed since" in refused("fix", run.folder, "--output", output, "--from", decisions)
    assert not output.exists()
    settings = {"DataArguments": {"train_file": str(run.train_file), "text_column": "title", "label_column": "label"}}
    run.write("run_config.json", settings)
    lane("fix", run.folder, "--output", output)


def test_outputs_are_checked_before_anything_is_done(run: Run, refused: Lane, tmp_path: Path) -> None:
    output, nowhere = tmp_path / "fixed.csv", tmp_path / "nowhere"
    assert "is named twice" in refused(
        "fix", run.folder, "--output", output, "--changes", tmp_path / "." / "fixed.csv"
    )
    assert "there is no folder" in refused("fix", run.folder, "--output", output, "--changes", nowhere / "log.csv")
    assert "there is no folder" in refused("fix", run.folder, "--output", nowhere / "fixed.csv")
    assert "there is no folder" in refused("fix", run.folder, "--output", nowhere / "q.jsonl", "--action", "review")
    assert "ending in .jsonl" in refused("fix", run.folder, "--output", tmp_path / "q.csv", "--action", "review")
    assert not list(tmp_path.glob("fixed*"))


CONTRADICTIONS: dict[str, tuple[list[str], str]] = {
    "decided, and what to do": (["--from", "d.csv", "--action", "drop"], "leave --action and --min_confidence out"),
    "decided, and how sure": (["--from", "d.csv", "--min_confidence", "1"], "leave --action and --min_confidence out"),
    "review, and how sure": (["--action", "review", "--min_confidence", "0.5"], "leave --min_confidence out"),
    "review, and a log": (["--action", "review", "--changes", "log.csv"], "leave --changes out"),
    "review, and a table": (["--action", "review", "--table", "rows.csv"], "leave --table out"),
}


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_are_refused(run: Run, refused: Lane, tmp_path: Path, options: list[str], message: str) -> None:
    assert message in refused("fix", run.folder, "--output", tmp_path / "queue.jsonl", *options)


def test_ids_of_the_users_own_are_no_rows_of_the_label_table(run: Run, lane: Lane, tmp_path: Path) -> None:
    """`lane train` numbers rows from 0, whatever the column `row_id` of a table says."""
    ids = list(range(ROWS))[::-1]
    run.table.assign(row_id=ids).to_csv(run.train_file, index=False)
    expected = fix_table(run.table, run.issues, label_column="label", action="drop").data
    lane("fix", run.folder, "--output", tmp_path / "fixed.csv", "--action", "drop")
    fixed = pd.read_csv(tmp_path / "fixed.csv")
    assert fixed["more"].tolist() == expected["more"].tolist()
    assert fixed["row_id"].tolist() == [ids[row] for row in expected["more"]]
    # A table that was trained on in Python has the ids of the label table.
    (run.folder / "run_config.json").unlink()
    shuffled = run.table.assign(row_id=range(ROWS)).sample(frac=1, random_state=0)
    shuffled.to_csv(run.train_file, index=False)
    options = ("--table", run.train_file, "--action", "drop")
    lane("fix", run.folder, "--output", tmp_path / "again.csv", *options)
    assert sorted(pd.read_csv(tmp_path / "again.csv")["more"]) == expected["more"].tolist()


def test_the_part_that_was_trained_on_is_made_again(run: Run, lane: Lane, tmp_path: Path) -> None:
    settings = {
        "RunConfig": {"seed": 3},
        "DataArguments": {"train_file": str(run.train_file), "max_train_samples": ROWS},
    }
    larger = pd.concat([run.table, run.table], ignore_index=True)
    larger.to_csv(run.train_file, index=False)
    rows = Dataset.from_pandas(larger).shuffle(seed=3).select(range(ROWS)).to_pandas()
    given = rows["label"].astype("string")
    issues = run.issues.sort_values("row_id").assign(given_label=given.to_numpy(), is_issue=False)
    issues["text"] = rows["text"].astype("string").to_numpy()
    write_issues(run.folder, LabelIssues(issues, run.issues.label_names))
    run.write("run_config.json", settings)
    lane("fix", run.folder, "--output", tmp_path / "fixed.csv")
    assert pd.read_csv(tmp_path / "fixed.csv")["text"].tolist() == rows["text"].tolist()


def test_labels_that_were_spoiled_are_spoiled_again(run: Run, lane: Lane, tmp_path: Path) -> None:
    names = sorted(set(run.table["label"]))
    codes = [names.index(label) for label in run.table["label"]]
    noisy = inject(codes, "uniform", rate=0.25, seed=3, num_labels=len(names))
    spoiled = [names[code] for code in noisy.labels]
    issues = run.issues.sort_values("row_id").assign(given_label=pd.array(spoiled, dtype="string"), is_issue=False)
    write_issues(run.folder, LabelIssues(issues, names))
    data = {"train_file": str(run.train_file), "label_noise": 0.25, "noise_seed": 3}
    run.write("run_config.json", {"DataArguments": data})
    lane("fix", run.folder, "--output", tmp_path / "fixed.csv")
    fixed = pd.read_csv(tmp_path / "fixed.csv")
    assert fixed["label"].tolist() == spoiled
    assert fixed["original_label"].tolist() == run.table["label"].tolist()
    assert fixed["is_flipped"].sum() == ROWS // 4


def test_a_table_that_is_elsewhere_is_named(run: Run, lane: Lane, refused: Lane, tmp_path: Path) -> None:
    elsewhere = run.train_file.rename(tmp_path / "elsewhere.csv")
    assert "name it with --table" in refused("fix", run.folder, "--output", tmp_path / "fixed.csv")
    said = json.loads(lane("fix", run.folder, "--output", tmp_path / "fixed.csv", "--table", elsewhere, "--json"))
    fixed = pd.read_csv(tmp_path / "fixed.csv")
    assert said["labels_changed"] == (fixed["label"] != fixed[BEFORE_COLUMN]).sum() > 0
    assert said["number_of_rows"] == ROWS
    assert "expected precision" in said["expected"]


SETTINGS: dict[str, tuple[Any, str]] = {
    "a group": ({"DataArguments": 3}, "DataArguments is no object"),
    "a file": ({"DataArguments": {"train_file": 5}}, "train_file is no text"),
    "a column": ({"DataArguments": {"train_file": "FILE", "label_column": ["a"]}}, "label_column is no text"),
    "views": ({"DataArguments": {"train_file": "FILE", "view_columns": 3}}, "view_columns is no list"),
    "a number of rows": ({"DataArguments": {"dataset": "demo", "max_train_samples": "a"}}, "a value of a wrong kind"),
    "a name": ({"DataArguments": {"dataset": 3}}, "a value of a wrong kind"),
    "a seed": ({"DataArguments": {"label_noise": 0.1}, "RunConfig": {"seed": "x"}}, "a value of a wrong kind"),
    "a kind": ({"DataArguments": {"label_noise": 0.1, "noise_kind": "?"}}, "cannot be made again"),
}


@pytest.mark.parametrize(("settings", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_were_spoiled_are_refused(
    run: Run, refused: Lane, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    text = json.dumps(settings).replace("FILE", str(run.train_file))
    (run.folder / "run_config.json").write_text(text)
    assert message in refused("fix", run.folder, "--output", tmp_path / "fixed.csv")


def test_wrong_decisions_are_told_from_wrong_tables(run: Run, refused: Lane, tmp_path: Path) -> None:
    decisions = tmp_path / "d.csv"
    for content, message in {
        "row_id,decision\n": "has no rows",
        "a,b\n1,2\n": "no column 'row_id'",
        "row_id,decision\nx,drop\n": "no row x",
        "row_id,decision\n5,drop\n5,drop\n": "decided twice",
    }.items():
        decisions.write_text(content)
        said = refused("fix", run.folder, "--output", tmp_path / "fixed.csv", "--from", decisions)
        assert said.startswith(f"{decisions}: ")
        assert message in said
