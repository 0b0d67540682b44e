"""The tables of the accuracy benchmark, from lines made by hand."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import accuracy_table as benchmark


def line(method: str, seed: int, *accuracies: float, **changes: Any) -> dict[str, Any]:
    epochs = [
        {"epoch": e, "validation_accuracy": v, "test_accuracy": t, "test_f1_macro": t / 2}
        for e, (v, t) in enumerate(zip(accuracies[::2], accuracies[1::2], strict=True), start=1)
    ]
    own = {"dataset": "toy", "noise": "uniform:0.4", "settings": "layers=3,epochs=2", "method": method, "seed": seed}
    measured = {"memorised": 0.25, "detection_auroc": 0.9, "train_steps": 100, "device": "cpu"}
    return {**own, **measured, "epochs": epochs, "versions": {"transformers": "5.23.0"}, **changes}


LINES = [
    line("plain", 1, 0.6, 0.8, 0.5, 0.7),
    line("plain", 2, 0.5, 0.6, 0.6, 0.9),
    line("other", 1, 0.5, 0.5, 0.5, 0.9, memorised=0.5, detection_auroc=0.95, train_steps=250),
    line("other", 2, 0.5, 0.5, 0.5, 0.9, memorised=0.5, detection_auroc=0.95, train_steps=250),
]


def test_means_deviations_and_the_best_in_bold() -> None:
    head, _, plain, other = benchmark.table(LINES).splitlines()
    assert head == "| method | last accuracy | last macro-F1 | best epoch | memorised | AUROC | steps |"
    deviation = f"{100 * statistics.stdev([0.7, 0.9]):.1f}"
    best = f"{100 * statistics.stdev([0.8, 0.9]):.1f}"  # of each seed's own best epoch on validation
    half = f"{50 * statistics.stdev([0.7, 0.9]):.1f}"
    assert plain == (
        f"| `plain` | 80.0 ± {deviation} | 40.0 ± {half} | **85.0** ± {best} | **25.0** ± 0.0 | 0.900 ± 0.000 | 1.00 |"
    )
    assert other == (
        "| `other` | **90.0** ± 0.0 | **45.0** ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 | **0.950** ± 0.000 | 2.50 |"
    )


def test_of_equally_good_epochs_the_first_counts() -> None:
    assert benchmark.best_epoch(line("plain", 1, 0.6, 0.1, 0.6, 0.2))["test_accuracy"] == 0.1


def test_one_seed_has_no_deviation_and_other_numbers_of_seeds_are_said() -> None:
    rows = benchmark.table(LINES[1:]).splitlines()
    assert rows[0].endswith("| steps | seeds |")
    assert rows[2].startswith("| `plain` | 90.0 |") or rows[2].startswith("| `plain` | **90.0** |")
    assert (rows[2][-4:], rows[3][-4:]) == ("| 1 |"[-4:], "| 2 |"[-4:])


def test_clean_labels_have_nothing_to_memorise() -> None:
    clean = [{k: v for k, v in each.items() if k not in ("memorised", "detection_auroc")} for each in LINES]
    assert benchmark.table(clean).splitlines()[0] == (
        "| method | last accuracy | last macro-F1 | best epoch | steps |"
    )


def test_what_a_method_does_not_have_is_left_blank() -> None:
    asked = {k: v for k, v in line("fewshot[m]", 1, 0.5, 0.6).items() if k not in ("memorised", "train_steps")}
    asked["epochs"] = [{"epoch": 0, "validation_accuracy": None, "test_accuracy": 0.6, "test_f1_macro": 0.5}]
    head, _, *_, last = benchmark.table([*LINES, {**asked, "detection_auroc": None}]).splitlines()
    assert head == "| method | last accuracy | last macro-F1 | best epoch | memorised | AUROC | steps | seeds |"
    assert last == "| `fewshot[m]` | 60.0 | **50.0** | 60.0 | - | - | - | 1 |"


def test_every_data_set_noise_and_setting_has_a_table_of_its_own() -> None:
    lines = [*LINES, line("plain", 1, 0.5, 0.5, noise="clean"), line("plain", 1, 0.5, 0.5, dataset="more")]
    shown = benchmark.report(lines)
    assert shown.count("| method |") == 3
    assert "toy, uniform:0.4, seed 1, 2 (layers=3, epochs=2; transformers 5.23.0, cpu)" in shown


def test_a_table_in_a_document_is_replaced(tmp_path: Path) -> None:
    results, document = tmp_path / "lines.jsonl", tmp_path / "page.md"
    results.write_text("".join(json.dumps(each) + "\n" for each in LINES))
    document.write_text("before\n<!-- table: a -->\nold\n<!-- end of table -->\nafter\n")
    for _ in range(2):  # again and again
        assert benchmark.main([str(results), "--into", str(document), "--name", "a"]) == 0
        text = document.read_text()
        assert text.startswith("before\n<!-- table: a -->\n\ntoy, ")
        assert text.endswith("\n\n<!-- end of table -->\nafter\n")
        assert "old" not in text


def test_a_document_without_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, document = tmp_path / "lines.jsonl", tmp_path / "page.md"
    results.write_text(json.dumps(LINES[0]) + "\n")
    document.write_text("nothing here\n")
    assert benchmark.main([str(results), "--into", str(document)]) == 2
    assert "expected one table named 'accuracy'" in capsys.readouterr().err
    assert document.read_text() == "nothing here\n"


def test_the_overview_has_a_column_for_each_noise() -> None:
    lines = [*LINES, line("plain", 1, 0.5, 0.25, noise="clean"), line("third", 1, 0.5, 0.5)]
    assert benchmark.overview(lines).splitlines() == [
        "| method | toy, uniform:0.4 | toy, clean |",
        "| --- | --- | --- |",
        "| `plain` | 80.0 / 40.0 | 25.0 / 12.5 |",  # the others were run on one only
    ]


def test_the_summary_sets_the_default_against_plain_training_and_the_best_other_method() -> None:
    lines = [
        *LINES,
        line("lane", 1, 0.5, 0.95, memorised=0.05),
        line("lane[weighting=mixture]", 1, 0.5, 1.0),  # a variant is no other method
        line("third", 1, 0.5, 0.3),
        line("lane", 3, 0.5, 0.5, noise="clean"),
        line("plain", 1, 0.5, 0.5, noise="clean"),  # another seed: nothing to compare
    ]
    assert benchmark.summary(lines).splitlines() == [
        "| data, wrong labels | plain | LANE | best other | memorised: plain | LANE | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| toy, uniform:0.4 | 70.0 / 35.0 | 95.0 / 47.5 | 90.0 / 45.0 (`other`, of 2, 2 seeds) | 25% | 5% | 1 |",
    ]


def test_only_some_methods_with_or_without_their_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("gce", "plain", "gce[gce_q=0.4]", "lane", "gcex")
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(line(name, 1, 0.5, 0.5)) + "\n" for name in names))

    def shown(*words: str) -> list[str]:
        assert benchmark.main([str(results), *words]) == 0
        rows = capsys.readouterr().out.splitlines()
        return [row.split("|")[1].strip(" `") for row in rows if row.startswith("| `")]

    assert shown() == list(names)
    assert shown("--methods", "plain", "gce") == ["plain", "gce", "gce[gce_q=0.4]"]
    assert shown("--methods", "plain", "gce", "--defaults_only") == ["plain", "gce"]


def test_a_figure_is_drawn_of_the_lines_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far = line("plain", 1, 0.5, 0.5, dataset="far")
    lines, figure = tmp_path / "lines.jsonl", tmp_path / "rates.svg"
    lines.write_text(
        "".join(json.dumps(each) + "\n" for each in [*LINES, line("other", 3, 0.5, 0.5, noise="pair:0.4"), far])
    )
    drawing = [str(lines), "--draw", "rates", "--figure", str(figure)]
    assert benchmark.main(drawing) == 2
    assert capsys.readouterr().err.startswith("error: noise of 2 kinds (pair, uniform)")
    assert not figure.exists()
    assert benchmark.main([*drawing, "--noise", "uniform:0.4", "--methods", "plain", "--datasets", "toy"]) == 0
    drawn = figure.read_text()
    assert ">plain<" in drawn
    assert ">other<" not in drawn
    assert ">far<" not in drawn


def test_what_is_drawn_and_where_belong_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        benchmark.main(["lines.jsonl", "--figure", "rates.svg"])
    assert stop.value.code == 2
    assert "each needs the other" in capsys.readouterr().err


def test_all_cells_together_say_what_choosing_a_method_can_cost() -> None:
    lines = [
        line("plain", 1, 0.5, 0.70),
        line("plain", 2, 0.5, 0.80),
        line("other", 1, 0.5, 0.95),
        line("plain", 1, 0.5, 0.9, noise="clean"),
        line("other", 1, 0.5, 0.6, noise="clean"),
    ]
    head, _, *rows = benchmark.together(lines).splitlines()
    assert head == "| method | mean | farthest behind the best |"
    # plain: 75 and 90, behind by 20 in the first cell; other: 95 and 60, by 30 in the second; macro-F1 is half.
    assert rows == ["| `plain` | 82.5 / 41.2 | 20.0 / 10.0 |", "| `other` | 77.5 / 38.8 | 30.0 / 15.0 |"]


def test_a_method_that_was_not_run_everywhere_has_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [*LINES, line("plain", 1, 0.5, 0.5, noise="clean")]))
    assert benchmark.main([str(path), "--together"]) == 2
    assert capsys.readouterr().err == "error: 'other' was run in 1 of 2 cells: choose others by --methods\n"


def test_lines_of_two_settings_are_no_one_cell() -> None:
    with pytest.raises(ValueError, match=r"toy, uniform:0\.4: lines of 2 settings"):
        benchmark.together([*LINES, line("plain", 1, 0.5, 0.5, settings="layers=6")])
    with pytest.raises(ValueError, match=r"toy, uniform:0\.4: lines of 2 settings"):
        benchmark.overview([line("plain", 1, 0.5, 0.5), line("plain", 1, 0.5, 0.7, settings="layers=6,epochs=2")])


def test_only_some_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [*LINES, *(line(each["method"], each["seed"], 0.5, 0.5, noise="clean") for each in LINES)]
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in both))
    assert benchmark.main([str(file), "--overview", "--seeds", "1"]) == 0
    assert "| `plain` | 70.0 / 35.0 | 50.0 / 25.0 |" in capsys.readouterr().out
    assert benchmark.main([str(file), "--overview", "--seeds", "1", "2"]) == 0
    assert "| `plain` | 80.0 / 40.0 | 50.0 / 25.0 |" in capsys.readouterr().out
