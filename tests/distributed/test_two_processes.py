"""Two real processes with batches of 4 learn what one process with batches of 8 learns."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("train_toy.py")


def train(folder: Path, processes: int, options: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir()
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), str(folder), json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(folder / "result.pt", weights_only=True)


@pytest.mark.parametrize(
    "options",
    [{"weighting": "gaussian"}, {"weighting": "mixture"}, {"similarity": "class"}],
    ids=["gaussian", "mixture", "class"],
)
def test_two_processes_equal_one(tmp_path: Path, options: dict[str, Any]) -> None:
    one, two = (train(tmp_path / str(number), number, options) for number in (1, 2))
    assert torch.equal(one["alm"]["count"], two["alm"]["count"])
    assert one["alm"]["count"].unique().tolist() == [3]
    torch.testing.assert_close(one["alm"]["sum"], two["alm"]["sum"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one["rows"]["margin_sum"], two["rows"]["margin_sum"], rtol=1e-3, atol=1e-3)
    assert torch.equal(one["rows"]["label"], two["rows"]["label"])
    assert two["weights"] == pytest.approx(one["weights"], abs=1e-3)
    assert min(one["weights"]) < 1
    for network in ("classifier", "auxiliary"):
        for name, weights in one[network].items():
            torch.testing.assert_close(weights, two[network][name], rtol=1e-3, atol=1e-4, msg=f"{network} {name}")
