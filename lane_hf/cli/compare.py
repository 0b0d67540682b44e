"""`lane compare`: training runs side by side."""

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..display import excerpt, printable
from ..errors import InputError
from .output import add_json_argument, as_json, say, say_table
from .settings import GROUPS, group_of

if TYPE_CHECKING:
    import pandas as pd

    from ..report.run_record import RunRecord

_METRICS = (
    "test_accuracy",
    "test_f1_macro",
    "eval_accuracy",
    "eval_f1_macro",
    "detection_auroc",
    "detection_average_precision",
    "train_runtime",
)
# They name files and machines, not what was done.
_NOT_SETTINGS = ("output_dir", "logging_dir", "run_name", "local_rank")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("compare", help="compare training runs: results, settings, and their issues")
    parser.add_argument("run_dirs", nargs="+", metavar="run_dir", help="output_dir of a training run")
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..report.run_record import read_run

    names = arguments.run_dirs
    if len(names) < 2 or len({Path(name).resolve() for name in names}) < len(names):  # noqa: PLR2004 -- a comparison
        raise InputError("give at least two different runs to compare")
    records = {name: read_run(name) for name in names}
    facts = {name: _facts(record) for name, record in records.items()}
    settings = _differing({name: _settings(record) for name, record in records.items()})
    shared = [_agreement(pair, records) for pair in combinations(names, 2)]
    if arguments.json:
        say(as_json({"runs": facts, "settings_that_differ": settings, "agreement": shared}))
        return
    keys = [key for key in next(iter(facts.values())) if any(own[key] is not None for own in facts.values())]
    say_table(
        [("", *names), *((key.replace("_", " "), *(_shown(own[key]) for own in facts.values())) for key in keys)]
    )
    say("\nSettings that differ:" if settings else "\nNo setting differs.")
    if settings:
        say_table([("", *names), *((key, *(_shown(own[name]) for name in names)) for key, own in settings.items())])
    say("")
    for pair in shared:
        say(printable(f"{' and '.join(pair['runs'])}: {pair['words']}"))


def _facts(record: "RunRecord") -> dict[str, Any]:
    from ..report.estimates import estimated_rate

    issues = record.issues
    facts = {"method": group_of(record.settings, "RunConfig").get("method")}
    facts |= {name: record.metrics.get(name) for name in _METRICS}
    number = int(issues["is_issue"].sum())
    return {**facts, "rows": len(issues), "issues": number, "noise_rate": estimated_rate(issues)}


def _settings(record: "RunRecord") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in GROUPS:
        own = group_of(record.settings, group)
        found |= {name: value for name, value in own.items() if name not in _NOT_SETTINGS}
    if "processes" in record.settings:
        found["processes"] = record.settings["processes"]
    return found


def _differing(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    keys = sorted({key for own in settings.values() for key in own})
    lines = {key: {name: own.get(key) for name, own in settings.items()} for key in keys}
    return {key: own for key, own in lines.items() if len({json.dumps(each) for each in own.values()}) > 1}


def _agreement(pair: tuple[str, str], records: dict[str, "RunRecord"]) -> dict[str, Any]:
    """Say how far the issues of two runs are the same rows."""
    tables = [records[name].issues for name in pair]
    rows = [set(table["row_id"]) for table in tables]
    if rows[0] != rows[1]:
        return {"runs": pair, "words": "trained on other rows, issues are not compared"}
    first, second = (set(table.loc[table["is_issue"], "row_id"]) for table in tables)
    both, either = len(first & second), len(first | second)
    jaccard = both / either if either else 1.0
    changed = _number_relabelled(*tables)
    words = f"{both} issues in common of {either} (Jaccard {jaccard:.2f})"
    if changed:  # other noise, a fix, or another data set that has as many rows
        words += f", but {changed} of {len(rows[0])} rows were trained with another label"
    facts = {"in_common": both, "in_either": either, "jaccard": jaccard, "rows_with_another_label": changed}
    return {"runs": pair, **facts, "words": words}


def _number_relabelled(first: "pd.DataFrame", second: "pd.DataFrame") -> int:
    """Return how many rows were given another label; rows that one of the runs never saw do not count."""
    one, other = (
        table.drop_duplicates("row_id").set_index("row_id")["given_label"].dropna().astype("string")
        for table in (first, second)
    )
    shared = one.index.intersection(other.index)
    return int((one[shared] != other[shared]).sum())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else excerpt(str(value))
