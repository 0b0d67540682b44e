"""`lane fix`: relabel or drop the wrong labels of a training table, or let people decide."""

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import InputError, naming
from .checks import check_new, check_suffix
from .output import add_json_argument, as_json, counted, say
from .trained_table import TrainedTable, trained_table

if TYPE_CHECKING:
    from ..report.fix import Fixed
    from ..report.run_record import RunRecord

_MIN_CONFIDENCE = 0.9


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("fix", help="relabel or drop wrong labels, or queue them for review")
    parser.add_argument("run_dir", help="output_dir of the training run")
    parser.add_argument("--output", required=True, help="the new table, or the queue (.jsonl) for review")
    how = parser.add_argument_group("how")
    how.add_argument("--action", choices=("relabel", "drop", "review"), help="what to do (default: relabel)")
    how.add_argument("--min_confidence", type=float, help="change only what is so certain (default: 0.9)")
    how.add_argument("--from", dest="decisions", help="apply people's decisions instead: a reviewed queue or table")
    how.add_argument("--changes", help="write the log of changes: csv, tsv, json, jsonl or parquet")
    which = parser.add_argument_group("which table")
    which.add_argument("--table", help="the table that was trained on (default: the run's train_file)")
    which.add_argument("--label_column", help="its column of labels (default: as in training, else guessed)")
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..report.run_record import read_run

    _check(arguments)
    record = read_run(arguments.run_dir)
    if arguments.action == "review":
        _queue(record, arguments)
        return
    table = trained_table(record, arguments.table, arguments.label_column)
    fixed, expected = _fixed(record, table, arguments)
    _write(table.shown(fixed), arguments, expected)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what contradicts itself, and files that cannot be written, before anything is done."""
    names = {"min_confidence": "min_confidence", "decisions": "from", "changes": "changes", "table": "table"}
    given = [name for key, name in names.items() if getattr(arguments, key) is not None]
    if arguments.action == "review":
        if given:
            raise InputError(f"--action review only writes a queue of all issues: leave --{given[0]} out")
        check_new(arguments.output)
        return
    if arguments.decisions is not None and (arguments.action is not None or "min_confidence" in given):
        raise InputError("--from does what people decided: leave --action and --min_confidence out")
    outputs = [path for path in (arguments.output, arguments.changes) if path is not None]
    for path in outputs:
        check_suffix(path)
    check_new(*outputs)


def _queue(record: "RunRecord", arguments: argparse.Namespace) -> None:
    from ..report.review import write_review_queue

    paths = write_review_queue(record.issues, arguments.output)
    number = int(record.issues["is_issue"].sum())
    if arguments.json:
        say(as_json({"queue": list(map(str, paths)), "number_of_rows": number}))
        return
    say(f"Queue for review: {counted(number, 'row')}, worst first: {' and '.join(map(str, paths))}")
    say(f"Fill in decision and new_label, then: lane fix {arguments.run_dir} --from {paths[0]} --output FILE")


def _fixed(record: "RunRecord", table: TrainedTable, arguments: argparse.Namespace) -> "tuple[Fixed, str]":
    """Return the fixed table and what to expect of it, which is said before anything is written."""
    from ..datasets.tables import read_table
    from ..report.decisions import apply_decisions, has_decision
    from ..report.fix import expectation, fix_table, plan

    columns: Any = {"label_column": table.label_column, "text_column": table.text_column}
    if arguments.decisions is not None:
        decisions = read_table(arguments.decisions)
        with naming(arguments.decisions):
            fixed = apply_decisions(table.rows, decisions, record.issues, **columns)
        number = int(has_decision(decisions).sum())
        expected = f"{len(fixed.changes)} of the {counted(number, 'row')} that people decided on will change."
    else:
        confidence = _MIN_CONFIDENCE if arguments.min_confidence is None else arguments.min_confidence
        action = arguments.action or "relabel"
        changes = plan(record.issues, min_confidence=confidence, action=action)
        expected = expectation(record.issues, changes, action)
        fixed = fix_table(table.rows, record.issues, min_confidence=confidence, action=action, **columns)
    if not arguments.json:
        say(expected)
    return fixed, expected


def _write(fixed: "Fixed", arguments: argparse.Namespace, expected: str) -> None:
    from ..table_writer import write_table

    write_table(fixed.data, arguments.output)
    if arguments.changes is not None:
        write_table(fixed.changes, arguments.changes)
    dropped = int(fixed.changes["after"].isna().sum())
    changed = len(fixed.changes) - dropped
    if arguments.json:
        facts = {"output": arguments.output, "changes": arguments.changes, "expected": expected}
        say(as_json({**facts, "labels_changed": changed, "rows_dropped": dropped, "number_of_rows": len(fixed.data)}))
        return
    say(f"{counted(changed, 'label')} changed, {counted(dropped, 'row')} dropped: {arguments.output}")
    if arguments.changes is not None:
        say(f"Log of changes: {arguments.changes}")
