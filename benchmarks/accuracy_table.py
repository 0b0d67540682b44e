"""Turn the lines of `accuracy.py` into tables and figures: mean and standard deviation over seeds, the best in bold.

    python benchmarks/accuracy_table.py results.jsonl                                print all tables
    python benchmarks/accuracy_table.py results.jsonl --into docs/reference/methods.md --name methods
    python benchmarks/accuracy_table.py results.jsonl --overview                     one table of all data sets
    python benchmarks/accuracy_table.py results.jsonl --summary                      the default against plain training
    python benchmarks/accuracy_table.py results.jsonl --together                     means over all cells
    python benchmarks/accuracy_table.py results.jsonl --draw rates --figure rates.svg        by share of wrong labels
    python benchmarks/accuracy_table.py results.jsonl --draw epochs --figure epochs.svg      after each epoch

With `--into`, what stands between `<!-- table: NAME -->` and `<!-- end of table -->` in the file is replaced. A table
is about one data set, one noise and one setting of the runs. Columns:

- `last`: test accuracy and macro-F1 after the last epoch, what a user without clean labels gets;
- `best epoch`: test accuracy after the epoch that is best on the noisy validation set;
- `memorised`: share of the flipped training rows that the final model gives their wrong label;
- `AUROC`: how well the method's own score ranks flipped rows;
- `steps`: optimizer steps of all stages, relative to those of `plain`.
"""

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from accuracy_figures import DRAW, panels_of
from documents import replace_table

NOTHING = "-"
LAST = ("test_accuracy", "test_f1_macro")
Line = dict[str, Any]
COLUMNS: dict[str, tuple[Callable[[Line], float | None], int]] = {
    "last accuracy": (lambda line: 100 * line["epochs"][-1]["test_accuracy"], 1),
    "last macro-F1": (lambda line: 100 * line["epochs"][-1]["test_f1_macro"], 1),
    "best epoch": (lambda line: 100 * best_epoch(line)["test_accuracy"], 1),
    "memorised": (lambda line: None if "memorised" not in line else 100 * line["memorised"], -1),
    "AUROC": (lambda line: line.get("detection_auroc"), 1),
}


def best_epoch(line: Line) -> dict[str, float]:
    """Return the scores after the epoch that is best on the noisy validation set; of equals the first."""
    return max(line["epochs"], key=lambda epoch: epoch["validation_accuracy"])


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean, and the standard deviation (n - 1) if there is more than one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def cell(values: Sequence[float], digits: int, is_best: bool) -> str:
    mean, deviation = mean_and_deviation(values)
    shown = f"**{mean:.{digits}f}**" if is_best else f"{mean:.{digits}f}"
    return shown if deviation is None else f"{shown} ± {deviation:.{digits}f}"


def values_of(lines: Iterable[Line], value: Callable[[Line], float | None]) -> list[float]:
    """Return what the lines have of a value; language models, for one, memorise nothing."""
    return [found for line in lines if (found := value(line)) is not None]


def table(lines: Iterable[Line]) -> str:
    """Return the markdown table of the lines of one data set, noise and setting.

    Methods stand in the order in which they first occur.
    """
    methods: dict[str, list[Line]] = {}
    for line in lines:
        methods.setdefault(line["method"], []).append(line)
    seeds = {method: len({line["seed"] for line in own}) for method, own in methods.items()}
    several = len(set(seeds.values())) > 1
    columns = {}
    for name, (value, sign) in COLUMNS.items():
        found = {method: values_of(own, value) for method, own in methods.items()}
        means = {method: statistics.fmean(values) for method, values in found.items() if values}
        if not means:
            continue  # without flipped rows there is nothing to find or to memorise
        best = max(means.values(), key=lambda mean: sign * mean)
        digits = 3 if name == "AUROC" else 1
        columns[name] = {m: cell(v, digits, means[m] == best) if v else NOTHING for m, v in found.items()}
    steps = {method: values_of(own, lambda line: line.get("train_steps")) for method, own in methods.items()}
    if steps.get("plain"):
        base = statistics.fmean(steps["plain"])
        columns["steps"] = {m: f"{statistics.fmean(v) / base:.2f}" if v else NOTHING for m, v in steps.items()}
    if several:
        columns["seeds"] = {method: str(number) for method, number in seeds.items()}
    head = ["method", *columns]
    rows = [[f"`{method}`", *(column[method] for column in columns.values())] for method in methods]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def groups(lines: Iterable[Line]) -> dict[tuple[str, str, str], list[Line]]:
    """Return the lines by data set, noise and setting, in the order of the file."""
    found: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line["dataset"], line["noise"], line["settings"]), []).append(line)
    return found


def report(lines: Sequence[Line]) -> str:
    """Return all tables, each below a line that says what it is about."""
    parts = []
    for (dataset, noise, settings), own in groups(lines).items():
        seeds = ", ".join(map(str, sorted({line["seed"] for line in own})))
        versions = sorted({f"transformers {line['versions']['transformers']}, {line['device']}" for line in own})
        about = f"{dataset}, {noise}, seed {seeds} ({settings.replace(',', ', ')}; {'; '.join(versions)})"
        parts += [about, "", table(own), ""]
    return "\n".join(parts).rstrip() + "\n"


def overview(lines: Sequence[Line]) -> str:
    """Return one table of all cells: a line a method, a column for each data set and noise, last accuracy / macro-F1.

    Only methods that were run on more than one of them are shown; means over seeds, in per cent.

    Raises:
        ValueError: a cell has lines of several settings.
    """
    cells: dict[tuple[str, str], dict[str, list[Line]]] = {}
    for place, own_lines in panels_of(lines).items():
        for line in own_lines:
            cells.setdefault(place, {}).setdefault(line["method"], []).append(line)
    known = dict.fromkeys(line["method"] for line in lines)
    methods = [method for method in known if sum(method in own for own in cells.values()) > 1]

    head = ["method", *(f"{dataset}, {noise}" for dataset, noise in cells)]
    rows = [
        [f"`{method}`", *(last_scores(own[method]) if method in own else "" for own in cells.values())]
        for method in methods
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def last_means(lines: Sequence[Line]) -> tuple[float, float]:
    """Return accuracy and macro-F1 after the last epoch, means over the lines, in per cent."""
    last = [line["epochs"][-1] for line in lines]
    right, f1 = (100 * statistics.fmean(epoch[name] for epoch in last) for name in LAST)
    return right, f1


def last_scores(lines: Sequence[Line]) -> str:
    """Return what `last_means` does, as a cell of a table."""
    return " / ".join(f"{mean:.1f}" for mean in last_means(lines))


def summary(lines: Sequence[Line]) -> str:
    """Return one table of LANE's defaults against plain training and the best other method: a line for each cell.

    Shown are cells where `plain` and `lane` were run with the same seeds; variants of LANE are no other methods. Which
    of several others is best is decided by the accuracy after the last epoch.
    """
    heads = ["data, wrong labels", "plain", "LANE", "best other", "memorised: plain", "LANE", "seeds"]
    rows = []
    for (dataset, noise, _), own in groups(lines).items():
        methods: dict[str, list[Line]] = {}
        for line in own:
            methods.setdefault(line["method"], []).append(line)
        seeds = {line["seed"] for line in methods.get("lane", [])}
        plain = [line for line in methods.get("plain", []) if line["seed"] in seeds]
        if not plain or len(plain) < len(seeds):
            continue
        others = {
            name: lines
            for name, lines in methods.items()
            if name not in ("plain", "paper") and not name.startswith("lane")
        }
        best = max(others, key=lambda name: accuracy(others[name]), default=None)
        memorised = [values_of(lines, COLUMNS["memorised"][0]) for lines in (plain, methods["lane"])]
        rows.append(
            [
                f"{dataset}, {noise}",
                last_scores(plain),
                last_scores(methods["lane"]),
                NOTHING if best is None else f"{last_scores(others[best])} ({_about(best, others)})",
                *(f"{statistics.fmean(values):.0f}%" if values else NOTHING for values in memorised),
                str(len(seeds)),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


def _about(best: str, others: dict[str, list[Line]]) -> str:
    number = len({line["seed"] for line in others[best]})
    return f"`{best}`, of {len(others)}, {number} seed{'s' if number > 1 else ''}"


def together(lines: Sequence[Line]) -> str:
    """Return one table of all cells together: a line for each method, the most accurate in the mean first.

    A cell is a data set and a noise. Shown are the means over all cells of accuracy and macro-F1 after the last epoch,
    and by how much a method is behind the best of all where it is farthest behind: what choosing it can cost.

    Raises:
        ValueError: a method was not run in every cell, so its mean is about something else; or a cell has lines of
            several settings.
    """
    cells = panels_of(lines)
    scores: dict[str, list[tuple[float, float]]] = {}
    for own in cells.values():
        for method in dict.fromkeys(line["method"] for line in own):
            scores.setdefault(method, []).append(last_means([line for line in own if line["method"] == method]))
    for method, found in scores.items():
        if len(found) < len(cells):
            raise ValueError(f"{method!r} was run in {len(found)} of {len(cells)} cells: choose others by --methods")

    best = [[max(column) for column in zip(*cell, strict=True)] for cell in zip(*scores.values(), strict=True)]
    rows = []
    for method, found in sorted(scores.items(), key=lambda item: -statistics.fmean(a for a, _ in item[1])):
        behind = [[b - own for b, own in zip(*both, strict=True)] for both in zip(best, found, strict=True)]
        means_and_worst = [
            (statistics.fmean(column) for column in zip(*found, strict=True)),
            map(max, zip(*behind, strict=True)),
        ]
        rows.append([f"`{method}`", *(" / ".join(f"{value:.1f}" for value in values) for values in means_and_worst)])
    head = ["method", "mean", "farthest behind the best"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def only_methods(lines: Iterable[Line], names: Sequence[str]) -> list[Line]:
    """Return the lines of these methods and of their variants, `name[...]`, in the order of the names."""
    wanted = [line for line in lines if base_of(line) in names]
    return sorted(wanted, key=lambda line: names.index(base_of(line)))


def base_of(line: Line) -> str:
    """Return the name of a line's method without its settings."""
    return line["method"].partition("[")[0]


def accuracy(lines: Sequence[Line]) -> float:
    return statistics.fmean(line["epochs"][-1]["test_accuracy"] for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path, nargs="+", help="what accuracy.py has written")
    parser.add_argument("--datasets", nargs="+", help="only these data sets")
    parser.add_argument("--noise", nargs="+", help="only these noises")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these seeds")
    parser.add_argument("--methods", nargs="+", help="only these methods and their variants, in this order")
    parser.add_argument("--defaults_only", action="store_true", help="leave out methods with settings, as lane[...]")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--overview", action="store_true", help="one table of all cells instead")
    kinds.add_argument(
        "--summary", action="store_true", help="one table of the defaults against plain training instead"
    )
    kinds.add_argument("--together", action="store_true", help="one table of the means over all cells instead")
    kinds.add_argument("--draw", choices=sorted(DRAW), help="a figure instead, of the epochs or of the shares")
    parser.add_argument("--figure", type=Path, help="the SVG of --draw")
    parser.add_argument("--into", type=Path, help="a document, instead of the terminal")
    parser.add_argument("--name", default="accuracy", help="which table of the document")
    args = parser.parse_args(argv)
    if (args.draw is None) != (args.figure is None):
        parser.error("--draw says what is drawn, and --figure where: each needs the other")
    texts = itertools.chain.from_iterable(path.read_text().splitlines() for path in args.lines)
    lines = [json.loads(text) for text in texts if text.strip()]
    if args.datasets:
        lines = [line for line in lines if line["dataset"] in args.datasets]
    if args.noise:
        lines = [line for line in lines if line["noise"] in args.noise]
    if args.seeds:
        lines = [line for line in lines if line["seed"] in args.seeds]
    if args.methods:
        lines = only_methods(lines, args.methods)
    if args.defaults_only:
        lines = [line for line in lines if "[" not in line["method"]]
    try:
        return show(lines, args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def show(lines: Sequence[Line], args: argparse.Namespace) -> int:
    """Draw, print, or put into a document what the arguments ask for."""
    if args.draw is not None:
        DRAW[args.draw](lines, args.figure)
        return 0
    make = summary if args.summary else overview if args.overview else together if args.together else report
    content = f"{make(lines).rstrip()}\n"
    if args.into is None:
        sys.stdout.write(content)
    else:
        replace_table(args.into, args.name, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
