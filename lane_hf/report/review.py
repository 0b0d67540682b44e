"""The queue of label issues for people: JSON lines, and a form that Argilla imports; worst first."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..display import first_line
from ..errors import InputError, OutputError
from .table import TEXT_COLUMN

if TYPE_CHECKING:
    from .label_issues import LabelIssues

_QUESTION = "label"


def write_review_queue(issues: "LabelIssues", path: str | Path) -> list[Path]:
    """Write the rows marked as issues, most suspicious first.

    A line of the JSON lines holds the row, what is known of it, and `decision` and `new_label` to be filled in (then
    `lane fix --from FILE` applies them). Beside it, `NAME.argilla.json` holds the same rows as Argilla records: a
    field `text`, a suggestion for the question `label`, numbers as metadata.

    Args:
        issues: the label table.
        path: a file ending in .jsonl that does not exist yet.

    Returns:
        Both files.

    Raises:
        InputError: the suffix is another, or a file exists already.
        OutputError: a file cannot be written.

    Example:
        >>> write_review_queue(issues, "review.jsonl")  # doctest: +SKIP
        [PosixPath('review.jsonl'), PosixPath('review.argilla.json')]
    """
    path = Path(path)
    if path.suffix.lower() != ".jsonl":
        raise InputError(f"{path}: a review queue is JSON lines, name a file ending in .jsonl")
    argilla = path.with_suffix(".argilla.json")
    for file in (path, argilla):
        if file.exists():
            raise InputError(f"{file} exists already: name another file, people may have worked on it")
    rows = [_plain(row) for row in issues[issues["is_issue"]].to_dict("records")]
    queue = "".join(json.dumps(_line(row), ensure_ascii=False) + "\n" for row in rows)
    try:
        path.write_text(queue, encoding="utf-8")
        argilla.write_text(json.dumps([_record(row) for row in rows], ensure_ascii=False, indent=1), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({first_line(error)})") from error
    return [path, argilla]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    values = {name: getattr(value, "item", lambda value=value: value)() for name, value in row.items()}
    return {name: None if pd.isna(value) else value for name, value in values.items()}


def _line(row: dict[str, Any]) -> dict[str, Any]:
    shown = ("row_id", TEXT_COLUMN, "given_label", "suggested_label", "suggestion_confidence", "noise_probability")
    return {**{name: row[name] for name in shown if name in row}, "decision": "", "new_label": ""}


def _record(row: dict[str, Any]) -> dict[str, Any]:
    numbers = ("suggestion_confidence", "noise_probability", "alm", "confidence", "variability")
    suggestion = {"value": str(row["suggested_label"]), "score": row["suggestion_confidence"], "agent": "lane_hf"}
    return {
        "id": str(row["row_id"]),
        "fields": {"text": row.get(TEXT_COLUMN) or ""},
        "metadata": {"given_label": str(row["given_label"]), **{name: row[name] for name in numbers}},
        "suggestions": {_QUESTION: suggestion},
        "responses": {},
        "vectors": {},
    }
