"""`lane noise`: spoil labels of a table on purpose."""

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import InputError, naming
from .output import say_result
from .tables import add_table_arguments, cells_of, read_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("noise", help="spoil labels of a table on purpose, and note which")
    add_table_arguments(parser)
    parser.add_argument("--label_column", required=True, help="column of labels")
    parser.add_argument("--rate", type=float, required=True, help="share of the labels to spoil, in [0, 1]")
    parser.add_argument("--kind", default="uniform", choices=("shuffle", "uniform", "pair", "semantic"))
    parser.add_argument("--geometry", choices=("ordinal", "plutchik"), help="distances of the labels, for semantic")
    parser.add_argument("--label_order", nargs="+", help="labels from the lowest to the highest, for ordinal")
    parser.add_argument("--gamma", type=float, help="how strongly semantic noise prefers near labels (default: 1)")
    parser.add_argument("--seed", type=int, default=42)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from ..datasets.columns import label_names_of
    from ..label_name import label_name
    from ..noise import FLIPPED_COLUMN, ORIGINAL_COLUMN, inject
    from ..table_writer import write_table

    _check(arguments)
    table = read_input(arguments, FLIPPED_COLUMN, ORIGINAL_COLUMN)
    labels = cells_of(table, arguments.label_column, arguments.table)
    with naming(arguments.table):
        names = label_names_of(labels, arguments.label_column)
    given = [label_name(label) for label in labels]
    distances = _distances(arguments, names)
    number_of = {name: number for number, name in enumerate(names)}
    numbers = [number_of[name] for name in given]
    noisy = inject(
        numbers,
        arguments.kind,
        rate=arguments.rate,
        seed=arguments.seed,
        num_labels=len(names),
        distances=distances,
        gamma=1.0 if arguments.gamma is None else arguments.gamma,
    )
    cells = dict(zip(given, labels, strict=True))
    table[ORIGINAL_COLUMN] = labels
    table[arguments.label_column] = [
        label if number == before else cells[names[number]]
        for label, before, number in zip(labels, numbers, noisy.labels, strict=True)
    ]
    table[FLIPPED_COLUMN] = noisy.is_flipped
    write_table(table, arguments.output)
    number = int(noisy.is_flipped.sum())
    facts = {"output": arguments.output, "number_of_rows": len(table), "number_of_flips": number}
    say_result(arguments, f"{number} of {len(table)} labels are now wrong: {arguments.output}", facts)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would have no effect, and semantic noise without distances, before anything is read."""
    semantic = {"geometry": arguments.geometry, "label_order": arguments.label_order, "gamma": arguments.gamma}
    given = [name for name, value in semantic.items() if value is not None]
    if arguments.kind != "semantic" and given:
        raise InputError(f"--{given[0]} belongs to --kind semantic: {arguments.kind} noise knows no distances")
    if arguments.kind == "semantic" and arguments.geometry is None:
        raise InputError(
            "--kind semantic needs distances of the labels: give --geometry ordinal (with --label_order) or plutchik "
            "(labels are emotions)"
        )
    if arguments.label_order is not None and arguments.geometry != "ordinal":
        raise InputError("--label_order belongs to --geometry ordinal: leave it out")


def _distances(arguments: argparse.Namespace, names: list[str]) -> "NDArray[np.float64] | None":
    from ..label_space import distances_for, named_ordinal_distances

    if arguments.kind != "semantic":
        return None
    if arguments.geometry == "ordinal":
        return named_ordinal_distances(names, arguments.label_order)
    return distances_for(arguments.geometry, names)
