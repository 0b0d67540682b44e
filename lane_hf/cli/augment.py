"""`lane augment`: write augmented texts as further columns of a table."""

import argparse
from typing import Any

from ..errors import InputError
from .output import say
from .tables import add_table_arguments, cells_of, read_input, write_output


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
    if arguments.num_views < 1:
        raise InputError(f"num_views must be at least 1, got {arguments.num_views}")
    column = arguments.text_column
    if arguments.kind == "backtranslation":
        new = [f"{column}_{pivot}" for pivot in arguments.pivots]
    else:
        new = [f"{column}_view_{number}" for number in range(1, arguments.num_views + 1)]
    table = read_input(arguments, *new)
    texts = cells_of(table, column)
    if any(not isinstance(text, str) for text in texts):
        raise InputError(f"{arguments.table}: column {column!r} holds something else than texts")
    for number, name in enumerate(new):
        table[name] = _reworded(texts, number, arguments)
    write_output(table, arguments)
    say(f"{len(new)} new column{'s' if len(new) > 1 else ''} ({', '.join(new)}): {arguments.output}")


def _reworded(texts: list[str], number: int, arguments: argparse.Namespace) -> list[str]:
    if arguments.kind == "synonym":
        from ..augmentation.collator import view_seed
        from ..augmentation.synonym import SynonymReplacement

        replace = SynonymReplacement(arguments.rate)
        return [replace.augment(text, view_seed(arguments.seed, row, 0, number)) for row, text in enumerate(texts)]
    from ..augmentation.backtranslation import DEFAULT_TEMPLATE, BackTranslation

    translate = BackTranslation(
        (arguments.pivots[number],),
        model_template=arguments.model_template or DEFAULT_TEMPLATE,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        cache_dir=arguments.cache_dir,
    )
    return translate(texts)
