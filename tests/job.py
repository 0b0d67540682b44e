"""A folder with a tiny model and data, and a way to run the main job there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from tiny import make_text_dataset

from lane_hf.run import main

NAMES = ["anger", "fear", "joy", "sadness"]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


class Job:
    """A folder with a tiny model and data, and a way to run the main job there."""

    def __init__(self, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.model = model
        self.output_dir = folder / "out"
        self._capsys = capsys

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def data(self, name: str = "train.csv", num_rows: int = 32, seed: int = 0, labels: bool = True) -> str:
        """Write learnable toy data, in the format that the name says."""
        rows = make_text_dataset(num_rows, len(NAMES), seed)
        table = pd.DataFrame({"text": rows["text"], "label": [NAMES[label] for label in rows["label"]]})
        return write_table(table if labels else table[["text"]], self.folder / name)

    def __call__(self, *argv: str, **changes: Any) -> Outcome:
        """Run one short epoch; `changes` are further arguments, None leaves one out."""
        arguments = {
            "model_name_or_path": self.model,
            "output_dir": self.output_dir,
            "num_train_epochs": 1,
            **(
                {"weighting_warmup": 0, "weighting_warmup_steps": 0} if changes.get("method", "lane") == "lane" else {}
            ),
            "learning_rate": 1e-3,
            "bf16": False,
            "disable_tqdm": True,
            **changes,
        }
        self._capsys.readouterr()
        given = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
        status = main([*argv, *given])
        return Outcome(status, *self._capsys.readouterr())

    def metrics(self, output_dir: Path | None = None) -> dict[str, float]:
        return json.loads(((output_dir or self.output_dir) / "metrics.json").read_text())

    def settings(self) -> dict[str, Any]:
        return json.loads((self.output_dir / "run_config.json").read_text())

    def issues(self) -> pd.DataFrame:
        return pd.read_parquet(self.output_dir / "label_issues.parquet")


def write_table(table: pd.DataFrame, path: Path) -> str:
    writers: dict[str, Callable[[], Any]] = {
        ".csv": lambda: table.to_csv(path, index=False),
        ".tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        ".json": lambda: table.to_json(path, orient="records"),
        ".jsonl": lambda: table.to_json(path, orient="records", lines=True),
        ".parquet": lambda: table.to_parquet(path),
    }
    writers[path.suffix]()
    return str(path)


def assert_refused(outcome: Outcome, *messages: str, alone: bool = True) -> None:
    """Assert exit status 2 and one line on standard error; without `alone`, below what loading a model writes."""
    assert outcome.status == 2
    *before, line = outcome.err.splitlines()
    assert outcome.err.endswith("\n")
    assert line.startswith("error: ")
    assert not (alone and before)
    for message in messages:
        assert message in line
