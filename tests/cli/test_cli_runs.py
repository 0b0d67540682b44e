"""`lane report`, `lane compare`, `lane doctor`."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd
import pytest
from cli_runs import ROWS, Run

from lane_hf import InputError, cli, packaged_model

Lane = Callable[..., str]


# ---- report ----


def test_a_report_is_written(run: Run, lane: Lane, refused: Lane, tmp_path: Path) -> None:
    said = lane("report", run.folder)
    default = run.folder / "_report" / "report.html"
    assert said == f"Report: {default}\n"
    assert "Which labels are wrong?" in default.read_text()
    assert "--rows must be at least 1, got 0" in refused("report", run.folder, "--rows", 0)
    lane("report", run.folder, "--output", tmp_path / "r.html", "--rows", 3)
    assert len((tmp_path / "r.html").read_text()) < len(default.read_text())


def test_a_report_from_margins(lane: Lane, refused: Lane, tmp_path: Path) -> None:
    margins = tmp_path / "margins.csv"
    table = {"row_id": range(40), "label": [0, 1] * 20, "margin_1": [1.0, -2.0] * 20, "margin_2": [0.5] * 40}
    pd.DataFrame(table).to_csv(margins, index=False)
    output = tmp_path / "r.html"
    lane("report", "--margins", margins, "--label_names", "no", "yes", "--output", output)
    assert '"labels":["no","yes"]' in output.read_text()
    assert "needs --output" in refused("report", "--margins", margins)
    assert "name a file ending in .html" in refused("report", "--margins", margins, "--output", margins)
    assert "either the folder of a training run or --margins" in refused("report")
    pd.DataFrame({"a": [1]}).to_csv(margins, index=False)
    assert refused("report", "--margins", margins, "--output", output).startswith(
        f"{margins}: the table of margins has"
    )


def test_a_report_overwrites_no_table(run: Run, lane: Lane, refused: Lane, tmp_path: Path) -> None:
    before = run.train_file.read_bytes()
    assert "name a file ending in .html" in refused("report", run.folder, "--output", run.train_file)
    assert run.train_file.read_bytes() == before
    assert "belongs to --margins" in refused("report", run.folder, "--label_names", "a")
    output = tmp_path / "new" / "r.HTM"
    assert json.loads(lane("report", run.folder, "--output", output, "--json")) == {"output": str(output)}
    assert output.is_file()


# ---- compare ----


def test_runs_side_by_side(run: Run, lane: Lane, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    settings = json.loads((other / "run_config.json").read_text())
    settings["RunConfig"]["seed"] = 2
    (other / "run_config.json").write_text(json.dumps(settings))
    (other / "metrics.json").write_text(json.dumps({"test_accuracy": 0.5}))
    table = pd.read_parquet(other / "label_issues.parquet")
    first = table.index[table["is_issue"]][0]
    table.loc[first, "is_issue"] = False
    table.to_parquet(other / "label_issues.parquet", index=False)
    said = json.loads(lane("compare", run.folder, other, "--json"))
    assert said["runs"][str(other)]["test_accuracy"] == 0.5
    assert said["runs"][str(other)]["noise_rate"] == pytest.approx(run.issues.noise_rate().estimate)
    assert said["settings_that_differ"] == {"seed": {str(run.folder): 1, str(other): 2}}
    number = int(run.issues["is_issue"].sum())
    assert said["agreement"][0]["in_common"] == number - 1
    assert said["agreement"][0]["jaccard"] == pytest.approx((number - 1) / number)
    lines = [line.split() for line in lane("compare", run.folder, other).splitlines()]
    assert ["test", "accuracy", "0.75", "0.5"] in lines
    assert ["seed", "1", "2"] in lines


def test_runs_that_cannot_be_compared(run: Run, lane: Lane, refused: Lane, tmp_path: Path) -> None:
    assert "at least two different runs" in refused("compare", run.folder)
    assert "at least two different runs" in refused("compare", run.folder, f"{run.folder}/../{run.folder.name}/")
    other = Run(tmp_path / "other")
    run.write("run_config.json", {"versions": 7})
    assert "versions is no object" in refused("compare", run.folder, other.folder)
    (run.folder / "run_config.json").unlink()
    other.change_issues(row_id=other.issues["row_id"] + 1)
    assert "trained on other rows, issues are not compared" in lane("compare", run.folder, other.folder)


def test_runs_on_other_labels_of_the_same_rows(run: Run, lane: Lane, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    labels = other.issues["given_label"].copy()
    labels.iloc[:7] = labels.iloc[:7].map({"ant": "bee", "bee": "ant", "cow": "dog", "dog": "cow"})
    other.change_issues(given_label=labels)
    run.write("run_config.json", {"RunConfig": {"method": "\x1b[31mred"}})
    said = lane("compare", run.folder, other.folder)
    assert f"but 7 of {ROWS} rows were trained with another label" in said
    assert "\x1b" not in said
    assert (
        json.loads(lane("compare", run.folder, other.folder, "--json"))["agreement"][0]["rows_with_another_label"] == 7
    )


# ---- doctor ----


def test_the_doctor_names_what_is_there(lane: Lane) -> None:
    said = json.loads(lane("doctor", "--json"))
    packages = {line["name"]: line for line in said["packages"]}
    assert packages["torch"]["version"] == version("torch")
    assert packages["transformers"]["problem"] == ""
    assert said["ok"] is True
    assert set(said["extras"]) == {"demo", "report", "translate"}
    assert "Everything that is needed is there." in lane("doctor")


def test_the_doctor_finds_what_is_missing(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=99", "no-such-package>=1", "jinja2>=99; extra == 'report'"]
    monkeypatch.setattr(cli.doctor, "requires", lambda name: needed)
    said = json.loads(lane("doctor", "--json", status=1))
    assert [line["problem"] for line in said["packages"]] == ["", "does not fit >=99", "is missing"]
    assert said["problems"] == ["torch does not fit >=99", "no-such-package is missing"]
    assert said["extras"]["report"]["missing"] == ["jinja2"]
    words = lane("doctor", status=1)
    assert "Problem: no-such-package is missing" in words
    assert "anew: pip install --upgrade 'torch>=99' 'no-such-package>=1'\n" in words
    assert "missing jinja2: pip install 'lane_hf[report]'" in words


def test_the_doctor_asks_for_a_python_that_is_new_enough(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.doctor, "metadata", lambda name: {"Requires-Python": ">=99"})
    assert "Problem: Python does not fit >=99" in lane("doctor", status=1)


@pytest.mark.parametrize("error", [InputError("the weights are damaged"), ImportError("the weights are damaged")])
def test_the_doctor_survives_what_is_damaged(lane: Lane, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def damaged() -> str:
        raise error

    monkeypatch.setattr(packaged_model, "default_model", damaged)
    assert "Problem: the weights are damaged" in lane("doctor", status=1)
    assert json.loads(lane("doctor", "--json", status=1))["problems"] == ["the weights are damaged"]


def test_the_doctor_needs_an_installed_package(refused: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(cli.doctor, "metadata", absent)
    assert "lane_hf is not installed" in refused("doctor")
