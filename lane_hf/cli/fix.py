"""`lane fix`: relabel or drop the wrong labels of a training table, or let people decide."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .output import say

if TYPE_CHECKING:
    import pandas as pd

    from ..report.run_record import RunRecord


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("fix", help="relabel or drop wrong labels, or queue them for review")
    parser.add_argument("run_dir", help="output_dir of the training run")
    parser.add_argument("--output", required=True, help="the new table, or the queue (.jsonl) for review")
    how = parser.add_argument_group("how")
    how.add_argument("--action", default="relabel", choices=("relabel", "drop", "review"))
    how.add_argument("--min_confidence", type=float, default=0.9, help="change only what is so certain (default: 0.9)")
    how.add_argument("--from", dest="decisions", help="apply people's decisions instead: a reviewed queue or table")
    how.add_argument("--changes", help="write the log of changes: csv, tsv, json, jsonl or parquet")
    which = parser.add_argument_group("which table")
    which.add_argument("--table", help="the table that was trained on (default: the run's train_file)")
    which.add_argument("--label_column", help="its column of labels (default: as in training, else label)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..datasets.tables import read_table, write_table
    from ..report.decisions import apply_decisions
    from ..report.fix import expectation, fix_table, plan
    from ..report.review import write_review_queue
    from ..report.run_record import read_run

    record = read_run(arguments.run_dir)
    if arguments.action == "review":
        if arguments.decisions is not None or arguments.changes is not None:
            raise InputError("--action review changes nothing: leave --from and --changes out")
        for path in write_review_queue(record.issues, arguments.output):
            say(f"Queue for review: {path}")
        return
    for path in filter(None, (arguments.output, arguments.changes)):
        _check_output(path)
    table, label_column = _table(record, arguments)
    if arguments.decisions is not None:
        decisions = read_table(arguments.decisions)
        fixed = apply_decisions(table, decisions, record.issues, label_column=label_column)
        say(f"{len(decisions)} rows were decided.")
    else:
        options = {"min_confidence": arguments.min_confidence, "action": arguments.action}
        say(expectation(record.issues, plan(record.issues, **options), arguments.action))
        fixed = fix_table(table, record.issues, label_column=label_column, **options)
    write_table(fixed.data, arguments.output)
    dropped = int(fixed.changes["after"].isna().sum())
    say(f"{len(fixed.changes) - dropped} labels changed, {dropped} rows dropped: {arguments.output}")
    if arguments.changes is not None:
        write_table(fixed.changes, arguments.changes)
        say(f"Log of changes: {arguments.changes}")


def _check_output(path: str) -> None:
    from ..datasets.tables import SUFFIXES

    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    if Path(path).exists():
        raise InputError(f"{path} exists already: nothing is overwritten, name another file")


def _table(record: "RunRecord", arguments: argparse.Namespace) -> "tuple[pd.DataFrame, str]":
    """Return the table that was trained on, and its column of labels."""
    from ..datasets.columns import label_column_of
    from ..datasets.tables import read_table

    data = record.settings.get("DataArguments", {})
    as_it_was = not data.get("max_train_samples") and not data.get("label_noise")
    path = arguments.table or (data.get("train_file") if as_it_was else None)
    if path is not None:
        table = read_table(path)
        return table, arguments.label_column or data.get("label_column") or label_column_of(table)
    if not data:
        raise InputError(f"{arguments.run_dir} does not say what was trained on: give --table")
    return _rebuilt(record.settings), "label"


def _rebuilt(settings: dict[str, Any]) -> "pd.DataFrame":
    """Return the very rows that were trained on: a part of a data set, with the labels that were spoiled."""
    from dataclasses import fields

    from ..run_arguments import DataArguments
    from ..run_data import prepare_data

    known = {each.name for each in fields(DataArguments)}
    data = DataArguments(**{name: value for name, value in settings["DataArguments"].items() if name in known})
    config = argparse.Namespace(seed=settings.get("RunConfig", {}).get("seed", 42), steps_chosen=set())
    rows = prepare_data(data, config)["train"]  # type: ignore[arg-type]  # it asks for the seed and the steps only
    table: pd.DataFrame = rows.to_pandas()
    return table.assign(label=[rows.features["label"].names[code] for code in table["label"]])
