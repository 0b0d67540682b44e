"""`lane datasets`: list the data sets that have a name, or describe one."""

import argparse
from collections.abc import Sequence
from typing import Any

from .output import add_json_argument, as_json, columns, say, say_table


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("datasets", help="list the data sets that have a name, or describe one")
    parser.add_argument("name", nargs="?", help="one data set: what it is; with --data_dir also what is in it")
    parser.add_argument("--data_dir", help="folder with the files of its release (not needed for demo)")
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..datasets import registry
    from ..datasets.summary import describe

    if arguments.name is None:
        entries = [registry.entry(name) for name in registry.names()]
        rows = [(e.name, str(len(e.label_names)), e.geometry, e.metric, e.access.split(":")[0]) for e in entries]
        keys = ("name", "labels", "geometry", "metric", "access")
        if arguments.json:
            say(as_json([dict(zip(keys, row, strict=True)) for row in rows]))
        else:
            say_table([keys, *rows])
        return
    entry = registry.entry(arguments.name)
    wants_rows = arguments.data_dir is not None or entry.access == "package"
    if not wants_rows:
        say(as_json(vars(entry)) if arguments.json else describe(entry))
        return
    from ..datasets.summary import summarise

    data, report = registry.load_with_report(arguments.name, arguments.data_dir)
    summary = summarise(data)
    if arguments.json:
        say(as_json({"entry": vars(entry), "report": vars(report), "summary": summary}))
    else:
        say("\n".join([describe(entry), "", report.to_text(), "", _summary_table(summary)]))


def _summary_table(summary: dict[str, Any]) -> str:
    rows: list[Sequence[str]] = [("split", "rows", "labels", "words (median, 95%)", "duplicates", "in two labels")]
    for split, facts in summary["splits"].items():
        words = facts["words"]
        used = sum(count > 0 for count in facts["labels"].values())
        lengths = f"{words['median']:g}, {words['p95']:g}"
        numbers = (facts["rows"], used, lengths, facts["duplicates"], facts["conflicts"])
        rows.append((split, *map(str, numbers)))
    shared = [f"{pair}: {count}" for pair, count in summary["across"].items() if count]
    lines = [columns(rows), f"Texts in two splits: {', '.join(shared) if shared else 'none'}"]
    return "\n".join(lines)
