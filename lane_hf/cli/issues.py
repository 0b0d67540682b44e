"""`lane issues`: what a training run has found out about the labels."""

import argparse
import math
from typing import TYPE_CHECKING, Any

from ..display import excerpt, listed, quoted
from ..errors import InputError
from .checks import check_new, check_share, check_suffix
from .output import add_json_argument, as_json, counted, say, say_table, share

if TYPE_CHECKING:
    import pandas as pd

    from ..report.label_issues import LabelIssues


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("issues", help="show which labels of a training run look wrong")
    parser.add_argument("run_dir", help="output_dir of the training run")
    what = parser.add_argument_group("which rows")
    what.add_argument("--label", nargs="+", help="only rows with these given labels")
    what.add_argument("--only_issues", action="store_true", help="only rows that are marked as issues")
    what.add_argument("--min_confidence", type=float, default=0.0, help="only suggestions at least so probable")
    what.add_argument("--number", type=int, default=20, help="how many rows are shown (default: 20)")
    out = parser.add_argument_group("output")
    out.add_argument("--output", help="write all these rows, with texts, into a new csv, tsv, json, jsonl or parquet")
    add_json_argument(out)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..report.run_record import read_run
    from ..table_writer import write_table

    if arguments.number < 0:
        raise InputError(f"number must not be negative, got {arguments.number}")
    check_share("min_confidence", arguments.min_confidence)
    if arguments.output is not None:
        check_suffix(arguments.output)
        check_new(arguments.output)
    issues = read_run(arguments.run_dir).issues
    rows = _chosen(issues, arguments)
    if arguments.json:
        shown = rows.head(arguments.number).drop(columns="text", errors="ignore")
        cells = shown.astype(object).where(shown.notna(), None).to_dict("records")
        labels = issues.per_label().to_dict("records")
        say(as_json({**summary_of(issues), "labels": labels, "rows": cells}))
    else:
        _say_summary(issues)
        _say_labels(issues)
        _say_rows(rows.head(arguments.number), len(rows))
    if arguments.output is not None:
        write_table(rows, arguments.output)
        if not arguments.json:
            say(f"\n{counted(len(rows), 'row')}: {arguments.output}")


def summary_of(issues: "LabelIssues") -> dict[str, Any]:
    """Return the numbers that describe a label table as a whole."""
    rate = issues.noise_rate()
    return {
        "number_of_rows": len(issues),
        "number_of_issues": int(issues["is_issue"].sum()),
        "noise_rate": rate.estimate,
        "noise_rate_interval": [rate.low, rate.high],
        "expected_precision": issues.expected_precision(),
    }


def _chosen(issues: "LabelIssues", arguments: argparse.Namespace) -> "pd.DataFrame":
    rows = issues[issues["suggestion_confidence"].fillna(0.0) >= arguments.min_confidence]
    if arguments.only_issues:
        rows = rows[rows["is_issue"]]
    if arguments.label is not None:
        known = {str(label) for label in (issues.label_names or issues["given_label"].dropna().unique())}
        unknown = [label for label in arguments.label if label not in known]
        if unknown:
            raise InputError(f"there is no label {quoted(unknown[0])}: the labels are {listed(sorted(known))}")
        rows = rows[rows["given_label"].astype("string").isin(arguments.label)]
    return rows


def _say_summary(issues: "LabelIssues") -> None:
    facts = summary_of(issues)
    low, high = facts["noise_rate_interval"]
    number, total = facts["number_of_issues"], facts["number_of_rows"]
    unseen = int((issues["visits"] == 0).sum())
    say(f"{number} of {counted(total, 'row')} ({number / total:.1%}) are marked as issues.")
    if unseen:
        say(f"Not seen in training: {counted(unseen, 'row')}, of whose labels nothing is known.")
    if unseen < total:
        say(f"Estimated noise rate: {share(facts['noise_rate'])} (95% interval {share(low)} to {share(high)})")
    if number:
        say(f"Expected precision of the issues: {share(facts['expected_precision'])}")
    if "is_flipped" in issues:
        flipped = issues["is_flipped"]
        say(f"Known flips: {int(flipped.sum())}, of which {int((flipped & issues['is_issue']).sum())} are found")


def _say_labels(issues: "LabelIssues") -> None:
    lines = issues.per_label()
    rows = [("label", "rows", "issues", "noise rate", "suggested for others")]
    for line in lines.itertuples():
        rate = share(line.noise_rate) if line.rows else "-"
        rows.append((excerpt(str(line.label)), str(line.rows), str(line.issues), rate, str(line.received)))
    say("")
    say_table(rows)
    for line in lines[lines["note"] != ""].itertuples():
        say(f"Warning: {excerpt(str(line.label))}: {line.note}")


def _say_rows(rows: "pd.DataFrame", total: int) -> None:
    if rows.empty:
        say("\nNo row is chosen." if total == 0 else "")
        return
    has_text, has_flips = "text" in rows, "is_flipped" in rows
    heading = ["row", "given", "suggested", "confidence", "score"]
    table = [(*heading, *(["flipped"] if has_flips else []), *(["text"] if has_text else []))]
    for row in rows.itertuples():
        cells = [str(row.row_id), *(_name(label) for label in (row.given_label, row.suggested_label))]
        cells += [_number(row.suggestion_confidence), _number(row.score)]
        cells += ["yes" if row.is_flipped else "no"] if has_flips else []
        cells += [excerpt(_name(row.text))] if has_text else []
        table.append(tuple(cells))
    say(f"\nThe {len(rows)} most suspicious of {counted(total, 'row')}:")
    say_table(table)


def _name(cell: Any) -> str:
    import pandas as pd

    return "" if pd.isna(cell) else excerpt(str(cell))


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
