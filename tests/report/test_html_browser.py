"""The report in a real browser: searching, sorting, filtering, dark mode, a phone; no error, no request."""

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from example_run import example_record
from test_html import HOSTILE, with_texts

from lane_hf.report.html import write_report
from lane_hf.report.label_issues import LabelIssues

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Report:
    """An open report."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        for kind in ("browser", "performance"):
            driver.get_log(kind)  # of earlier pages
        driver.get(path.as_uri())

    def js(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def column(self, name: str) -> list[str]:
        return self.js(
            f"return [...document.querySelectorAll('#table tbody td[data-name=\"{name}\"]')].map((c) => c.textContent)"
        )

    def set(self, element: str, value: Any, name: str = "value") -> None:
        self.js(
            f"const e = document.getElementById({json.dumps(element)}); e[{json.dumps(name)}] = {json.dumps(value)};"
            "e.dispatchEvent(new Event('input', {bubbles: true}))"
        )

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def count(self) -> int:
        return int(self.js("return document.getElementById('count').textContent").split(" ")[0].replace(",", ""))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def assert_no_error_and_no_request(self) -> None:
        assert self.driver.get_log("browser") == []
        events = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        assert asked
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Callable[..., Report]:
    return lambda record, **options: Report(browser, write_report(record, tmp_path / "report.html", **options))


def test_search_sort_filter_and_pages(open_report: Callable[..., Report]) -> None:
    record = example_record(600)
    issues, report = record.issues, open_report(record)
    wrong = issues[issues["is_issue"]]
    assert report.count() == len(wrong)
    assert report.column("Row") == wrong["row_id"].head(25).map(str).tolist()
    report.click("#next")
    assert report.column("Row") == wrong["row_id"][25:50].map(str).tolist()
    report.set("only-issues", False, "checked")
    assert report.count() == 600

    word = "row 12"
    report.set("search", word.upper())
    expected = issues[issues["text"].str.contains(word)]
    report.wait_for(lambda: report.count() == len(expected))
    assert report.column("Text") == expected["text"].head(25).tolist()
    report.set("search", "")
    report.wait_for(lambda: report.count() == 600)

    code = issues.label_names.index("cow")
    report.set("given", str(code))
    assert report.count() == (issues["given_label"] == "cow").sum()
    report.set("suggested", str(issues.label_names.index("bee")))
    both = issues[(issues["given_label"] == "cow") & (issues["suggested_label"] == "bee")]
    assert report.count() == len(both) > 0
    assert set(report.column("Given")) == {"cow"}
    report.set("given", "")
    report.set("suggested", "")
    report.set("confidence", "0.95")
    sure = (issues["suggestion_confidence"] >= 0.95).sum()
    assert abs(report.count() - sure) <= 2  # the page has four digits
    report.set("confidence", "0")

    for ascending in (True, False):
        report.click("th[data-key=suggestion_confidence] button")
        shown = [float(text) for text in report.column("Confidence")]
        assert shown == sorted(shown, reverse=not ascending)
        ends = issues["suggestion_confidence"].min(), issues["suggestion_confidence"].max()
        assert shown[0] == pytest.approx(ends[0] if ascending else ends[1], abs=0.01)
        state = report.js("return document.querySelector('th[data-key=suggestion_confidence]').ariaSort")
        assert state == ("ascending" if ascending else "descending")
    report.click("th[data-key=given] button")
    assert report.column("Given") == sorted(report.column("Given"))
    report.assert_no_error_and_no_request()


def test_the_length_of_a_page_can_be_chosen(open_report: Callable[..., Report]) -> None:
    record = example_record(600)
    wrong, report = record.issues[record.issues["is_issue"]], open_report(record)
    report.click("#next")
    report.set("size", "50")
    assert report.column("Row") == wrong["row_id"].head(50).map(str).tolist()
    report.click("#next")
    assert report.column("Row") == wrong["row_id"][50:100].map(str).tolist()
    assert report.js("return document.getElementById('page').textContent") == f"Page 2 of {-(-len(wrong) // 50)}"


def test_a_row_opens_with_its_margins(open_report: Callable[..., Report]) -> None:
    record = example_record(200)
    report = open_report(record)
    first = record.issues.iloc[0]
    report.click("td.open button")
    details = report.js("return document.querySelector('tr.detail').innerText")
    assert f"{first['aum']:.2f}" in details
    assert f"{first['variability']:.2f}" in details
    words = report.js("return document.querySelector('tr.detail svg').getAttribute('aria-label')")
    margins = ", ".join(f"{value:.1f}" for value in record.margins[:, first["row_id"]])
    assert words == f"Margin by epoch: {margins} logits"
    assert report.js("return document.activeElement.getAttribute('aria-expanded')") == "true"
    report.click("td.open button")
    assert report.js("return document.querySelector('tr.detail')") is None
    report.assert_no_error_and_no_request()


def test_dark_and_light(open_report: Callable[..., Report], browser: Any) -> None:
    report = open_report(example_record(60))

    def brightness() -> int:
        colour = report.js("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    try:
        for scheme, is_dark in (("dark", True), ("light", False)):
            emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
            assert (brightness() < 200) == is_dark
        report.click("#theme")
        assert brightness() < 200
        ink = report.js("return getComputedStyle(document.querySelector('figure svg text')).fill")
        assert sum(map(int, ink.removeprefix("rgb(").removesuffix(")").split(","))) > 600
        report.click("#theme")
        assert brightness() > 600
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_it_fits_a_phone(open_report: Callable[..., Report], browser: Any) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        record = with_texts(["a_word_without_any_space_" * 20, "short"])
        report = open_report(record)
        assert report.js("return document.documentElement.scrollWidth") <= 390
        assert len(report.column("Row")) == 10
        assert report.js("return document.querySelector('td.text').getBoundingClientRect().width") > 300
        # The heads of the columns are not there to be pressed.
        assert report.js("return document.querySelector('#table thead').checkVisibility()") is False
        assert report.js("return document.getElementById('sort').checkVisibility()") is True
        report.set("sort", "noise_probability up")
        shown = [float(text) for text in report.column("Wrong with probability")]
        assert shown == sorted(shown)
        report.set("sort", "row_id down")
        shown = [int(text) for text in report.column("Row")]
        assert shown == sorted(shown, reverse=True)
        report.set("sort", "")
        wrong = record.issues[record.issues["is_issue"]]
        assert report.column("Row") == wrong["row_id"].head(10).map(str).tolist()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_can_be_printed(open_report: Callable[..., Report], browser: Any) -> None:
    record = with_texts([f"a sentence of some twenty words, {'such as these, ' * 6}as long as they are"])
    issues = pd.concat([pd.DataFrame(record.issues)] * 3, ignore_index=True).assign(is_issue=True)
    record.issues = LabelIssues(issues, record.issues.label_names)
    report = open_report(record)
    report.click("#theme")
    report.click("td.open button")
    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert report.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert report.js("return getComputedStyle(document.body).getPropertyValue('--clean').trim()") == "#0072b2"
        assert report.js("return document.querySelector('.controls').checkVisibility()") is False
        report.js("window.dispatchEvent(new Event('beforeprint'))")
        assert len(report.column("Row")) == 50
        assert report.js("return document.querySelectorAll('details:not([open])').length") == 0
        said = report.js("return document.getElementById('count').textContent")
        assert said.endswith("The first 50 are printed.")
        report.js("window.dispatchEvent(new Event('afterprint'))")
        assert len(report.column("Row")) == 25
        assert report.js("return document.querySelectorAll('details:not([open])').length") > 0
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        # On paper, unlike in the emulation, columns are narrow: a text one letter wide takes a page for each row.
        paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
        assert len(re.findall(rb"/Type /Page\b", paper)) < 15
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    report.assert_no_error_and_no_request()


def test_hostile_texts_do_nothing(open_report: Callable[..., Report]) -> None:
    labels = [f"{text}{number}" for number, text in enumerate(HOSTILE[:4])]
    report = open_report(with_texts(HOSTILE, labels))
    report.set("only-issues", False, "checked")
    for _ in range(3):
        report.click("td.open button")
        report.click("#next")
    assert "owned" not in report.js("return document.title")
    assert report.js("return document.images.length") == 0
    assert report.js("return document.scripts.length") == 2
    report.assert_no_error_and_no_request()


def test_a_hundred_thousand_rows_can_be_searched(open_report: Callable[..., Report]) -> None:
    record = example_record(400)
    many = pd.concat([pd.DataFrame(record.issues)] * 250, ignore_index=True)
    many["row_id"] = range(len(many))
    many["text"] = [f"sentence number {row} about something" for row in range(len(many))]
    record.issues, record.margins = LabelIssues(many, record.issues.label_names), None
    report = open_report(record, most_rows=100_000)
    report.set("only-issues", False, "checked")
    assert report.count() == 100_000
    report.set("search", "number 4321 about")
    report.wait_for(lambda: report.count() == 1)
    assert report.column("Text") == ["sentence number 4321 about something"]
    report.assert_no_error_and_no_request()
