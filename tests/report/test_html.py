"""The report as a file: whole, offline, and safe whatever the texts in it are."""

import ast
import base64
import hashlib
import json
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_run import contrast, example_record
from report_tables import LABELS, make_issues

from lane_hf import InputError
from lane_hf.errors import OutputError
from lane_hf.report import estimates, figures, html
from lane_hf.report.html import for_script, render, write_report
from lane_hf.report.label_issues import LabelIssues
from lane_hf.report.run_record import RunRecord

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!--<script>",
    "\u202egnp.exe\u202c and \u2066isolated\u2069",
    "{{ 7 * 7 }} {% raw %}",
    "$\\frac{1}{0}$ and $unbalanced",
    "line\u2028separator \x00 zero \x1b[31m",
    "']]>\"&amp;",
]


class Page(HTMLParser):
    """Elements of a page with their attributes, and its texts by the element that they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "path", "use", "rect"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self._inside[-1] if self._inside else "", data))

    def data(self) -> dict[str, Any]:
        """What the script of the page reads."""
        return json.loads(max((text for tag, text in self.texts if tag == "script"), key=lambda text: text[:1] == "{"))


def with_texts(texts: list[str], labels: list[str] | None = None) -> RunRecord:
    record = example_record(60, labels=labels)
    table = pd.DataFrame(record.issues)
    table["text"] = pd.Series([texts[row % len(texts)] for row in range(60)], dtype="string")
    record.issues = LabelIssues(table, record.issues.label_names)
    return record


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval of the noise rate is not what is tested here, and takes a third of a report's time."""
    monkeypatch.setattr(estimates, "_RESAMPLES", 3)


@cache
def example_page() -> str:
    """The report of the example; drawing it takes a second."""
    return render(example_record())


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is not drawn: drawing is most of a report's time."""
    monkeypatch.setattr(html, "_figures", lambda record: {})


def words_of(page: str) -> str:
    hidden = ("script", "style")
    return " ".join(" ".join(text for tag, text in Page(page).texts if tag not in hidden).split())


def test_the_summary_says_what_the_table_says() -> None:
    record = example_record()
    words, issues = words_of(example_page()), record.issues
    number = int(issues["is_issue"].sum())
    assert f"{number} of 600 rows ({number / 600:.1%}) are marked as issues" in words
    assert f"Of these, {issues.expected_precision():.1%} are expected to be wrong" in words
    rate = issues.noise_rate()
    assert f"{rate.estimate:.1%} 95% interval {rate.low:.1%} to {rate.high:.1%}" in words
    found = int((issues["is_issue"] & issues["is_flipped"]).sum())
    assert f"{found} of 150 precision {found / number:.1%}, recall {found / 150:.1%}" in words
    assert "2 rows were not seen in training" in words
    assert "test accuracy 0.912, detection auroc 0.987." in words
    for line in issues.per_label().itertuples():
        assert f"{line.label} {line.rows} {line.issues} {line.noise_rate:.1%} {line.received}" in words


def test_the_rows_are_those_of_the_table(no_figures: None) -> None:
    record = example_record(100)
    data = Page(render(record, most_rows=30)).data()
    assert data["total"] == 100
    columns, worst = data["columns"], record.issues.head(30)
    assert columns["row_id"] == worst["row_id"].tolist()
    assert [data["labels"][code] for code in columns["given"]] == worst["given_label"].tolist()
    assert [data["labels"][code] for code in columns["suggested"]] == worst["suggested_label"].tolist()
    assert columns["text"] == worst["text"].tolist()
    assert columns["is_issue"] == worst["is_issue"].astype(int).tolist()
    for name in ("suggestion_confidence", "noise_probability", "aum", "variability", "weight"):
        np.testing.assert_allclose(columns[name], worst[name], rtol=1e-3)
    for row_id, margins in zip(columns["row_id"], columns["margins"], strict=True):
        own = [None if np.isnan(value) else float(f"{value:.4g}") for value in record.margins[:, row_id]]
        assert margins == own


def test_every_figure_is_drawn_and_named() -> None:
    page = Page(example_page())
    drawn = [attributes["id"] for tag, attributes in page.elements if tag == "figure"]
    names = ("matrix", "similarity", "distances", "weights", "margins", "map")
    names += ("loss_curves", "score_curves", "weight_curves", "margin_curves")
    assert drawn == [f"figure-{name}" for name in names]
    assert sum(tag == "svg" for tag, _ in page.elements) == len(names)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "two figures share an id: one would be drawn with the other's shapes"


def test_it_asks_nothing_of_the_network() -> None:
    page = example_page()
    for tag, attributes in Page(page).elements:
        for name in ("src", "href", "xlink:href", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", page)


def test_its_policy_forbids_all_but_its_own_script() -> None:
    page = Page(example_page())
    policies = [attributes for tag, attributes in page.elements if attributes.get("http-equiv")]
    assert [attributes["http-equiv"] for attributes in policies] == ["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policies[0]["content"].split(";"))
    script = [text for tag, text in page.texts if tag == "script"][-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"default-src": "'none'", "script-src": f"'sha256-{digest}'", "base-uri": "'none'", "form-action": "'none'"}
    assert rules == own | {"img-src": "data:", "style-src": "'unsafe-inline'"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_contrast(theme: str) -> None:
    css = (html.TEMPLATE / "report.css").read_text(encoding="utf-8")
    sets = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", rule)) for rule in re.findall(r"{([^{}]*)}", css)]
    light, *dark = [colours for colours in sets if "back" in colours and "clean" in colours]
    assert len(dark) == 2, "the dark colours stand once for the system's wish and once for the button"
    assert dark[0] == dark[1]
    colours = light if theme == "light" else dark[0]
    assert colours.keys() == light.keys()
    for back in ("back", "panel", "mark"):
        for ink in ("fg", "dim", "accent", "wrong"):
            assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)
    for series in ("clean", "flipped", "third", "fourth"):
        assert contrast(colours[series], colours["back"]) >= 3, series


def test_hostile_texts_stay_texts(no_figures: None) -> None:
    clean, spoiled = Page(render(with_texts(["harmless"]))), Page(render(with_texts(HOSTILE)))
    assert [tag for tag, _ in spoiled.elements] == [tag for tag, _ in clean.elements]
    assert not any(name.startswith("on") for _, attributes in spoiled.elements for name in attributes)
    shown = spoiled.data()["columns"]["text"]
    assert len(set(shown)) == len(HOSTILE)
    assert all(text.isprintable() and "\u202e" not in text for text in shown)


@pytest.mark.parametrize("hostile", [HOSTILE[:4], HOSTILE[4:]])
def test_hostile_labels_and_settings_stay_texts(hostile: list[str]) -> None:
    labels = [f"{text}{number}" for number, text in enumerate(hostile)]
    record = with_texts(["harmless"], labels)
    record.log_history = []
    record.settings = {text: {text: text} for text in hostile}
    record.metrics = {f"{text}accuracy": 0.5 for text in hostile}
    page = Page(render(record))
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert not any(tag == "img" for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert not any("\u202e" in text for tag, text in page.texts if tag not in ("script", "style"))


def test_hostile_names_of_rare_labels_and_models_stay_texts(no_figures: None, tmp_path: Path) -> None:
    record = RunRecord(make_issues(50, rare={"\u202erare" + "x" * 1_000_000: 2}))
    # json can write half an emoji, which no file can hold
    record.settings = {"RunConfig": {"method": "half \ud83d"}, "ModelArguments": {"model_name_or_path": "\u202em"}}
    page = write_report(record, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "\u202e" not in page
    assert len(page) < 100_000
    assert "\ufffdrare" in words_of(page)
    assert "Trained with half \ufffd on \ufffdm ." in words_of(page)


def test_a_text_of_a_megabyte_is_cut(no_figures: None) -> None:
    page = render(with_texts(["word " * 200_000]))
    assert len(page) < 1_000_000
    assert "Longer texts are cut to 300 characters" in words_of(page)
    assert "are cut to" not in words_of(render(with_texts(["short"])))
    assert all(len(text) <= 301 for text in Page(page).data()["columns"]["text"])
    assert Page(page).data()["columns"]["text"][0].endswith("…")


@pytest.mark.parametrize("text", HOSTILE)
def test_json_in_a_script_element_is_the_same_json(text: str) -> None:
    written = for_script({"text": [text, None, 1.5]})
    assert json.loads(written) == {"text": [text, None, 1.5]}
    assert not set("<>&\u2028\u2029") & set(written)


LACKING: dict[str, Any] = {
    "only the table": lambda record: RunRecord(record.issues),
    "no texts": lambda record: RunRecord(LabelIssues(record.issues.drop(columns="text"), LABELS)),
    "no known flips": lambda record: RunRecord(LabelIssues(record.issues.drop(columns="is_flipped"), LABELS)),
    "no issue": lambda record: RunRecord(LabelIssues(record.issues.assign(is_issue=False), LABELS)),
    "never seen": lambda record: RunRecord(
        LabelIssues(record.issues.assign(visits=0, is_issue=False, score=np.nan, noise_probability=np.nan), LABELS)
    ),
    "one row": lambda record: RunRecord(LabelIssues(pd.DataFrame(record.issues).head(1), LABELS)),
    "no names of labels": lambda record: RunRecord(LabelIssues(pd.DataFrame(record.issues))),
    "no suggestions": lambda record: RunRecord(
        LabelIssues(record.issues.assign(runner_up_label=pd.NA, confidence=np.nan, runner_up_share=np.nan), LABELS)
    ),
    "no rows": lambda record: RunRecord(LabelIssues(pd.DataFrame(record.issues).head(0), LABELS)),
    "margins that are no numbers": lambda record: RunRecord(
        LabelIssues(record.issues.assign(aum=[np.inf, -np.inf, np.nan] + [1.0] * 47), LABELS)
    ),
    "one label": lambda record: RunRecord(
        LabelIssues(record.issues.assign(given_label="ant", suggested_label="ant", runner_up_label=pd.NA), ["ant"])
    ),
    "settings and metrics of another program": lambda record: RunRecord(
        record.issues, [], {"RunConfig": None, "ModelArguments": [1]}, {"accuracy": "high", "eval_accuracy": [None]}
    ),
    "a log with holes": lambda record: RunRecord(
        record.issues, [{"loss": None, "epoch": 1}, {"loss": 1.0, "epoch": None}, {"loss": np.nan, "epoch": 3}]
    ),
    "a log without steps": lambda record: RunRecord(record.issues, [{"train_runtime": 1.0}, {}]),
    "two labels": lambda record: RunRecord(example_record(40, labels=["no", "yes"]).issues, distances=np.eye(2)),
}


@pytest.mark.parametrize("change", LACKING.values(), ids=LACKING)
def test_what_is_not_there_is_left_out(change: Any) -> None:
    words = words_of(render(change(example_record(50))))
    assert "Which labels are wrong?" in words
    assert "nan" not in words.lower().replace("finance", "")


def test_what_cannot_be_said_is_said(no_figures: None) -> None:
    record = example_record(50)
    assert "None of the 50 rows is marked as an issue" in words_of(render(LACKING["no issue"](record)))
    assert "None of the 50 rows was seen in training" in words_of(render(LACKING["never seen"](record)))
    assert "The table has no rows" in words_of(render(LACKING["no rows"](record)))
    issues = make_issues(50, rare={"rare": 2})
    assert "rare have too few rows to be judged by their own" in words_of(render(RunRecord(issues)))


def test_a_histogram_of_nothing_is_left_out() -> None:
    broken = example_record(50).issues.assign(aum=np.nan)
    assert 'id="figure-margins"' in example_page()
    assert 'id="figure-margins"' not in render(RunRecord(LabelIssues(broken, LABELS)))


def test_of_many_labels_it_is_said_which_are_shown() -> None:
    record = example_record(300, labels=[f"label {number}" for number in range(60)])
    record.log_history = []
    words = words_of(page := render(record))
    assert "Only the 30 most confused labels are shown" in words
    assert "Only the 30 closest labels are shown" in words
    assert "The same labels are shown as in the learned similarity" in words
    names = {
        name: re.findall(r">(label \d+)<", page[page.index(f'id="figure-{name}"') :].split("</figure>")[0])
        for name in ("matrix", "similarity", "distances")
    }
    assert len(names["matrix"]) == len(names["similarity"]) == 60  # 30 on each axis
    assert names["similarity"] == names["distances"]


def test_it_is_said_how_many_points_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "points are drawn" not in words_of(example_page())
    monkeypatch.setattr(figures, "MAP_POINTS", 50)
    page = render(RunRecord(example_record().issues))
    assert "50 of 598 points are drawn" in words_of(page)
    drawing = page[page.index('id="figure-map"') :].split("</figure>")[0]
    points = re.findall(r"<use [^>]*style=\"fill: var\(--(?:clean|flipped)\)", drawing)
    assert len(points) == 50 + 2  # the legend has one of each


def test_every_number_of_the_method_has_a_curve() -> None:
    drawing = example_page().split('id="figure-weight_curves"')[1].split("</figure>")[0]
    for words in ("mean weight", "share of rows below 0.5", "share with a negative average"):
        assert f">{words}<" in drawing


def test_what_is_needed_is_imported_when_it_is_needed() -> None:
    for module in (html, figures):
        for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            assert not {"matplotlib", "jinja2", "markupsafe"} & {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_a_package_it_is_said_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs {package}: pip install 'lane_hf\[report\]'"):
        write_report(example_record(30), tmp_path / "report.html")
    assert not any(tmp_path.iterdir())


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None) -> None:
    path = write_report(example_record(30), tmp_path / "deep" / "report.html")
    before = path.read_bytes()
    monkeypatch.setattr(html, "_facts", lambda record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(example_record(30), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_wrong_arguments(tmp_path: Path, no_figures: None) -> None:
    with pytest.raises(InputError, match="most_rows must be at least 1, got 0"):
        write_report(example_record(30), tmp_path / "report.html", most_rows=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(example_record(30), tmp_path / "file" / "report.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(example_record(30), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
