"""What the repository asks of itself: short files and functions, docstrings, and that the tests it names exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("lane_hf", "tests", "benchmarks", "examples")
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60


def python_files(*folders: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def public(node: ast.Module | ast.ClassDef, where: str) -> Iterator[tuple[str, ast.AST]]:
    """Return the public functions and classes of a file, and the public methods of its public classes."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield f"{where}:{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{where}:{child.name}")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_has_more_than_400_lines(folder: str) -> None:
    names = python_files(folder)
    assert names
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in names}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_of_the_library_has_more_than_60_lines() -> None:
    long = {
        f"{name}:{node.name}": node.end_lineno - node.lineno + 1
        for name in python_files("lane_hf")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_everything_public_has_a_docstring() -> None:
    files = python_files("lane_hf")
    found = [(name, tree(name)) for name in files] + [pair for name in files for pair in public(tree(name), name)]
    assert len(found) > len(files)
    assert [where for where, node in found if ast.get_docstring(node) is None] == []


def test_every_test_that_a_document_names_is_there() -> None:
    wrong, number = [], 0
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for name, test in re.findall(r"([\w/]*test_\w+\.py)(?:::(\w+))?", page.read_text(encoding="utf-8")):
            number += 1
            files = [path for path in (ROOT / "tests").rglob(Path(name).name) if str(path).endswith(f"/{name}")]
            if not any(f"def {test}" in path.read_text(encoding="utf-8") for path in files):
                wrong.append(f"{page.relative_to(ROOT)}: {name} {test}")
    assert number > 0
    assert wrong == []
