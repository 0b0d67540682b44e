"""What the repository asks of itself: short files and functions, docstrings, and that what it names exists."""

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


def bound(name: str) -> set[str]:
    """Return the names that a file binds, and the modules beside it if it is a package."""
    found = {child.stem for child in (ROOT / name).parent.iterdir()} if name.endswith("__init__.py") else set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # imported when it is first used
            found.add(node.value)
    return found


def test_every_name_that_the_library_imports_from_itself_is_there() -> None:
    """Many imports stand inside functions, where nothing but a call of that function would find a wrong one."""
    wrong, number = [], 0
    for name in python_files("lane_hf"):
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ImportFrom) and node.level:
                number += 1
                target = (ROOT / name).parents[node.level - 1].joinpath(*(node.module or "").split("."))
                file = target / "__init__.py" if target.is_dir() else target.with_suffix(".py")
                known = bound(str(file.relative_to(ROOT)))
                wrong += [f"{name}: {alias.name}" for alias in node.names if alias.name not in known]
    assert number > 0
    assert wrong == []


def test_every_test_that_a_document_names_is_there() -> None:
    wrong, number = [], 0
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for path, test in re.findall(r"([\w/]*test_\w+\.py)(?:::(\w+))?", page.read_text(encoding="utf-8")):
            name = path.lstrip("/")  # a link begins with dots
            number += 1
            files = [file for file in (ROOT / "tests").rglob(Path(name).name) if str(file).endswith(f"/{name}")]
            if not any(f"def {test}" in file.read_text(encoding="utf-8") for file in files):
                wrong.append(f"{page.relative_to(ROOT)}: {name} {test}")
    assert number > 0
    assert wrong == []
