"""The `lane` command.

Every error is one line on standard error that says what is wrong, where and what to do; the exit status is then 2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import InputError
from .summary import printable
from .version import __version__

if TYPE_CHECKING:
    import pandas as pd


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. See {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        The exit status: 0, or 2 if what the user gave is wrong.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["train"]:  # its two hundred arguments belong to the main job
        from .run import main as train

        return train(argv[1:], program="lane train")
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except InputError as error:
        # A message may quote a file: nothing in it shall steer the terminal.
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201 -- a command line
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stderr.close()
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lane", description="Train on labels you cannot trust, and find the wrong ones.")
    parser.add_argument("--version", action="version", version=f"lane_hf {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    commands.add_parser("train", help="fine-tune a classifier (see lane train --help)", add_help=False)
    _add_datasets(commands)
    _add_noise(commands)
    _add_augment(commands)
    return parser


def _add_datasets(commands: Any) -> None:
    parser = commands.add_parser("datasets", help="list the data sets that have a name, or describe one")
    parser.add_argument("name", nargs="?", help="one data set: what it is; with --data_dir also what is in it")
    parser.add_argument("--data_dir", help="folder with the files of its release (not needed for demo)")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    parser.set_defaults(run=_datasets)


def _add_noise(commands: Any) -> None:
    parser = commands.add_parser("noise", help="spoil labels of a table on purpose, and note which")
    _add_table_arguments(parser)
    parser.add_argument("--label_column", required=True, help="column of labels")
    parser.add_argument("--rate", type=float, required=True, help="share of the labels to spoil, in [0, 1]")
    parser.add_argument("--kind", default="uniform", choices=("shuffle", "uniform", "pair", "semantic"))
    parser.add_argument("--geometry", choices=("ordinal", "plutchik"), help="distances of the labels, for semantic")
    parser.add_argument("--label_order", nargs="+", help="labels from the lowest to the highest, for ordinal")
    parser.add_argument("--gamma", type=float, default=1.0, help="how strongly semantic noise prefers near labels")
    parser.add_argument("--seed", type=int, default=42)
    parser.set_defaults(run=_noise)


def _add_augment(commands: Any) -> None:
    parser = commands.add_parser("augment", help="write augmented texts as further columns of a table")
    _add_table_arguments(parser)
    parser.add_argument("--text_column", required=True, help="column of texts")
    parser.add_argument("--kind", default="synonym", choices=("synonym", "backtranslation"))
    parser.add_argument("--num_views", type=int, default=1, help="columns of synonym-replaced texts (default: 1)")
    parser.add_argument("--rate", type=float, default=0.1, help="share of the words that synonyms replace")
    parser.add_argument("--pivots", nargs="+", default=["de"], help="languages: one column by each (default: de)")
    parser.add_argument("--model_template", help="translation models, with {source} and {target} in the name")
    parser.add_argument("--cache_dir", help="where translations are kept, so that a killed run goes on")
    parser.add_argument("--batch_size", type=int, default=32, help="texts translated at once")
    parser.add_argument("--seed", type=int, default=42)
    parser.set_defaults(run=_augment)


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", help="csv, tsv, json, jsonl or parquet")
    parser.add_argument("--output", required=True, help="where the result goes, likewise; never the input itself")


# ---- Commands ----


def _datasets(arguments: argparse.Namespace) -> None:
    from .datasets import registry
    from .datasets.summary import describe

    if arguments.name is None:
        entries = [registry.entry(name) for name in registry.names()]
        rows = [(e.name, str(len(e.label_names)), e.geometry, e.metric, e.access.split(":")[0]) for e in entries]
        keys = ("name", "labels", "geometry", "metric", "access")
        _print(
            _dump([dict(zip(keys, row, strict=True)) for row in rows]) if arguments.json else _columns([keys, *rows])
        )
        return
    entry = registry.entry(arguments.name)
    wants_rows = arguments.data_dir is not None or entry.access == "package"
    if not wants_rows:
        _print(_dump(vars(entry)) if arguments.json else describe(entry))
        return
    from .datasets.summary import summarise

    data, report = registry.load_with_report(arguments.name, arguments.data_dir)
    summary = summarise(data)
    if arguments.json:
        _print(_dump({"entry": vars(entry), "report": vars(report), "summary": summary}))
    else:
        _print("\n".join([describe(entry), "", report.to_text(), "", _summary_table(summary)]))


def _noise(arguments: argparse.Namespace) -> None:
    from .label_space import distances_for, named_ordinal_distances
    from .noise import FLIPPED_COLUMN, ORIGINAL_COLUMN, inject

    table = _read(arguments, FLIPPED_COLUMN, ORIGINAL_COLUMN)
    labels = _cells(table, arguments.label_column)
    names = sorted(set(map(str, labels)))
    distances = None
    if arguments.kind == "semantic" and arguments.geometry == "ordinal":
        distances = named_ordinal_distances(names, arguments.label_order)
    elif arguments.kind == "semantic":
        distances = distances_for(arguments.geometry or "none", names)
    numbers = [names.index(str(label)) for label in labels]
    noisy = inject(
        numbers,
        arguments.kind,
        rate=arguments.rate,
        seed=arguments.seed,
        num_labels=len(names),
        distances=distances,
        gamma=arguments.gamma,
    )
    originals = dict(zip(map(str, labels), labels, strict=True))
    table[ORIGINAL_COLUMN] = labels
    table[arguments.label_column] = [originals[names[number]] for number in noisy.labels]
    table[FLIPPED_COLUMN] = noisy.is_flipped
    _write(table, arguments)
    _print(f"{noisy.is_flipped.sum()} of {len(table)} labels are now wrong: {arguments.output}")


def _augment(arguments: argparse.Namespace) -> None:
    if arguments.num_views < 1:
        raise InputError(f"num_views must be at least 1, got {arguments.num_views}")
    column = arguments.text_column
    if arguments.kind == "backtranslation":
        new = [f"{column}_{pivot}" for pivot in arguments.pivots]
    else:
        new = [f"{column}_view_{number}" for number in range(1, arguments.num_views + 1)]
    table = _read(arguments, *new)
    texts = _cells(table, column)
    if any(not isinstance(text, str) for text in texts):
        raise InputError(f"{arguments.table}: column {column!r} holds something else than texts")
    for number, name in enumerate(new):
        table[name] = _reworded(texts, number, arguments)
    _write(table, arguments)
    _print(f"{len(new)} new column{'s' if len(new) > 1 else ''} ({', '.join(new)}): {arguments.output}")


def _reworded(texts: list[str], number: int, arguments: argparse.Namespace) -> list[str]:
    if arguments.kind == "synonym":
        from .augmentation.collator import view_seed
        from .augmentation.synonym import SynonymReplacement

        replace = SynonymReplacement(arguments.rate)
        return [replace.augment(text, view_seed(arguments.seed, row, 0, number)) for row, text in enumerate(texts)]
    from .augmentation.backtranslation import DEFAULT_TEMPLATE, BackTranslation

    translate = BackTranslation(
        (arguments.pivots[number],),
        model_template=arguments.model_template or DEFAULT_TEMPLATE,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        cache_dir=arguments.cache_dir,
    )
    return translate(texts)


# ---- Tables in and out ----


def _read(arguments: argparse.Namespace, *new_columns: str) -> "pd.DataFrame":
    from .datasets.tables import SUFFIXES, read_table

    output = Path(arguments.output)
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output}: unknown kind of file, expected one of {', '.join(SUFFIXES)}")
    if output.exists() and Path(arguments.table).exists() and output.samefile(arguments.table):
        raise InputError(f"{output}: the input would be overwritten, name another file")
    table = read_table(arguments.table)
    taken = [column for column in new_columns if column in table.columns]
    if taken:
        raise InputError(f"{arguments.table}: there is a column {taken[0]!r} already, rename or remove it")
    return table


def _cells(table: "pd.DataFrame", column: str) -> list[Any]:
    if column not in table.columns:
        raise InputError(f"there is no column {column!r}: the columns are {', '.join(map(repr, table.columns))}")
    cells = table[column].tolist()
    missing = [row for row, cell in enumerate(cells) if cell is None]
    if missing:
        raise InputError(
            f"column {column!r} is empty in {len(missing)} rows (first: row {missing[0]}): fill or remove them"
        )
    return cells


def _write(table: "pd.DataFrame", arguments: argparse.Namespace) -> None:
    from .datasets.tables import write_table

    write_table(table, arguments.output)


# ---- Words ----


def _print(text: str) -> None:
    print(text)  # noqa: T201 -- a command line


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=dict)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _summary_table(summary: dict[str, Any]) -> str:
    rows: list[Sequence[str]] = [("split", "rows", "labels", "words (median, 95%)", "duplicates", "in two labels")]
    for split, facts in summary["splits"].items():
        words = facts["words"]
        used = sum(count > 0 for count in facts["labels"].values())
        lengths = f"{words['median']:g}, {words['p95']:g}"
        numbers = (facts["rows"], used, lengths, facts["duplicates"], facts["conflicts"])
        rows.append((split, *map(str, numbers)))
    shared = [f"{pair}: {count}" for pair, count in summary["across"].items() if count]
    lines = [_columns(rows), f"Texts in two splits: {', '.join(shared) if shared else 'none'}"]
    return "\n".join(lines)
