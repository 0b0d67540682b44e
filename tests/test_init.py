"""The package's surface: light to import, complete, and honest about what it does not have."""

import subprocess
import sys
from importlib import metadata

import pytest

import lane_hf
from lane_hf.errors import InputError

NAMES = ["AlmBuffer", "InputError", "LaneConfig", "LaneTrainer", "RowTrainer", "from_pretrained", "__version__"]


def run(code: str) -> str:
    # -X importtime would do as well; sys.modules says exactly what was imported.
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("first", ["", "dir(lane_hf); lane_hf.__version__; lane_hf.InputError; lane_hf.__all__"])
def test_importing_the_package_imports_nothing_heavy(first: str) -> None:
    heavy = ("torch", "transformers", "datasets", "pandas", "numpy", "accelerate")
    code = f"import sys, lane_hf\n{first}\nprint([name for name in {heavy} if name in sys.modules])"
    assert run(code) == "[]"


def test_a_name_is_imported_when_it_is_first_used() -> None:
    code = "import sys, lane_hf; lane_hf.AlmBuffer; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert run(code) == "True False"


def test_dir_shows_the_public_names() -> None:
    assert sorted(dir(lane_hf)) == sorted(NAMES)
    assert sorted(lane_hf.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_every_public_name_is_there_under_its_name(name: str) -> None:
    found = getattr(lane_hf, name)
    assert found.__name__ == name
    assert found.__module__.startswith("lane_hf.")
    assert found.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lane_hf' has no attribute 'LaneTrainr'"):
        lane_hf.LaneTrainr  # noqa: B018
    assert not hasattr(lane_hf, "torch")


def test_the_version_is_that_of_the_installed_package() -> None:
    assert lane_hf.__version__ == metadata.version("lane_hf")


def test_an_input_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^mend it$"):
        raise InputError("mend it")
