"""Figures: what is drawn is what the table says, and names are drawn as they are."""

import sys

import numpy as np
import pandas as pd
import pytest
from example_run import contrast, example_record
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from report_tables import make_issues

from lane_hf import InputError
from lane_hf.report import figures
from lane_hf.report.label_issues import LabelIssues


def counts_of(ax: object, colour: str) -> int:
    bars = [bar for bar in ax.patches if to_hex(bar.get_facecolor()).lower() == colour.lower()]
    return round(sum(bar.get_height() for bar in bars))


@pytest.mark.parametrize("draw", [figures.weight_histogram, figures.margin_histogram])
def test_histograms_count_every_row_that_was_seen(draw: object) -> None:
    issues = make_issues(300)
    seen = issues[issues["visits"] > 0]
    ax = draw(issues)
    assert counts_of(ax, figures.WRONG) == seen["is_flipped"].sum()
    assert counts_of(ax, figures.CLEAN) == (~seen["is_flipped"]).sum()
    unknown = draw(LabelIssues(issues.drop(columns="is_flipped"), issues.label_names))
    assert counts_of(unknown, figures.WRONG) == seen["is_issue"].sum()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_margins_that_are_no_numbers_are_left_out(broken: float) -> None:
    issues = make_issues(100).drop(columns="is_flipped")
    issues.loc[:4, "aum"] = broken
    ax = figures.margin_histogram(LabelIssues(issues))
    assert counts_of(ax, figures.WRONG) + counts_of(ax, figures.CLEAN) == 93  # 5 broken ones, 2 that were not seen


def test_the_data_map_shows_every_row_where_it_belongs() -> None:
    issues = make_issues(200)
    seen = issues[issues["visits"] > 0]
    ax = figures.data_map(issues)
    points = np.concatenate([np.asarray(each.get_offsets()) for each in ax.collections])
    expected = seen[["variability", "confidence"]].to_numpy(np.float64)
    for found in (points, expected):
        found[:] = found[np.lexsort(found.T)]
    np.testing.assert_allclose(points, expected)


@pytest.mark.parametrize(("issues", "share"), [(10, 10), (5_000, 250), (600_000, 600)])
def test_a_million_rows_are_thinned_but_issues_stay_in_sight(issues: int, share: int) -> None:
    rows = pd.DataFrame({"is_issue": np.arange(1_000_000) < issues, "place": np.arange(1_000_000)})
    drawn = figures.thinned(rows, 1000)
    assert len(drawn) == 1000
    assert drawn["is_issue"].sum() == share
    assert not drawn["place"].duplicated().any()
    assert drawn["place"].max() == 999_999
    few = rows.head(1000)
    assert figures.thinned(few, 1000) is few


def test_heat_maps_show_the_matrices() -> None:
    record = example_record(300)
    pairs = {
        figures.noise_matrix: record.issues.noise_matrix(),
        figures.label_similarity: record.issues.label_similarity(),
    }
    for draw, matrix in pairs.items():
        ax = draw(record.issues)
        np.testing.assert_allclose(ax.images[0].get_array(), matrix)
        assert [text.get_text() for text in ax.get_xticklabels()] == record.issues.label_names
        assert "" not in (ax.get_xlabel(), ax.get_ylabel())
    ax = figures.label_distances(record.distances, record.issues.label_names)
    np.testing.assert_allclose(ax.images[0].get_array(), record.distances)


def test_of_many_labels_the_most_confused_are_shown() -> None:
    issues = make_issues(600, labels=[f"label {number:02d}" for number in range(40)])
    matrix = issues.noise_matrix().to_numpy()
    off = matrix - np.diag(np.diag(matrix))
    weight = off.sum(axis=0) + off.sum(axis=1)
    shown = [text.get_text() for text in figures.noise_matrix(issues).get_yticklabels()]
    assert len(shown) == 30
    hidden = [number for number, name in enumerate(issues.label_names) if name not in shown]
    assert weight[hidden].max() <= min(weight[issues.label_names.index(name)] for name in shown)


def test_distances_can_be_shown_of_the_labels_that_the_similarity_shows() -> None:
    record = example_record(400, labels=[f"label {number:02d}" for number in range(40)])
    issues, names = record.issues, record.issues.label_names
    shown = [text.get_text() for text in figures.label_similarity(issues).get_xticklabels()]
    assert [names[code] for code in figures.closest_labels(issues)] == shown
    ax = figures.label_distances(record.distances, names, shown=figures.closest_labels(issues))
    assert [text.get_text() for text in ax.get_xticklabels()] == shown
    codes = [names.index(name) for name in shown]
    np.testing.assert_allclose(ax.images[0].get_array(), record.distances[np.ix_(codes, codes)])


@pytest.mark.parametrize("kind", ["similarity", "distances"])
def test_numbers_in_heat_maps_can_be_read(kind: str) -> None:
    names = [f"label {number}" for number in range(10)]
    distances = np.linspace(0, 1, 100).reshape(10, 10)
    issues = make_issues(300, labels=names)
    ax = figures.label_similarity(issues) if kind == "similarity" else figures.label_distances(distances, names)
    image = ax.images[0]
    assert len(ax.texts) == 100
    for text in ax.texts:
        column, row = map(int, text.get_position())
        cell = image.cmap(image.norm(image.get_array()[row, column]))
        assert contrast(to_hex(text.get_color()), to_hex(cell)) >= 4.5


def test_curves_are_the_log() -> None:
    log = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "other": 3}, {"loss": 9.0}, {"epoch": 3}]
    ax = figures.training_curves(log, {"loss": "the loss", "absent": "nothing"}, label="nats")
    assert len(ax.lines) == 1
    assert ax.lines[0].get_xydata().tolist() == [[1, 2], [2, 1]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "nats")


def test_names_with_dollars_are_no_formulas(tmp_path: object) -> None:
    issues = make_issues(80, labels=["$x", "$\\frac{", "100% $", "a_b^c"])
    ax = figures.noise_matrix(issues)
    ax.figure.savefig(tmp_path / "figure.svg")  # a formula that cannot be read would raise here
    assert [text.get_text() for text in ax.get_xticklabels()] == issues.label_names


def test_they_draw_where_they_are_told() -> None:
    axes = Figure().subplots(1, 2)
    assert figures.data_map(make_issues(30), ax=axes[1]) is axes[1]
    assert not axes[0].collections


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'lane_hf\[report\]'"):
        figures.data_map(make_issues(30))


def test_long_names_are_cut() -> None:
    assert figures.short("x" * 50) == "x" * 19 + "…"
    assert figures.short("a\nb") == "a b"
