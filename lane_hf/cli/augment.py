"""`lane augment`: write augmented texts as further columns of a table."""

import argparse
import sys
from typing import Any

from ..display import quoted
from ..errors import InputError
from .output import counted, progress, say_result
from .tables import add_table_arguments, cells_of, read_input


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("augment", help="write augmented texts as further columns of a table")
    add_table_arguments(parser)
    parser.add_argument("--text_column", required=True, help="column of texts")
    parser.add_argument("--kind", default="synonym", choices=("synonym", "backtranslation"))
    parser.add_argument("--num_views", type=int, default=1, help="columns of synonym-replaced texts (default: 1)")
    parser.add_argument("--rate", type=float, default=0.1, help="share of the words that synonyms replace")
    parser.add_argument("--pivots", nargs="+", default=["de"], help="languages: one column by each (default: de)")
    parser.add_argument("--model_template", help="translation models, with {source} and {target} in the name")
    parser.add_argument("--cache_dir", help="where translations are kept, so that a killed run goes on")
    parser.add_argument("--batch_size", type=int, default=32, help="texts translated at once")
    parser.add_argument("--seed", type=int, default=42)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..table_writer import write_table

    if arguments.num_views < 1:
        raise InputError(f"num_views must be at least 1, got {arguments.num_views}")
    if len(set(arguments.pivots)) < len(arguments.pivots):
        raise InputError(f"a language occurs twice in --pivots {' '.join(arguments.pivots)}: name each once")
    column = arguments.text_column
    if arguments.kind == "backtranslation":
        new = [f"{column}_{pivot}" for pivot in arguments.pivots]
    else:
        new = [f"{column}_view_{number}" for number in range(1, arguments.num_views + 1)]
    table = read_input(arguments, *new)
    texts = cells_of(table, column, arguments.table)
    wrong = [row for row, text in enumerate(texts) if not isinstance(text, str)]
    if wrong:
        raise InputError(
            f"{arguments.table}: column {quoted(column)} holds something else than texts (first: row {wrong[0]}): "
            "name the column of texts with --text_column"
        )
    for number, name in enumerate(new):
        table[name] = _reworded(texts, number, arguments)
    write_table(table, arguments.output)
    facts = {"output": arguments.output, "number_of_rows": len(table), "new_columns": new}
    say_result(arguments, f"{counted(len(new), 'new column')} ({', '.join(new)}): {arguments.output}", facts)


def _reworded(texts: list[str], number: int, arguments: argparse.Namespace) -> list[str]:
    if arguments.kind == "synonym":
        from ..augmentation.collator import view_seed
        from ..augmentation.synonym import SynonymReplacement

        replace = SynonymReplacement(arguments.rate)
        rows = progress(enumerate(texts), len(texts), f"View {number + 1}")
        return [replace.augment(text, view_seed(arguments.seed, row, 0, number)) for row, text in rows]
    from ..augmentation.backtranslation import DEFAULT_TEMPLATE, BackTranslation

    translate = BackTranslation(
        (arguments.pivots[number],),
        model_template=arguments.model_template or DEFAULT_TEMPLATE,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        cache_dir=arguments.cache_dir,
        progress_bar=sys.stderr.isatty(),
    )
    return translate(texts)
