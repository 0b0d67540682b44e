"""Draw the lines of `accuracy.py`: accuracy after each epoch, and against the share of wrong labels.

`accuracy_table.py --draw epochs --figure FILE.svg` (or `rates`) calls these. A line is the mean over seeds; in the
figure of epochs a band behind it reaches from the lowest to the highest seed. Colours are those of Okabe & Ito (2008),
which can be told apart with any colour vision; methods differ in their markers as well.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = dict[str, Any]
Curve = tuple[list[float], list[float], list[float], list[float]]  # at, mean, lowest, highest
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vP*X"
SCORES = {"test_accuracy": "accuracy, %", "test_f1_macro": "macro-F1, %"}


def panels_of(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Return the lines by data set and noise, in the order of the file.

    Raises:
        ValueError: those of a data set and noise are of several settings, as other numbers of epochs.
    """
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line["dataset"], line["noise"]), []).append(line)
    for (dataset, noise), own in found.items():
        if len(settings := {line["settings"] for line in own}) > 1:
            raise ValueError(f"{dataset}, {noise}: lines of {len(settings)} settings, which are no one curve")
    return found


def curves_of(lines: Sequence[Line]) -> dict[str, Curve]:
    """Return the test accuracy after each epoch, in per cent, by method; the lines are of one data set and noise.

    Raises:
        ValueError: the seeds of a method have different epochs, as those of a method with several stages.
    """
    curves = {}
    for method, own in _by(lines, "method").items():
        epochs = [epoch["epoch"] for epoch in own[0]["epochs"]]
        if any([epoch["epoch"] for epoch in line["epochs"]] != epochs for line in own):
            about = f"{own[0]['dataset']}, {own[0]['noise']}"
            raise ValueError(f"{about}: the seeds of {method!r} have different epochs, so there is no mean")
        seeds = [[100 * epoch["test_accuracy"] for epoch in line["epochs"]] for line in own]
        curves[method] = _curve(epochs, list(zip(*seeds, strict=True)))
    return curves


def by_rate(lines: Iterable[Line], kind: str, score: str) -> dict[str, Curve]:
    """Return a score after the last epoch against the share of wrong labels, both in per cent, by method.

    Args:
        lines: of one data set; those of noise of another kind are left out.
        kind: of the noise, as "uniform"; clean labels are its rate 0.
        score: "test_accuracy" or "test_f1_macro".
    """
    curves = {}
    for method, own in _by(lines, "method").items():
        found: dict[float, list[float]] = {}
        for line in own:
            name, _, rate = line["noise"].partition(":")
            if name in ("clean", kind):
                found.setdefault(100 * float(rate or 0), []).append(100 * line["epochs"][-1][score])
        if found:
            curves[method] = _curve(sorted(found), [found[rate] for rate in sorted(found)])
    return curves


def _by(lines: Iterable[Line], name: str) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line[name], []).append(line)
    return found


def _curve(at: list[float], values: Sequence[Sequence[float]]) -> Curve:
    return at, [statistics.fmean(v) for v in values], [min(v) for v in values], [max(v) for v in values]


def draw_epochs(lines: Sequence[Line], path: Path) -> None:
    """Draw accuracy after each epoch: a row of panels for each data set, a column for each noise."""
    panels = panels_of(lines)
    datasets, noises = (list(dict.fromkeys(key[place] for key in panels)) for place in (0, 1))

    def fill(axes: Any) -> None:
        for row, dataset in zip(axes, datasets, strict=True):
            for ax, noise in zip(row, noises, strict=True):
                if (dataset, noise) not in panels:
                    ax.set_axis_off()
                    continue
                _plot(ax, curves_of(panels[dataset, noise]), styles, bands=True)
                ax.set_title(f"{dataset}, {noise}", fontsize=9)
                epochs = ax.get_lines()[0].get_xdata()
                ax.set_xticks(epochs, [f"{epoch:g}" for epoch in epochs])
            row[0].set_ylabel("test accuracy, %")
        for ax in axes[-1]:
            ax.set_xlabel("epoch")

    styles = _styles(lines)
    _save(path, (len(datasets), len(noises)), styles, fill, sharey="row")


def draw_rates(lines: Sequence[Line], path: Path) -> None:
    """Draw accuracy and macro-F1 after the last epoch against the share of wrong labels, a column for each data set.

    Raises:
        ValueError: the noise is not of one kind, beside clean labels.
    """
    kinds = sorted({line["noise"].partition(":")[0] for line in lines} - {"clean"})
    if len(kinds) != 1:
        raise ValueError(f"noise of {len(kinds)} kinds ({', '.join(kinds)}), and one can be drawn: name it by --noise")
    panels_of(lines)  # refuses what is no one curve
    datasets = _by(lines, "dataset")

    def fill(axes: Any) -> None:
        for row, (score, words) in zip(axes, SCORES.items(), strict=True):
            for ax, (dataset, own) in zip(row, datasets.items(), strict=True):
                curves = by_rate(own, kinds[0], score)
                _plot(ax, curves, styles, bands=False)
                rates = sorted({rate for curve in curves.values() for rate in curve[0]})
                ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
                ax.set_title(dataset, fontsize=9)
            row[0].set_ylabel(words)
        for ax in axes[-1]:
            ax.set_xlabel(f"wrong labels ({kinds[0]}), %")

    styles = _styles(lines)
    _save(path, (len(SCORES), len(datasets)), styles, fill, sharey=False)


DRAW: dict[str, Callable[[Sequence[Line], Path], None]] = {"epochs": draw_epochs, "rates": draw_rates}


class _Style(NamedTuple):
    color: str
    marker: str


def _styles(lines: Iterable[Line]) -> dict[str, _Style]:
    """Return colour and marker of each method, in the order of the lines."""
    methods = list(dict.fromkeys(line["method"] for line in lines))
    if len(methods) > len(COLOURS):
        raise ValueError(f"{len(methods)} methods, and only {len(COLOURS)} can be told apart: name some by --methods")
    return dict(zip(methods, map(_Style, COLOURS, MARKERS), strict=False))


def _plot(ax: "Axes", curves: dict[str, Curve], styles: dict[str, _Style], bands: bool) -> None:
    for method, (at, means, least, most) in curves.items():
        color, marker = styles[method]
        ax.plot(at, means, label=method, markersize=4, linewidth=1.5, color=color, marker=marker)
        if bands and least != most:
            ax.fill_between(at, least, most, color=color, alpha=0.18, linewidth=0)
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=8)


def _save(
    path: Path,
    shape: tuple[int, int],
    styles: dict[str, _Style],
    fill: Callable[[Any], None],
    sharey: Literal["row"] | bool,
) -> None:
    """Draw panels with one legend above them, as an SVG that is the same for the same lines."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with rc_context({"svg.hashsalt": "accuracy", "svg.fonttype": "none"}):
        figure = Figure(figsize=(2.9 * shape[1], 2.3 * shape[0] + 0.4), layout="constrained")
        fill(figure.subplots(*shape, sharey=sharey, squeeze=False))
        handles = [
            Line2D([], [], label=method, color=color, marker=marker) for method, (color, marker) in styles.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4), frameon=False)
        figure.savefig(path, metadata={"Date": None})
