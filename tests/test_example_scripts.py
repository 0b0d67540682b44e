"""Each script in examples/ as a user starts it, on fewer rows: what it prints, writes, and says of mistakes."""

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from forking import Template
from safetensors import safe_open
from tiny import label_names, make_model, make_text_dataset, make_tokenizer

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny encoder without a head, as the packaged one is."""
    folder = tmp_path_factory.mktemp("encoder")
    make_model("bert").base_model.save_pretrained(folder)
    make_tokenizer(folder)
    return str(folder)


Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(template: Template, tmp_path: Path) -> Start:
    """Runs a script in a process of its own, in the folder of the test, to its good end."""

    def run(script: str, *argv: str) -> subprocess.CompletedProcess[str]:
        done = template.run([str(EXAMPLES / script), *argv], tmp_path, os.environ)
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return run


def numbers(pattern: str, printed: str) -> list[float]:
    """Return the numbers in the one line that looks like the pattern."""
    (found,) = re.findall(f"^{pattern}$", printed, re.MULTILINE)
    return [float(number) for number in ([found] if isinstance(found, str) else found)]


def test_drop_in(start: Start, tmp_path: Path) -> None:
    printed = start("drop_in.py", "--rows", "32", "--epochs", "2").stdout
    assert 0 <= numbers(r"Test accuracy: (0\.\d+)", printed)[0] <= 1
    spoiled, rows, most, found = numbers(
        r"(\d+) of (\d+) labels were spoiled; among the (\d+) most suspicious are (\d+) of them", printed
    )
    assert (spoiled, rows, most) == (6, 32, 6)
    assert 0 <= found <= 6
    assert len(list((tmp_path / "drop_in_output").glob("checkpoint-*/lane_state.safetensors"))) == 2


def test_drop_in_differs_from_a_trainer_script_by_its_import() -> None:
    source = (EXAMPLES / "drop_in.py").read_text()
    assert "from lane_hf import LaneTrainer as Trainer  # was: from transformers import Trainer\n" in source
    assert "training_args = TrainingArguments(" in source
    assert "trainer = Trainer(" in source


def test_own_csv(start: Start, tmp_path: Path, encoder: str) -> None:
    rows = make_text_dataset(480, 4)
    right = pd.Series([label_names(4)[label] for label in rows["label"]])
    given = right.copy()
    for row in range(0, 480, 10):
        given[row] = label_names(4)[(rows[row]["label"] + 1) % 4]
    table = pd.DataFrame({"id": [f"r{row}" for row in range(480)], "text": rows["text"], "label": given})
    table.to_csv(tmp_path / "rows.csv", index=False)
    argv = ("rows.csv", "--model", encoder, "--epochs", "5", "--learning_rate", "3e-3", "--min_confidence", "0.8")
    printed = start("own_csv.py", *argv).stdout
    changed, of = numbers(r"(\d+) of (\d+) labels changed; .*", printed)
    assert f"\n{changed:.0f} of 480 rows will be relabelled: expected precision " in printed
    fixed = pd.read_csv(tmp_path / "rows_fixed.csv")
    assert list(fixed.columns) == ["id", "text", "label", "label_before_fix"]
    assert fixed["id"].tolist() == table["id"].tolist()
    assert fixed["label_before_fix"].tolist() == given.tolist()
    assert ((fixed["label"] != given).sum(), len(fixed)) == (changed, of)
    assert len(pd.read_csv(tmp_path / "rows_fixed_changes.csv")) == changed
    assert changed >= 10, "of 48 wrong labels"
    assert (fixed["label"] != right).sum() == 48 - changed, "every new label is right"
    assert pd.read_csv(tmp_path / "rows.csv").equals(table)


def test_lora(start: Start, tmp_path: Path, encoder: str) -> None:
    pytest.importorskip("peft", reason="PEFT is not installed (pip install peft)")
    printed = start("lora.py", "--rows", "48", "--epochs", "3", "--model", encoder).stdout
    assert printed.endswith("loaded again, it gives the same logits: yes\n")
    precision, chance = numbers(
        r"Finding the spoiled labels: average precision (\d\.\d+) \(by chance: (\d\.\d+)\)", printed
    )
    assert 0 < precision <= 1
    assert chance == 0.21
    (weights,) = (tmp_path / "lora_output" / "adapter").glob("*.safetensors")
    with safe_open(weights, framework="pt") as file:
        assert all("lora_" in name or "classifier" in name for name in file.keys())  # noqa: SIM118


def test_images(start: Start, tmp_path: Path) -> None:
    printed = start("image_classification.py", "--rows", "600", "--epochs", "8").stdout
    precision, chance = numbers(
        r"Finding the spoiled labels: average precision (\d\.\d+) \(by chance: (\d\.\d+)\)", printed
    )
    assert chance == 0.2
    assert precision > 2 * chance


def test_hyperparameter_search(start: Start, tmp_path: Path, encoder: str) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed (pip install optuna)")
    argv = ("--trials", "2", "--rows", "48", "--epochs", "1", "--model", encoder)
    done = start("hyperparameter_search.py", *argv)
    printed = done.stdout
    number, best = numbers(r"Best of 2 trials: number (\d), accuracy (\d\.\d+)", printed)
    again, _, rows = numbers(r"Trained again: accuracy (\d\.\d+), (\d+) of (\d+) labels look wrong", printed)
    assert again == best, "the same settings and seed"
    assert rows == 48
    # What optuna says of its trials is what is trained again.
    tried = re.findall(r"Trial (\d) finished .* and parameters: ({.*?})", done.stderr)
    settings = re.findall(r"^  (\w+): (.*)$", printed, re.MULTILINE)
    told = ast.literal_eval(dict(tried)[f"{number:.0f}"])
    assert dict(settings) == {name: str(value) for name, value in told.items()}
    assert number == 0, "else the settings of the last trial would do"


def test_two_processes(tmp_path: Path, encoder: str) -> None:
    argv = ("--rows", "37", "--epochs", "2", "--model", encoder)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(EXAMPLES / "two_processes.py"), *argv],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = done.stdout
    tables = re.findall(r"^process (\d) \(cpu\): 37 rows, 74 visits, table ([0-9a-f]{16})$", printed, re.MULTILINE)
    assert [number for number, _ in tables] == ["0", "1"]
    assert tables[0][1] == tables[1][1]
    assert printed.endswith("All 2 processes hold the same table: yes\n")


def test_aum_to_report(start: Start, tmp_path: Path) -> None:
    printed = start("aum_to_report.py", "--demo").stdout
    rows, marked = numbers(r"(\d+) rows in 10 epochs, (\d+) look mislabelled", printed)
    spoiled, right = numbers(r"Spoiled: (.*)%; of the rows that look mislabelled, (.*)% are", printed)
    assert rows == 1797
    assert 200 < marked < 500
    assert round(spoiled) == 20
    assert right > 70
    page = (tmp_path / "aum_output" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "1,797" in page


# ---- Mistakes ----


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder with a small table, and none of the packages that only some examples need."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\na,x\nb,y\n")
    for package in ("peft", "optuna", "aum"):
        monkeypatch.setitem(sys.modules, package, None)
    return monkeypatch


@pytest.mark.parametrize(
    ("script", "argv", "message"),
    [
        ("drop_in", ["--rows", "0"], "--rows and --epochs must be above 0"),
        ("drop_in", ["--rows", "8", "--model", "nowhere"], "error: "),
        ("own_csv", ["missing.csv"], "error: missing.csv: no such file"),
        ("own_csv", ["rows.csv", "--label_column", "star"], "error: there is no column 'star' in the training data"),
        ("own_csv", ["rows.csv", "--output", "rows.csv"], "error: rows.csv exists already: nothing is overwritten"),
        ("own_csv", ["rows.csv", "--min_confidence", "90"], "--min_confidence must be from 0 to 1"),
        ("lora", ["--rank", "0"], "--rows, --epochs and --rank must be above 0"),
        ("lora", [], "error: this example needs peft: pip install peft"),
        ("image_classification", ["--noise", "2"], "error: "),
        ("hyperparameter_search", [], "error: this example needs optuna: pip install optuna"),
        ("two_processes", [], "error: this is one process only: start it with torchrun --nproc_per_node 2"),
        ("aum_to_report", [], "give either a csv or --demo"),
        ("aum_to_report", ["missing.csv"], "error: missing.csv: no such file"),
        ("aum_to_report", ["rows.csv"], "error: rows.csv: the table of margins has no column 'row_id'"),
        ("aum_to_report", ["rows.csv", "--output", "rows.csv"], "rows.csv: the report is HTML"),
        ("aum_to_report", ["--demo"], "error: --demo needs the aum package: pip install aum"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str, argv: list[str], message: str
) -> None:
    bare.setattr(sys, "argv", [script, *argv])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert message in said[-1]
    assert sum("rror: " in line for line in said) == 1


# ---- All of them ----


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_short_and_says_how_it_is_run(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 100
    docstring = source.split('"""')[1]
    assert f"examples/{path.name}" in docstring
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"[`{path.name}`]({path.name})" in table
