"""A run that is killed, at any step or while it saves, and resumed, equals the undisturbed run bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("kill_toy.py")
AT_STEPS, AT_TIMES, SEED = 10, 6, 7

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are tested with forked processes")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kills")
    command = [sys.executable, str(SCRIPT), str(folder), *map(str, (AT_STEPS, AT_TIMES, SEED))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "outcomes.json").read_text())


def test_killed_at_ten_different_steps(outcomes: dict[str, Any]) -> None:
    trials = {name: trial for name, trial in outcomes["trials"].items() if name.startswith("step")}
    assert len(trials) == AT_STEPS
    for name, trial in trials.items():
        assert trial == {"killed": True, "same": True}, name


def test_killed_at_random_moments(outcomes: dict[str, Any]) -> None:
    trials = {name: trial for name, trial in outcomes["trials"].items() if name.startswith("time")}
    assert len(trials) == AT_TIMES
    for name, trial in trials.items():
        assert trial["same"], name


def test_killed_in_the_middle_of_each_file_of_a_checkpoint(outcomes: dict[str, Any]) -> None:
    assert len(outcomes["saving"]) == 6
    for name, trial in outcomes["saving"].items():
        assert trial == {"killed": True, "left": ["checkpoint-3", "checkpoint-6"], "same": True}, name
