"""A run's folder, written by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.run_record import write_issues

sys.path.append(str(Path(__file__).parents[1] / "report"))

from report_tables import make_issues

ROWS = 80


class Run:
    """A run's folder with the table that it was trained on."""

    def __init__(self, folder: Path, rare: dict[str, int] | None = None) -> None:
        folder.mkdir()
        self.folder, self.issues = folder, make_issues(ROWS, texts=True, rare=rare)
        by_row = pd.DataFrame(self.issues).set_index("row_id").sort_index()
        labels = by_row["given_label"].fillna("ant").astype(object)
        self.table = pd.DataFrame({"text": by_row["text"], "label": labels, "more": range(ROWS)})
        self.train_file = folder.parent / f"{folder.name}.csv"
        self.table.to_csv(self.train_file, index=False)
        write_issues(folder, self.issues)
        self.settings: dict[str, Any] = {
            "RunConfig": {"method": "lane", "seed": 1, "output_dir": str(folder)},
            "DataArguments": {"train_file": str(self.train_file), "label_noise": 0.0},
        }
        self.write("run_config.json", self.settings)
        self.write("metrics.json", {"test_accuracy": 0.75, "train_runtime": 12.5})

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def change_issues(self, **columns: Any) -> None:
        write_issues(self.folder, LabelIssues(self.issues.assign(**columns), self.issues.label_names))
