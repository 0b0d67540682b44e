"""Figures of a label table, as functions that draw on matplotlib axes.

Each takes the axes to draw on, or makes a figure of its own, and returns the axes. Colours can be told apart with any
colour vision (Okabe & Ito 2008); texts of users are drawn as they are, never read as formulas.

They need matplotlib: `pip install lane_hf[report]`.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from ..display import printable
from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .label_issues import LabelIssues

CLEAN, WRONG, NEUTRAL = "#0072B2", "#D55E00", "#999999"
MAP_POINTS = 4000
MOST_LABELS = 30  # more of them cannot be read
_LABELS_WITH_NUMBERS = 10
_NAME_LENGTH = 20

Drawing = TypeVar("Drawing", bound=Callable[..., Any])


def _drawing(draw: Drawing) -> Drawing:
    """Make axes if none are given, and keep names with dollar signs from being read as formulas."""

    @wraps(draw)
    def on_axes(*args: Any, ax: Any = None, **kwargs: Any) -> Any:
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError as error:
            raise InputError("figures need matplotlib: pip install 'lane_hf[report]'") from error
        with rc_context({"text.parse_math": False}):
            if ax is None:
                ax = Figure(figsize=(6.4, 4.2), layout="constrained").add_subplot()
            draw(*args, ax=ax, **kwargs)
        ax.spines[["top", "right"]].set_visible(False)
        return ax

    return on_axes  # type: ignore[return-value]  # the same signature, with ax always given


@_drawing
def weight_histogram(issues: "LabelIssues", ax: "Axes") -> "Axes":
    """Draw how the rows' weights are distributed, clean and flipped apart where that is known (the paper's Fig. 1).

    Args:
        issues: the label table.
        ax: where to draw.

    Example:
        >>> weight_histogram(trainer.label_issues()).figure.savefig("weights.svg")  # doctest: +SKIP
    """
    seen = _seen(issues)
    bins = np.linspace(0, 1, 26).tolist()
    for values, colour, name in _groups(seen, "weight"):
        # Smoothed edges would leave seams between the bars.
        ax.hist(values, bins=bins, color=colour, alpha=0.6, label=name, antialiased=False)
    ax.set(xlabel="weight in the cross-entropy (0 to 1)", ylabel="rows (log scale)", yscale="log", xlim=(0, 1))
    ax.legend(frameon=False)
    return ax


@_drawing
def margin_histogram(issues: "LabelIssues", ax: "Axes") -> "Axes":
    """Draw how the rows' average margins are distributed; rows left of zero were mostly predicted as another label.

    Example:
        >>> margin_histogram(plt.subplots()[1], issues)  # doctest: +SKIP
    """
    seen = _seen(issues)
    seen = seen[np.isfinite(seen["aum"].to_numpy(np.float64))]  # training in half precision can overflow
    bins = (np.histogram_bin_edges(seen["aum"], bins=40) if len(seen) else np.linspace(-1, 1, 3)).tolist()
    for values, colour, name in _groups(seen, "aum"):
        ax.hist(values, bins=bins, color=colour, alpha=0.6, label=name, antialiased=False)
    ax.axvline(0, color=NEUTRAL, linewidth=1)
    ax.set(xlabel="average margin of the given label (logits)", ylabel="rows")
    ax.legend(frameon=False)
    return ax


@_drawing
def data_map(issues: "LabelIssues", ax: "Axes", most: int = MAP_POINTS) -> "Axes":
    """Draw the data map: mean against standard deviation of the given label's probability, coloured by verdict.

    Of more rows than `most`, so many are drawn: issues and others each in proportion, but at least a quarter of the
    points are issues if there are as many, spread evenly over the ranking so that the shape stays.

    Args:
        issues: the label table.
        ax: where to draw.
        most: number of points.

    Source: Swayamdipta et al., "Dataset Cartography", EMNLP 2020.

    Example:
        >>> data_map(plt.subplots()[1], issues)  # doctest: +SKIP
    """
    seen = _seen(issues).dropna(subset=["confidence", "variability"])
    drawn = thinned(seen, most)
    for is_issue, colour, name in ((False, CLEAN, "not suspicious"), (True, WRONG, "marked as an issue")):
        own = drawn[drawn["is_issue"] == is_issue]
        if len(own):
            ax.scatter(own["variability"], own["confidence"], s=9, color=colour, alpha=0.5, lw=0, label=name)
    ax.set(
        xlabel="standard deviation of the given label's probability",
        ylabel="mean probability of the given label",
        ylim=(-0.02, 1.02),
        xlim=(-0.01, 0.51),
    )
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, markerscale=2)
    return ax


def thinned(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` rows, evenly spread over their order, among them as many issues as [`data_map`] wants."""
    if len(rows) <= most:
        return rows
    wrong, right = rows[rows["is_issue"]], rows[~rows["is_issue"]]
    number = min(len(wrong), max(round(most * len(wrong) / len(rows)), most // 4))
    return pd.concat([_every(right, most - number), _every(wrong, number)])


def _every(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    if number >= len(rows):
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, number).round().astype(int)]


@_drawing
def noise_matrix(issues: "LabelIssues", ax: "Axes") -> "Axes":
    """Draw which labels stand for which: rows are given labels, columns what they should be.

    Example:
        >>> noise_matrix(plt.subplots()[1], issues)  # doctest: +SKIP
    """
    matrix = issues.noise_matrix()
    off = matrix.to_numpy() - np.diag(np.diag(matrix))
    shown = _most_interesting(off.sum(axis=0) + off.sum(axis=1))
    return _heatmap(
        ax, matrix.iloc[shown, shown], "share of the given label's rows", ("suggested label", "given label")
    )


@_drawing
def label_similarity(issues: "LabelIssues", ax: "Axes") -> "Axes":
    """Draw how close the classifier found labels to each other; of many labels the [`closest_labels`].

    Example:
        >>> label_similarity(plt.subplots()[1], issues)  # doctest: +SKIP
    """
    matrix = issues.label_similarity()
    shown = closest_labels(issues)
    return _heatmap(ax, matrix.iloc[shown, shown], "similarity (1: the closest pair)", ("label", "label"))


def closest_labels(issues: "LabelIssues") -> np.ndarray:
    """Return which labels [`label_similarity`] shows: `[<= MOST_LABELS]` their positions, in the labels' own order."""
    matrix = issues.label_similarity().to_numpy()
    return _most_interesting((matrix - np.eye(len(matrix))).sum(axis=0))


@_drawing
def label_distances(
    distances: np.ndarray, names: Sequence[str], ax: "Axes", shown: np.ndarray | None = None
) -> "Axes":
    """Draw the given distances of the labels, bright where they are close.

    Args:
        distances: `[K, K]`, 0 for the same label; the unit is the data set's own.
        names: the K labels.
        ax: where to draw.
        shown: positions of the labels to show; None takes those that are closest to all others.
    """
    table = pd.DataFrame(distances, index=list(names), columns=list(names))
    if shown is None:
        shown = _most_interesting(-np.asarray(distances, dtype=float).sum(axis=0))
    return _heatmap(ax, table.iloc[shown, shown], "given distance", ("label", "label"), reverse=True)


@_drawing
def training_curves(log_history: Sequence[dict[str, Any]], names: dict[str, str], ax: "Axes", label: str) -> "Axes":
    """Draw numbers of Trainer's log against the epoch.

    Args:
        log_history: `trainer.state.log_history`.
        names: keys of the log and what the legend calls them.
        ax: where to draw.
        label: what the vertical axis shows, with its unit.
    """
    markers = "os^Dv"
    for number, (name, words) in enumerate(names.items()):
        points = [(line["epoch"], line[name]) for line in log_history if name in line and "epoch" in line]
        if points:
            colour = (CLEAN, WRONG, "#009E73", "#CC79A7")[number % 4]
            ax.plot(*zip(*points, strict=True), color=colour, marker=markers[number % 5], markersize=3, label=words)
    ax.set(xlabel="epoch", ylabel=label)
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False)
    return ax


# ---- Parts ----


def _seen(issues: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(issues)[issues["visits"] > 0]


def _groups(rows: pd.DataFrame, column: str) -> list[tuple[pd.Series, str, str]]:
    if "is_flipped" in rows:
        flipped = rows["is_flipped"].astype(bool)
        both = ((~flipped, CLEAN, "clean (known)"), (flipped, WRONG, "flipped (known)"))
        return [(rows.loc[own, column], colour, f"{name}: {own.sum():,}") for own, colour, name in both]
    issue = rows["is_issue"]
    both = ((~issue, CLEAN, "not suspicious"), (issue, WRONG, "marked as issues"))
    return [(rows.loc[own, column], colour, f"{name}: {own.sum():,}") for own, colour, name in both]


def _most_interesting(weight: np.ndarray) -> np.ndarray:
    """Return the labels to show, in their own order: all, or the `MOST_LABELS` with the greatest weight."""
    return np.sort(np.argsort(-weight, kind="stable")[:MOST_LABELS])


def short(name: Any) -> str:
    """Return a label's name as figures and tables show it: printable, at most 20 characters."""
    text = printable(str(name)[:200])
    return text if len(text) <= _NAME_LENGTH else f"{text[: _NAME_LENGTH - 1]}…"


def _heatmap(ax: Any, matrix: pd.DataFrame, unit: str, axes: tuple[str, str], reverse: bool = False) -> Any:
    """Draw a matrix; `axes` are what its columns and its rows are.

    What matters is bright (small numbers if `reverse`): most cells matter little, and should not catch the eye.
    """
    values = matrix.to_numpy(dtype=float)
    high = values.max(initial=0.0) or 1.0
    image = ax.imshow(values, cmap="cividis_r" if reverse else "cividis", vmin=0, vmax=high, aspect="equal")
    names = [short(name) for name in matrix.columns]
    size = 9 if len(names) <= _LABELS_WITH_NUMBERS else 6.5
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0, fontsize=size)  # noqa: PLR2004
    ax.set_yticks(range(len(names)), [short(name) for name in matrix.index], fontsize=size)
    ax.set(xlabel=axes[0], ylabel=axes[1])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    if len(names) <= _LABELS_WITH_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            ax.text(
                column,
                row,
                f"{value:.2f}".rstrip("0").rstrip("."),
                ha="center",
                va="center",
                fontsize=8,
                color=_readable_on(image.cmap(image.norm(value))),
            )
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.set_label(unit)
    bar.outline.set_visible(False)
    return ax


def _readable_on(colour: tuple[float, float, float, float]) -> str:
    """Return black or white, whichever has more contrast with a colour (WCAG 2.2: at least 4.58 to 1)."""
    channels = np.array(colour[:3])
    is_dark = channels <= 0.04045  # noqa: PLR2004 -- sRGB's own constants
    linear = np.where(is_dark, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
