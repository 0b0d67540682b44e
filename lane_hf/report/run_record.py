"""RunRecord: everything that a report of a training run is made of, read from its folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.tables import read_table
from ..display import first_line, quoted
from ..errors import InputError
from ..margin_history import MARGINS_FILE, ROW_IDS_FILE
from .label_issues import LabelIssues
from .table import COLUMNS, TEXT_COLUMN

ISSUES_FILE = "label_issues.parquet"
TEXTS_FILE = "_report/texts.parquet"  # apart from the table: the Hub client leaves out what begins with an underscore
FACTS_FILE = "_report/facts.json"


@dataclass
class RunRecord:
    """What a training run has left.

    Attributes:
        issues: the label table, with texts where they were kept.
        log_history: Trainer's log, oldest first.
        settings: content of `run_config.json`; empty if the run was not started by the command line.
        metrics: content of `metrics.json`, likewise.
        margins: `[epochs, num_rows]` float16 margins in logits; NaN where a row was not visited; None if not kept.
        margin_row_ids: `[num_rows]` row ids of the columns of `margins`.
        distances: `[K, K]` given distances of the labels, in the order of `issues.label_names`; None if not known.

    Example:
        >>> record = read_run("lane_output")  # doctest: +SKIP
        >>> record.metrics["test_accuracy"]  # doctest: +SKIP
        0.71
    """

    issues: LabelIssues
    log_history: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    margins: np.ndarray | None = None
    margin_row_ids: np.ndarray | None = None
    distances: np.ndarray | None = None


def write_issues(folder: str | Path, issues: LabelIssues, distances: np.ndarray | None = None) -> None:
    """Write the label table into a run's folder, its texts apart from it, so that [`read_run`] finds them.

    Args:
        folder: an existing folder.
        issues: the label table.
        distances: `[K, K]` given distances of the labels, in the order of `issues.label_names`.

    Example:
        >>> write_issues("lane_output", trainer.label_issues())  # doctest: +SKIP
    """
    folder = Path(folder)
    (folder / FACTS_FILE).parent.mkdir(exist_ok=True)
    table = pd.DataFrame(issues)
    if TEXT_COLUMN in table:
        table[["row_id", TEXT_COLUMN]].to_parquet(folder / TEXTS_FILE, index=False)
    facts = {"label_names": issues.label_names, "distances": None if distances is None else distances.tolist()}
    (folder / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    # Last, and all or nothing: where it is, the run is done.
    partial = folder / f"{ISSUES_FILE}.partial"
    table.drop(columns=TEXT_COLUMN, errors="ignore").to_parquet(partial, index=False)
    partial.replace(folder / ISSUES_FILE)


def read_run(folder: str | Path) -> RunRecord:
    """Read the folder that a training run has written.

    Args:
        folder: `output_dir` of the run.

    Raises:
        InputError: there is no such folder, it has no label table, or a file in it is damaged.

    Example:
        >>> read_run("lane_output").issues.noise_rate()  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not (folder / ISSUES_FILE).is_file():
        raise InputError(
            f"{folder}: it holds no {ISSUES_FILE}, so it is no folder of a training run that is done. (Of a trainer "
            "in Python, lane_hf.report.run_record.write_issues(folder, trainer.label_issues()) writes it)"
        )
    facts = _json(folder / FACTS_FILE) or {}
    issues = LabelIssues(_table(folder), _label_names(folder, facts))
    _check_labels(folder, issues)
    margins = _array(folder / MARGINS_FILE, len(issues), "f", 2)
    row_ids = _array((folder / MARGINS_FILE).with_name(ROW_IDS_FILE), len(issues), "iu", 1)
    return RunRecord(
        issues=issues,
        log_history=_log_history(folder),
        settings=_settings(folder),
        metrics=read_metrics(folder),
        margins=margins,
        margin_row_ids=None if margins is None else np.arange(len(issues)) if row_ids is None else row_ids,
        distances=_distances(folder, facts),
    )


def _table(folder: Path) -> pd.DataFrame:
    path = folder / ISSUES_FILE
    table = read_table(path)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"{path}: it has no column {missing[0]!r}, so it is no label table of this version")
    try:
        for column in table.columns.intersection([*COLUMNS, "is_flipped"]):
            table[column] = table[column].astype(_type_of(column, table[column]))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: column {column!r} is no {column} of a label table ({first_line(error)})") from error
    if (folder / TEXTS_FILE).is_file():
        texts = read_table(folder / TEXTS_FILE)
        if set(texts.columns) != {"row_id", TEXT_COLUMN}:
            raise InputError(f"{folder / TEXTS_FILE}: expected the columns row_id and {TEXT_COLUMN}")
        known = texts.drop_duplicates("row_id").set_index("row_id")[TEXT_COLUMN]
        table[TEXT_COLUMN] = table["row_id"].map(known).astype("string")
    return table


def _type_of(column: str, values: pd.Series) -> str:
    if column.endswith("_label"):
        are_numbers = all(isinstance(value, int) for value in values.dropna())
        return "Int64" if are_numbers and values.notna().any() else "string"
    return {"row_id": "int64", "visits": "int32", "is_issue": "bool", "is_flipped": "bool"}.get(column, "float32")


def _label_names(folder: Path, facts: dict[str, Any]) -> list[str] | None:
    names = facts.get("label_names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{folder / FACTS_FILE}: label_names is no list of texts. Remove the file to go on without it"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{folder / FACTS_FILE}: label_names has a name twice. Remove the file to go on without it")
    return names


def _check_labels(folder: Path, issues: LabelIssues) -> None:
    """Raise unless the labels are of one kind, known, and there wherever a row was seen."""
    columns = [issues[name] for name in ("given_label", "suggested_label", "runner_up_label")]
    if len({str(column.dtype) for column in columns if column.notna().any()}) > 1:
        raise InputError(f"{folder / ISSUES_FILE}: some labels are numbers, some texts: it was changed by hand")
    if columns[0][issues["visits"] > 0].isna().any():
        raise InputError(f"{folder / ISSUES_FILE}: a row that was seen in training has no given_label")
    known = issues.label_names
    unknown = [] if known is None else sorted({str(label) for own in columns for label in own.dropna()} - set(known))
    if unknown:
        raise InputError(f"{folder / FACTS_FILE}: label_names lacks {quoted(unknown[0])}: it is of another run")


def _log_history(folder: Path) -> list[dict[str, Any]]:
    history = (_json(folder / "trainer_state.json") or {}).get("log_history", [])
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise InputError(f"{folder / 'trainer_state.json'}: log_history is no list of objects")
    return history


def _settings(folder: Path) -> dict[str, Any]:
    settings = _json(folder / "run_config.json") or {}
    for name in ("ModelArguments", "DataArguments", "RunConfig", "versions"):
        if not isinstance(settings.get(name, {}), dict):
            raise InputError(f"{folder / 'run_config.json'}: {name} is no object")
    return settings


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the numbers of a run; none if there are none.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    metrics = _json(folder / "metrics.json") or {}
    wrong = [name for name, value in metrics.items() if not isinstance(value, int | float | None)]
    if wrong:
        raise InputError(f"{folder / 'metrics.json'}: {quoted(wrong[0])} is no number")
    return metrics


def _distances(folder: Path, facts: dict[str, Any]) -> np.ndarray | None:
    given, names = facts.get("distances"), facts.get("label_names")
    if given is None:
        return None
    try:
        distances = np.array(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / FACTS_FILE}: distances is no matrix of numbers ({first_line(error)})") from error
    size = distances.shape[-1:] if names is None else (len(names),)
    if distances.ndim != 2 or distances.shape != size * 2:  # noqa: PLR2004 -- a matrix
        raise InputError(f"{folder / FACTS_FILE}: distances is no matrix with one row and one column for each label")
    return distances


def _array(path: Path, num_rows: int, kinds: str, dimensions: int) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}). Remove it to go on without it") from error
    if array.ndim != dimensions or array.shape[-1] != num_rows or array.dtype.kind not in kinds:
        raise InputError(f"{path}: it belongs to another run than the label table. Remove it to go on without it")
    return array


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object")
    return content
