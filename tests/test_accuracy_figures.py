"""The figures of the accuracy benchmark, from lines made by hand."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import accuracy_figures as benchmark


def line(method: str, seed: int, *accuracies: float, **changes: Any) -> dict[str, Any]:
    epochs = [{"epoch": e, "test_accuracy": a, "test_f1_macro": a / 2} for e, a in enumerate(accuracies, start=1)]
    own = {"dataset": "toy", "noise": "uniform:0.4", "settings": "layers=3", "method": method, "seed": seed}
    return {**own, "epochs": epochs, **changes}


LINES = [
    line("plain", 1, 0.8, 0.6),
    line("plain", 2, 0.7, 0.4),
    line("lane", 1, 0.6, 0.9),
    line("plain", 1, 0.8, 0.9, noise="clean"),
    line("lane", 1, 0.8, 0.9, noise="clean"),
]


def words_of(path: Path) -> list[str]:
    """Return the texts of an SVG, in its order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_a_curve_is_mean_least_and_most_over_seeds_in_per_cent() -> None:
    curves = benchmark.curves_of(LINES[:3])
    assert list(curves) == ["plain", "lane"]
    epochs, means, least, most = curves["plain"]
    assert epochs == [1, 2]
    assert means == pytest.approx([75, 50])
    assert least == pytest.approx([70, 40])
    assert most == pytest.approx([80, 60])
    assert curves["lane"][1] == curves["lane"][2] == curves["lane"][3] == pytest.approx([60, 90])


def test_seeds_with_other_epochs_have_no_mean() -> None:
    with pytest.raises(ValueError, match=r"toy, uniform:0\.4: the seeds of 'aum' have different epochs"):
        benchmark.curves_of([line("aum", 1, 0.5), line("aum", 2, 0.5, 0.6)])


def test_accuracy_by_rate_begins_with_clean_labels_and_takes_one_kind_of_noise() -> None:
    lines = [*LINES, line("plain", 1, 0.1, noise="pair:0.4"), line("plain", 1, 0.7, noise="uniform:0.2")]
    rates, means, least, most = benchmark.by_rate(lines, "uniform", "test_accuracy")["plain"]
    assert rates == [0, 20, 40]
    assert means == pytest.approx([90, 70, 50])
    assert (least[-1], most[-1]) == pytest.approx((40, 60))
    assert benchmark.by_rate(lines, "uniform", "test_f1_macro")["lane"][1] == pytest.approx([45, 45])
    assert benchmark.by_rate(lines, "pair", "test_accuracy")["plain"][0] == [0, 40]


def test_lines_of_two_settings_are_not_drawn_as_one() -> None:
    with pytest.raises(ValueError, match=r"toy, uniform:0\.4: lines of 2 settings"):
        benchmark.panels_of([*LINES, line("plain", 1, 0.5, 0.5, settings="layers=6")])


@pytest.mark.parametrize("kind", ["epochs", "rates"])
def test_the_same_lines_give_the_same_figure_and_each_method_is_named(kind: str, tmp_path: Path) -> None:
    drawn = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in drawn:
        benchmark.DRAW[kind](LINES, path)
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    words = words_of(drawn[0])
    assert {"plain", "lane"} <= set(words)
    assert "toy" in " ".join(words)
    benchmark.DRAW[kind](LINES[:2] + LINES[3:4], drawn[0])
    assert "lane" not in words_of(drawn[0])


def test_noise_of_two_kinds_is_no_axis(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"noise of 2 kinds \(pair, uniform\)"):
        benchmark.draw_rates([*LINES, line("plain", 1, 0.5, 0.5, noise="pair:0.4")], tmp_path / "kinds.svg")


def test_more_methods_than_there_are_colours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="9 methods, and only 8 can be told apart"):
        benchmark.draw_rates([line(f"m{number}", 1, 0.5) for number in range(9)], tmp_path / "many.svg")
