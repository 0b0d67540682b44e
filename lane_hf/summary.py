"""The short summary at the end of a run, for a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .display import excerpt, printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["printable", "summarise"]

_WORST = 10


def summarise(
    metrics: Mapping[str, float],
    issues: "pd.DataFrame | None",
    texts: Sequence[str],
    output_dir: Path,
    method: str,
) -> str:
    """Put the result of a run into words.

    Args:
        metrics: flat metrics, as in `metrics.json`; what is missing is left out.
        issues: the table of label issues, most suspicious first, or None.
        texts: texts by row id; 40 characters of the ten most suspicious are shown.
        output_dir: where everything lies.
        method: name of the method.

    Returns:
        Several lines, without a line break at the end.
    """
    lines = ["", f"== {method} =="]
    for prefix, name in (("test", "Test"), ("eval", "Validation")):
        if f"{prefix}_accuracy" in metrics:
            accuracy, f1 = metrics[f"{prefix}_accuracy"], metrics[f"{prefix}_f1_macro"]
            lines.append(f"{name + ':':<20}accuracy {accuracy:.3f}, macro-F1 {f1:.3f}")
    lines += _detection(metrics)
    if issues is not None:
        number = int(issues["is_issue"].sum())
        lines.append(f"{'Label issues:':<20}{number} of {len(issues)} rows ({number / len(issues):.1%})")
        lines += ["", f"The {min(_WORST, len(issues))} most suspicious rows:", *_worst(issues, texts)]
    lines += ["", *_files(output_dir, trained=issues is not None, predicted="test_runtime" in metrics)]
    return "\n".join(lines)


def _detection(metrics: Mapping[str, float]) -> list[str]:
    if "detection_auroc" not in metrics:
        return []
    return [
        f"{'Flipped labels:':<20}AUROC {metrics['detection_auroc']:.3f}, average precision "
        f"{metrics['detection_average_precision']:.3f}, precision among the worst 5% "
        f"{metrics['detection_precision_at_5_percent']:.3f}"
    ]


def _worst(issues: "pd.DataFrame", texts: Sequence[str]) -> list[str]:
    rows = issues.head(_WORST)
    flipped = rows["is_flipped"] if "is_flipped" in rows else [None] * len(rows)
    table = [("row", "given", "suggested", "sure", "score", "flipped" if "is_flipped" in rows else "", "text")]
    for row, known in zip(rows.itertuples(), flipped, strict=True):
        mark = "" if known is None else ("yes" if known else "no")
        sure, score = f"{row.suggestion_confidence:.2f}", f"{row.score:.2f}"
        shown = (excerpt(str(cell)) for cell in (row.given_label, row.suggested_label, texts[row.row_id]))
        given, suggested, text = shown  # labels too: a column of texts may have been taken for them
        table.append((str(row.row_id), given, suggested, sure, score, mark, text))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]


def _files(output_dir: Path, trained: bool, predicted: bool) -> list[str]:
    # Not simply what lies there: it may be left over from an earlier run.
    files = {
        "Checkpoint:": output_dir if trained else None,
        "Metrics:": output_dir / "metrics.json",
        "Label table:": output_dir / "label_issues.parquet" if trained else None,
        "Predictions:": output_dir / "predictions.csv" if predicted else None,
    }
    return [f"{name:<20}{path}" for name, path in files.items() if path is not None]
