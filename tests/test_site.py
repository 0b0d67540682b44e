"""The documentation site as it is built: complete, and readable without a network."""

import argparse
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from lane_hf.cli import parser as lane_parser
from lane_hf.methods import METHODS
from lane_hf.run_arguments import DataArguments, ModelArguments, RunConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "docs_tools"))
import diagram
import repository_pages

ROOT = Path(__file__).parents[1]

# Modules that are documented as a whole: everything public in them.
WHOLE_MODULES = [
    "margins",
    "weighting",
    "mixture",
    "noise_probability",
    "learned_labels",
    "soft_targets",
    "contrastive",
    "mixup",
    "noise",
    "label_space",
    "metrics",
    "errors",
    "report.label_issues",
    "report.estimates",
    "report.fix",
    "report.review",
    "report.from_margins",
    "report.run_record",
    "report.html",
    "report.figures",
    "augmentation.collator",
    "datasets.tables",
    "datasets.columns",
]
PACKAGES = ["", "baselines", "augmentation", "datasets"]
_FETCHING = {*"img script iframe source video audio embed object input track image use".split()}  # noqa: SIM905
_OTHER_HOST = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_CSS_URL = re.compile(r"""(?:url\(|@import)\s*['"]?([^'")\s;]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Not with --quiet: it hides warnings from --strict, too.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class _Requests(HTMLParser):
    """Collects what a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _FETCHING:
            self.urls += [given[name] for name in ("src", "data", "href", "xlink:href", "poster") if name in given]
            self.urls += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        if tag == "link" and given.get("rel") != "canonical":
            self.urls.append(given.get("href", ""))
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.urls.append(given.get("content", "").partition("=")[2])
        self.urls += _CSS_URL.findall(given.get("style", ""))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.urls += _CSS_URL.findall(data)


def requests_to_other_hosts(text: str, suffix: str) -> list[str]:
    if suffix == ".css":
        urls = _CSS_URL.findall(text)
    else:
        page = _Requests()
        page.feed(text)
        urls = page.urls
    return [url for url in urls if _OTHER_HOST.match(url)]


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('<img src="https://example.org/a.png">', ".html"),
        ('<img srcset="a.png 1x, //example.org/b.png 2x">', ".html"),
        ('<script src="//example.org/a.js"></script>', ".html"),
        ('<link rel="stylesheet" href="https://fonts.example.org/css">', ".html"),
        ('<link rel="preconnect" href="https://example.org">', ".html"),
        ("<style>@import 'https://example.org/a.css';</style>", ".html"),
        ("<p style=\"background: url('https://example.org/a.png')\">", ".html"),
        ('<svg><image href="https://example.org/a.png"/></svg>', ".svg"),
        ("a { src: url(https://example.org/font.woff2) }", ".css"),
    ],
)
def test_a_request_to_another_host_is_noticed(text: str, suffix: str) -> None:
    assert len(requests_to_other_hosts(text, suffix)) == 1


def test_a_link_to_click_is_no_request() -> None:
    assert requests_to_other_hosts('<a href="https://example.org">here</a><img src="a.svg">', ".html") == []


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert len([path for path in files if path.suffix == ".html"]) > 30
    for path in files:
        assert requests_to_other_hosts(path.read_text("utf-8"), path.suffix) == [], path


def test_nothing_wakes_what_the_theme_would_load(site: Path) -> None:
    # The theme's script fetches a drawing library for such blocks, and the stars of a linked repository.
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert 'class="mermaid"' not in text, page
        assert 'data-md-component="source"' not in text, page
        assert 'class="arithmatex"' not in text, page


def _in_nav(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for each in entry.values() if isinstance(entry, dict) else entry:
            yield from _in_nav(each)


def test_every_page_is_in_the_navigation(site: Path) -> None:
    nav = sorted(_in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert nav == sorted([*written, *repository_pages.PAGES.values()])
    built = [path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")]
    assert sorted(built) == sorted([*nav, "404.md"])


# ---- The reference ----


def _public_names() -> list[str]:
    names = []
    for package in PACKAGES:
        module = importlib.import_module(f"lane_hf.{package}" if package else "lane_hf")
        names += [f"{module.__name__}.{name}" for name in module.__all__]
    for module_name in WHOLE_MODULES:
        module = importlib.import_module(f"lane_hf.{module_name}")
        names += [
            f"{module.__name__}.{name}"
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == module.__name__
        ]
    return names


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    pages = "".join(path.read_text("utf-8") for path in sorted((site / "reference" / "python").glob("*.html")))
    anchors = set(re.findall(r'id="(lane_hf[\w.]*)"', pages))
    names = _public_names()
    assert {"lane_hf.LaneTrainer", "lane_hf.baselines.ElrConfig", "lane_hf.noise.inject"} <= set(names)

    def is_there(name: str) -> bool:
        module, _, last = name.rpartition(".")
        value = getattr(importlib.import_module(module), last)
        home = getattr(value, "__module__", module)
        return name in anchors or f"{home}.{last}" in anchors or last == "__version__"

    assert [name for name in names if not is_there(name)] == []
    assert "<code>__version__</code>" in pages


def _text(page: Path) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8"))).split())


def test_fields_are_shown_with_their_help(site: Path) -> None:
    text = "".join(_text(site / "reference" / "python" / f"{page}.html") for page in ("lane-config", "baselines"))
    configs = {method.config for method in METHODS.values()}
    shown = {each for config in configs for each in fields(config) if each.name in config.own_fields()}
    assert len(shown) > 40
    for each in shown:
        assert re.sub(r"[`*]", "", " ".join(each.metadata["help"].split()))[:40] in text, each.name


def test_names_in_docstrings_are_links(site: Path) -> None:
    pages = "".join(path.read_text("utf-8") for path in (site / "reference" / "python").glob("*.html"))
    assert "[<code>" not in pages
    assert re.search(r'<a class="autorefs[^>]*href="[^"]*#lane_hf\.margins\.smooth_probabilities"><code>', pages)


# ---- The command line ----


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _parsers(command)


def test_every_command_and_option_is_on_the_page_of_the_command_line(site: Path) -> None:
    text = _text(site / "reference" / "command-line.html")
    parsers = list(_parsers(lane_parser()))
    assert len(parsers) > 10
    for parser in parsers:
        assert parser.prog in text
        for action in parser._actions:
            if action.option_strings and action.dest not in ("help", "version"):
                assert action.option_strings[0] in text, f"{parser.prog} {action.option_strings[0]}"
    of_training = [each.name for group in (DataArguments, ModelArguments) for each in fields(group)]
    of_methods = [
        name for method in METHODS.values() for name in method.config.own_fields() if name not in method.fixed
    ]
    for name in [*of_training, *RunConfig.__annotations__, *of_methods]:
        assert f"--{name} " in text, name


# ---- Drawings ----


@pytest.mark.parametrize("source", diagram.sources(), ids=lambda path: path.name)
def test_a_drawing_is_that_of_its_source(source: Path) -> None:
    drawn = diagram.draw(yaml.safe_load(source.read_text("utf-8")))
    assert diagram.drawing_of(source).read_text("utf-8") == drawn, "python docs_tools/diagram.py draws it anew"
    pages = "".join(path.read_text("utf-8") for path in source.parent.glob("*.md"))
    assert f"]({diagram.drawing_of(source).name})" in pages


def test_there_are_drawings() -> None:
    assert len(diagram.sources()) >= 2
