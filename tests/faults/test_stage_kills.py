"""A method with several stages that is killed anywhere goes on in its stage, and ends where it would have ended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("stages_toy.py")
DONE = {
    "batch 3": [],
    "batch 12": [],
    "after stage 1": ["stage-1"],
    "batch 24": ["stage-1"],
    "batch 31": ["stage-1"],
    "after stage 2": ["stage-1", "stage-2"],
    "batch 38": ["stage-1", "stage-2"],
    "batch 55": ["stage-1", "stage-2"],
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("stages")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=1200, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads((folder / "outcomes.json").read_text())


@pytest.mark.parametrize("place", DONE)
def test_goes_on_where_it_was_killed(outcomes: dict[str, Any], place: str) -> None:
    assert outcomes[place] == {"killed": True, "stages_done": DONE[place], "same": True}
