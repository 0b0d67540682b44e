"""`lane report`, `lane compare`, `lane doctor`, `lane completion`, and the manners of all commands."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_runs import Run

from lane_hf import cli
from lane_hf.cli import main

Lane = Callable[..., str]


# ---- report ----


def test_a_report_is_written(run: Run, lane: Lane, tmp_path: Path) -> None:
    said = lane("report", run.folder)
    default = run.folder / "_report" / "report.html"
    assert said == f"Report: {default}\n"
    assert "Which labels are wrong?" in default.read_text()
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
    assert "would be overwritten" in refused("report", "--margins", margins, "--output", margins)
    assert "either the folder of a training run or --margins" in refused("report")
    pd.DataFrame({"a": [1]}).to_csv(margins, index=False)
    assert "no column 'row_id'" in refused("report", "--margins", margins, "--output", output)


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
    assert said["settings_that_differ"] == {"seed": {str(run.folder): 1, str(other): 2}}
    number = int(run.issues["is_issue"].sum())
    assert said["agreement"][0]["in_common"] == number - 1
    assert said["agreement"][0]["jaccard"] == pytest.approx((number - 1) / number)
    lines = [line.split() for line in lane("compare", run.folder, other).splitlines()]
    assert ["test", "accuracy", "0.75", "0.5"] in lines
    assert ["seed", "1", "2"] in lines


def test_runs_that_cannot_be_compared(run: Run, lane: Lane, refused: Lane, tmp_path: Path) -> None:
    assert "at least two different runs" in refused("compare", run.folder)
    assert "at least two different runs" in refused("compare", run.folder, run.folder)
    other = Run(tmp_path / "other")
    other.change_issues(row_id=other.issues["row_id"] + 1)
    assert "were trained on other rows" in lane("compare", run.folder, other.folder)


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
    assert [line["problem"] for line in said["packages"]] == ["does not fit", "missing"]
    assert said["extras"]["report"]["missing"] == ["jinja2"]
    assert "pip install -U lane_hf" in lane("doctor", status=1)


# ---- completion ----


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(lane: Lane, tmp_path: Path) -> None:
    script = tmp_path / "lane.sh"
    script.write_text(lane("completion", "bash"))

    def completed(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        code = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _lane; echo ${{COMPREPLY[@]}}"
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert completed("lane", "is") == ["issues"]
    assert completed("lane", "") == [
        "train",
        *(each.__name__.split(".")[-1] for each in cli.COMMANDS),
        "--help",
        "--version",
    ]
    assert completed("lane", "issues", "--only") == ["--only_issues"]
    assert completed("lane", "train", "--weighting_w") == ["--weighting_warmup"]
    assert "compinit" in lane("completion", "zsh")


# ---- Manners ----


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["issues", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    code = (
        f"import sys\nfrom lane_hf.cli import main\ntry: main({arguments})\nfinally: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_interrupting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.datasets, "run", interrupted)
    assert main(["datasets"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
