"""The report: one HTML file that shows what a training run has found out about the labels, and works offline."""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..display import first_line, printable
from ..errors import InputError, OutputError
from ..version import __version__
from . import figures
from .run_record import RunRecord

TEMPLATE = Path(__file__).parent / "template"
MOST_ROWS = 10_000
_TEXT_LENGTH = 300
_LABELS_ON_A_PHONE = 12  # heat maps of more labels are drawn larger, and scrolled on a small screen
_INK = "#010203"  # a colour that nothing is drawn in: replaced by that of the page, which depends on the theme
_FURTHER_COLOURS = (("#009E73", "--third"), ("#CC79A7", "--fourth"))
_WEIGHT_CURVES = {
    "lane/mean_weight": "mean weight",
    "lane/share_below_half": "share of rows below 0.5",
    "lane/negative_share": "share with a negative average",
}
_MARGIN_CURVES = {"lane/alm_mean": "mean of the negative averages", "lane/alm_std": "their standard deviation"}
_LOSS_CURVES = {"loss": "loss", "loss_ce": "cross-entropy", "loss_aux": "auxiliary", "loss_contrastive": "contrastive"}
_SCORE_CURVES = {"eval_accuracy": "validation accuracy", "eval_f1_macro": "validation macro-F1"}


def write_report(record: RunRecord, path: str | Path, most_rows: int = MOST_ROWS) -> Path:
    """Write the report of a run, all or nothing.

    Args:
        record: what the run has left; parts that it lacks are left out of the report.
        path: the HTML file.
        most_rows: how many rows its table holds, the most suspicious ones.

    Returns:
        The file.

    Raises:
        InputError: the packages of the extra `report` are missing, or `most_rows` is below 1.
        OutputError: the file cannot be written.

    Example:
        >>> write_report(read_run("lane_output"), "report.html")  # doctest: +SKIP
    """
    path = Path(path)
    if most_rows < 1:
        raise InputError(f"most_rows must be at least 1, got {most_rows}")
    page = render(record, most_rows)
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        if partial.is_file():
            partial.unlink()
        raise OutputError(f"{path}: cannot be written ({first_line(error)})") from error
    return path


def render(record: RunRecord, most_rows: int = MOST_ROWS) -> str:
    """Return the report as a page; see [`write_report`]."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise InputError("the report needs jinja2: pip install 'lane_hf[report]'") from error
    environment = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"percent": _percent, "number": _number}
    script = (TEMPLATE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows = table_rows(record, most_rows)
    content: str = environment.get_template("report.html.jinja").render(
        css=_trusted((TEMPLATE / "report.css").read_text(encoding="utf-8")),
        script=_trusted(script),
        script_digest=digest,
        rows_as_json=_trusted(for_script(rows)),
        facts=_facts(record),
        texts_cut_to=_TEXT_LENGTH
        if any(len(text) > _TEXT_LENGTH for text in rows["columns"].get("text", []))
        else None,
        figures=_figures(record),
        labels=_labels(record),
        most_labels=figures.MOST_LABELS,
        labels_on_a_phone=_LABELS_ON_A_PHONE,
        settings=_settings(record),
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return content


def _trusted(text: str) -> Any:
    """Mark what is our own, or escaped already, as such; everything else in the template is escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 -- see above


# ---- What is said ----


def _facts(record: RunRecord) -> dict[str, Any]:
    issues = record.issues
    seen = int((issues["visits"] > 0).sum())
    number = int(issues["is_issue"].sum())
    mapped = int((issues["visits"].gt(0) & issues["confidence"].notna() & issues["variability"].notna()).sum())
    facts: dict[str, Any] = {
        "rows": len(issues),
        "unseen": len(issues) - seen,
        "issues": number,
        "share": number / max(1, len(issues)),
        "rate": issues.noise_rate(),
        "precision": issues.expected_precision(),
        "rare": [_name(line.label) for line in issues.per_label().itertuples() if line.note],
        "method": _setting(record, "RunConfig", "method"),
        "model": _setting(record, "ModelArguments", "model_name_or_path"),
        "points": mapped if mapped > figures.MAP_POINTS else None,
        "points_drawn": figures.MAP_POINTS,
        "metrics": {
            printable(name): value for name, value in record.metrics.items() if _is_worth_showing(name, value)
        },
        "known": None,
    }
    if "is_flipped" in issues:
        flipped = issues["is_flipped"].astype(bool)
        found = issues["is_issue"] & flipped
        facts["known"] = {
            "flipped": int(flipped.sum()),
            "found": int(found.sum()),
            "precision": found.sum() / number if number else math.nan,
            "recall": found.sum() / flipped.sum() if flipped.any() else math.nan,
        }
    return facts


def _setting(record: RunRecord, group: str, name: str) -> str | None:
    values = record.settings.get(group)
    value = values.get(name) if isinstance(values, dict) else None
    return None if value is None else _name(value)


def _name(value: Any) -> str:
    """Return a name as the page shows it: it may be anything, and a megabyte of it."""
    return printable(str(value)[:200])


def _is_worth_showing(name: str, value: Any) -> bool:
    is_score = name.endswith(("accuracy", "f1_macro", "f1_weighted")) or name.startswith("detection_")
    return is_score and isinstance(value, (int, float))


def _labels(record: RunRecord) -> list[dict[str, Any]]:
    lines = record.issues.per_label().to_dict("records")
    return [{**line, "label": _name(line["label"])} for line in lines]


def _settings(record: RunRecord) -> list[tuple[str, list[tuple[str, str]]]]:
    groups = []
    for name, values in record.settings.items():
        pairs = values.items() if isinstance(values, dict) else [("", values)]
        shown = [
            (printable(str(key)), printable(str(value)[:300]))
            for key, value in pairs
            if value not in (None, "", [], {})
        ]
        if shown:
            groups.append((printable(str(name)), shown))
    return groups


def _percent(value: float) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.1%}"


def _number(value: float) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "\u2013"
    return f"{value:,}" if isinstance(value, (int, np.integer)) else f"{value:,.3g}"


# ---- What is drawn ----


def _figures(record: RunRecord) -> dict[str, Any]:
    issues, names = record.issues, record.issues.label_names
    seen = issues[issues["visits"] > 0]
    drawn: dict[str, Any] = {}
    if len(seen) and seen["weight"].nunique() > 1:
        drawn["weights"] = lambda ax: figures.weight_histogram(issues, ax=ax)
    if np.isfinite(seen["aum"].to_numpy(np.float64)).any():
        drawn["margins"] = lambda ax: figures.margin_histogram(issues, ax=ax)
    if seen["confidence"].notna().any():
        drawn["map"] = lambda ax: figures.data_map(issues, ax=ax, most=figures.MAP_POINTS)
    if seen["runner_up_label"].notna().any():
        drawn["matrix"] = lambda ax: figures.noise_matrix(issues, ax=ax)
        drawn["similarity"] = lambda ax: figures.label_similarity(issues, ax=ax)
    if record.distances is not None and names is not None and len(names) == len(record.distances):
        shown = figures.closest_labels(issues) if "similarity" in drawn else None
        drawn["distances"] = lambda ax: figures.label_distances(record.distances, names, ax=ax, shown=shown)
    curves = {
        "loss_curves": (_LOSS_CURVES, "loss (nats)"),
        "weight_curves": (_WEIGHT_CURVES, "weight, share"),
        "margin_curves": (_MARGIN_CURVES, "label-aware margin (logits)"),
        "score_curves": (_SCORE_CURVES, "score (0 to 1)"),
    }
    for name, (keys, label) in curves.items():
        if sum(any(key in line for key in keys) for line in record.log_history) > 1:
            drawn[name] = lambda ax, keys=keys, label=label: figures.training_curves(
                record.log_history, keys, ax=ax, label=label
            )
    many = names is not None and len(names) > _LABELS_ON_A_PHONE
    return {name: _svg(draw, name, _size(name, many)) for name, draw in drawn.items()}


def _size(name: str, many_labels: bool) -> tuple[float, float]:
    """Return a figure's size in inches: texts keep their size in points, so that smaller figures have larger ones."""
    if name not in ("matrix", "similarity", "distances"):
        return 4.9, 3.3
    return (5.8, 5.0) if many_labels else (4.9, 4.2)


def _svg(draw: Any, name: str, size: tuple[float, float]) -> Any:
    """Draw a figure as SVG for the page: in its colours, with its fonts, and with ids of its own."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("the report needs matplotlib: pip install 'lane_hf[report]'") from error
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "savefig.dpi": 160, "font.size": 9, **ink}
    file = io.StringIO()
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format")))
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    for colour, variable in ((figures.CLEAN, "--clean"), (figures.WRONG, "--flipped"), *_FURTHER_COLOURS):
        text = text.replace(colour.lower(), f"var({variable})")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Sizes in points would keep it from shrinking with the page.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # Figures number their parts alike: without this one would be drawn with the other's shapes.
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return _trusted(text)  # matplotlib escapes the names in it


# ---- The table ----


def table_rows(record: RunRecord, most: int) -> dict[str, Any]:
    """Return the rows of the report's table, column by column, ready for JSON.

    Args:
        record: the run.
        most: how many of the most suspicious rows.
    """
    issues = record.issues
    rows = pd.DataFrame(issues).head(most)
    columns: dict[str, Any] = {
        "row_id": rows["row_id"].tolist(),
        "given": _codes(rows["given_label"], names := _names(issues)),
        "suggested": _codes(rows["suggested_label"], names),
        "runner_up": _codes(rows["runner_up_label"], names),
        "is_issue": rows["is_issue"].astype(int).tolist(),
        "visits": rows["visits"].tolist(),
    }
    for name in (
        *("suggestion_confidence", "noise_probability", "runner_up_share", "score"),
        *("alm", "aum", "confidence", "variability", "correctness", "weight"),
    ):
        columns[name] = [_rounded(value) for value in rows[name]]
    if "text" in rows:
        columns["text"] = [_excerpt(text) for text in rows["text"]]
    if "is_flipped" in rows:
        columns["is_flipped"] = rows["is_flipped"].astype(int).tolist()
    if record.margins is not None and record.margin_row_ids is not None:
        place = pd.Series(np.arange(len(record.margin_row_ids)), index=record.margin_row_ids)
        at = place.reindex(rows["row_id"]).to_numpy()
        columns["margins"] = [
            None if math.isnan(where) else [_rounded(value) for value in record.margins[:, int(where)]] for where in at
        ]
    labels = [_name(name) for name in names]
    return {"labels": labels, "total": len(issues), "columns": columns}


def _names(issues: pd.DataFrame) -> list[Any]:
    known = getattr(issues, "label_names", None)
    if known is not None:
        return list(known)
    both = pd.concat([issues["given_label"], issues["runner_up_label"], issues["suggested_label"]])
    return sorted(both.dropna().unique())


def _codes(column: pd.Series, names: Sequence[Any]) -> list[int]:
    found: list[int] = pd.Index(names).get_indexer(column).tolist()
    return found


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else float(f"{value:.4g}")


def _excerpt(text: Any) -> str:
    if text is None or pd.isna(text):
        return ""
    shown = printable(str(text)[: 4 * _TEXT_LENGTH])
    return shown if len(shown) <= _TEXT_LENGTH and len(text) <= 4 * _TEXT_LENGTH else f"{shown[:_TEXT_LENGTH]}…"


def for_script(value: Any) -> str:
    """Return JSON that can stand inside a script element, whatever the texts in it are.

    Example:
        >>> for_script({"text": "</script>"})
        '{"text":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
