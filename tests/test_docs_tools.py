"""What builds the documentation, piece by piece: links, formulas, docstrings, options, drawings."""

import argparse
import logging
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import griffe
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs_tools"))
import command_line
import diagram
import docstrings
import formulas
from repository_pages import site_links

KNOWN = {"index.md", "how-to/load.md", "explanation/method.md", "project/benchmarks.md", "project/security.md"}


@pytest.mark.parametrize(
    ("page", "written", "shown"),
    [
        ("index.md", "[a](docs/how-to/load.md)", "[a](how-to/load.md)"),
        ("index.md", "[a](docs/how-to/load.md#there)", "[a](how-to/load.md#there)"),
        ("index.md", "[the licence](LICENSE)", "the licence"),
        ("index.md", "[a](https://example.org/x)", "[a](https://example.org/x)"),
        ("index.md", "[a](#below)", "[a](#below)"),
        ("index.md", "`[a](LICENSE)`", "`[a](LICENSE)`"),
        ("index.md", "\n```bash\n[a](LICENSE)\n```\n", "\n```bash\n[a](LICENSE)\n```\n"),
        ("how-to/load.md", "[a](../explanation/method.md)", "[a](../explanation/method.md)"),
        ("how-to/load.md", "[a](../../SECURITY.md)", "[a](../project/security.md)"),
        ("how-to/load.md", "[a](../../README.md)", "[a](../index.md)"),
        ("how-to/load.md", "[`a`](../../benchmarks/README.md#b)", "[`a`](../project/benchmarks.md#b)"),
        ("project/benchmarks.md", "[a](../docs/how-to/load.md)", "[a](../how-to/load.md)"),
        ("how-to/load.md", "![a](../../docs/explanation/method.md)", "![a](../explanation/method.md)"),
        ("how-to/load.md", "`x` ([`a`](../../LICENSE)) and `y`", "`x` (`a`) and `y`"),
        ("how-to/load.md", "[a](missing.md)", "[a](missing.md)"),  # for mkdocs to find
        ("how-to/load.md", "[a](../../missing.md)", "[a](../../missing.md)"),
    ],
)
def test_links_of_the_repository_are_links_of_the_site(page: str, written: str, shown: str) -> None:
    assert site_links(f"see {written}.", page, KNOWN) == f"see {shown}."


# ---- Formulas ----


def mathml(content: str) -> ET.Element:
    return ET.fromstring(formulas.with_mathml(content))  # noqa: S314 -- what was made here


def test_a_formula_becomes_mathml() -> None:
    math = mathml(r'<span class="arithmatex">\(\frac{a}{b_1}\)</span>')
    assert math.get("display") == "inline"
    tags = [each.tag.rpartition("}")[2] for each in math.iter()]
    assert tags == ["math", "mrow", "mfrac", "mrow", "mi", "mrow", "msub", "mi", "mn"]
    assert "".join(math.itertext()) == "ab1"


def test_a_displayed_formula_scrolls_by_itself() -> None:
    box = mathml('<div class="arithmatex">\\[\na &lt; b\n\\]</div>')
    assert (box.tag, box.get("class"), box[0].get("display")) == ("div", "formula", "block")
    assert "".join(box.itertext()) == "a<b"


def test_a_command_that_is_not_known_is_no_formula() -> None:
    with pytest.raises(ValueError, match=r"\\nosuchcommand"):
        formulas.with_mathml(r'<span class="arithmatex">\(\nosuchcommand{x}\)</span>')


def test_what_is_no_formula_stays() -> None:
    assert formulas.with_mathml(r"<p>\(x\) and $5</p>") == r"<p>\(x\) and $5</p>"


# ---- Docstrings ----

PACKAGE = '''
from dataclasses import dataclass, field


def helper():
    """Help."""


@dataclass
class Config:
    """Arguments of [`Trainer`], [`toy.helper`].

    Example:
        >>> Config()
    """

    rate: float = field(default=0.5, metadata={"help": "The share of "
        "the rows."})
    names: list = field(default_factory=list, metadata={"help": "Names."})
    own: int = 3
    """Said here."""


class Base:
    def state(self):
        """Return it."""


class Trainer(Base):
    def load(self):
        """Load what [`state`] and [`helper`] returned; see [`nothing`], [`x`](y.md), `[`z`]`."""
'''


@pytest.fixture
def toy(tmp_path: Path) -> griffe.Module:
    (tmp_path / "toy.py").write_text(PACKAGE)
    loader = griffe.GriffeLoader(search_paths=[tmp_path], extensions=griffe.load_extensions(docstrings.Docstrings))
    return loader.load("toy")


def ref(path: str, name: str) -> str:
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'


def test_names_in_brackets_lead_to_what_they_name(toy: griffe.Module) -> None:
    first = toy["Config"].docstring.value.splitlines()[0]
    assert first == f"Arguments of {ref('toy.Trainer', 'Trainer')}, {ref('toy.helper', 'toy.helper')}."
    load = toy["Trainer.load"].docstring.value
    assert load.startswith(f"Load what {ref('toy.Base.state', 'state')} and {ref('toy.helper', 'helper')} returned")
    assert "[`x`](y.md)" in load


def test_a_name_that_nothing_has_is_a_warning(
    toy: griffe.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        docstrings.Docstrings().on_package(pkg=griffe.load("toy", search_paths=[tmp_path]))
    assert "toy.Trainer.load: nothing is called nothing" in caplog.text
    assert "`nothing`" in toy["Trainer.load"].docstring.value


def test_examples_are_those_of_the_google_style(toy: griffe.Module) -> None:
    sections = toy["Config"].docstring.parse("google")
    assert sections[-1].kind is griffe.DocstringSectionKind.examples


def test_fields_have_their_help_and_their_default(toy: griffe.Module) -> None:
    config = toy["Config"]
    assert config["rate"].docstring.value == "The share of the rows."
    assert (config["rate"].value, config["names"].value, str(config["own"].value)) == ("0.5", None, "3")
    assert config["own"].docstring.value == "Said here."


# ---- The command line ----


def test_a_page_has_each_command_with_its_options() -> None:
    parser = argparse.ArgumentParser(prog="toy")
    commands = parser.add_subparsers()
    commands.add_parser("train", help="left out")
    bake = commands.add_parser("bake", help="bake a_cake")
    bake.add_argument("recipe", help="what to bake")
    bake.add_argument("--heat", type=int, default=180, help="in [degrees]")
    bake.add_argument("--fan", action="store_true", help="blow")
    bake.add_argument("--kind", choices=("flat", "tall"), help="its shape")
    release = commands.add_parser("sell", help="sell it").add_subparsers()
    release.add_parser("train", help="at the door")

    page = "\n".join(command_line.commands_page(parser, left_out="toy train"))
    assert "## toy train" not in page
    assert page.startswith("## toy bake\n\nBake a\\_cake.\n\n```text\ntoy bake ")
    for lines in (
        "`recipe`\n:   What to bake.\n",
        "`--heat HEAT`\n:   In \\[degrees\\]. Default: 180.\n",
        "`--fan`\n:   Blow.\n",
        "`--kind {flat,tall}`\n:   Its shape.\n",
        "## toy sell\n\nSell it.\n\n### toy sell train\n\nAt the door.\n",
    ):
        assert lines in page


def test_only_its_page_gets_the_commands() -> None:
    def page(uri: str) -> SimpleNamespace:
        return SimpleNamespace(file=SimpleNamespace(src_uri=uri))

    assert command_line.on_page_markdown(command_line.MARK, page=page("index.md")) == command_line.MARK
    with pytest.raises(ValueError, match="must have one line"):
        command_line.on_page_markdown("# Command line", page=page(command_line.PAGE))


# ---- Drawings ----


def test_boxes_and_arrows_are_drawn() -> None:
    source = {
        "title": "A & B",
        "boxes": {
            "a": {"at": [0, 0], "kind": "data", "text": ["A <1>", "more"]},
            "b": {"at": [1, 0], "kind": "code", "text": ["B"]},
            "c": {"at": [0, 1], "width": 2, "kind": "state", "text": ["C"]},
            "d": {"at": [1, 2], "kind": "state", "text": ["D"]},
        },
        "arrows": [["a", "b"], ["a", "c", "goes"], ["b", "c"], ["c", "d"], ["a", "d"]],
    }
    image = ET.fromstring(diagram.draw(source))  # noqa: S314 -- what was made here
    namespace = "{http://www.w3.org/2000/svg}"
    assert [each.text for each in image.iter(f"{namespace}text")] == ["A <1>", "more", "B", "C", "D", "goes"]
    assert image.find(f"{namespace}title").text == "A & B"
    group = image.find(f"{namespace}g")
    assert len(group.findall(f"{namespace}path")) == 5
    first, second, wide, _ = group.findall(f"{namespace}rect")
    assert first.get("y") == second.get("y")
    assert float(first.get("height")) == float(second.get("height"))
    assert float(wide.get("width")) > 2 * float(first.get("width"))
    assert float(wide.get("y")) > float(first.get("y")) + float(first.get("height"))


def test_an_arrow_to_nowhere_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        diagram.draw(
            {"title": "", "boxes": {"a": {"at": [0, 0], "kind": "data", "text": ["A"]}}, "arrows": [["a", "nowhere"]]}
        )
