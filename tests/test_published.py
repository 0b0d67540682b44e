"""What is published: each table and figure of the documents is what the committed lines make of it."""

import re
import shutil
import sys
from pathlib import Path

import matplotlib
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import publish
from publish import ROOT

_DRAWN_BY = re.compile(r"Matplotlib v([0-9.]+)")


@pytest.fixture(scope="module")
def stale() -> list[str]:
    return publish.stale(ROOT)


def test_no_table_was_typed_or_is_older_than_its_lines(stale: list[str]) -> None:
    assert [name for name in stale if name.endswith(".md")] == []


def test_no_figure_is_older_than_its_lines(stale: list[str]) -> None:
    drawn_by = {
        name: _DRAWN_BY.search((ROOT / name).read_text()) for name in publish.targets() if name.endswith(".svg")
    }
    assert all(drawn_by.values())
    if any(found and found[1] != matplotlib.__version__ for found in drawn_by.values()):
        pytest.skip("the committed figures are by another release of Matplotlib, which places its texts otherwise")
    assert [name for name in stale if name.endswith(".svg")] == []


def test_every_table_of_a_document_is_in_the_list() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]
    marked = sum(len(re.findall(r"<!-- table: \S+ -->", path.read_text())) for path in documents)
    assert marked == sum("--into" in arguments for _, arguments in publish.PUBLISHED)


def test_one_changed_digit_is_noticed(tmp_path: Path) -> None:
    for name in ("docs", publish.RESULTS):
        shutil.copytree(ROOT / name, tmp_path / name)
    text = (ROOT / "README.md").read_text()
    changed = re.sub(r"(\| trec, clean \| \d\d)\.\d", r"\1.x", text)
    assert changed != text
    (tmp_path / "README.md").write_text(changed)
    assert "README.md" in publish.stale(tmp_path)


def test_the_command_names_what_is_stale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(publish, "stale", lambda root: ["README.md"])
    assert publish.main(["--check"]) == 1
    assert capsys.readouterr().out == "README.md: not what its lines make; run python benchmarks/publish.py\n"
    monkeypatch.setattr(publish, "stale", lambda root: [])
    assert publish.main(["--check"]) == 0
