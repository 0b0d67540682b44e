"""Two hosts that share nothing but a network learn what one process learns."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import launch
from two_hosts import bytes_sent, launch_on_both, two_hosts, why_not

SCRIPT = Path(__file__).with_name("train_toy.py")
REASON = why_not()
SCENARIOS: dict[str, dict[str, Any]] = {
    "lane": {"weighting": "gaussian"},
    "contrastive": {"contrastive": "lscl", "contrastive_weight": 0.1, "gather_across_devices": True},
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process learns."""
    folder = tmp_path_factory.mktemp("one")
    launch(SCRIPT, 1, str(folder), json.dumps(SCENARIOS))
    return folder


@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_hosts_equal_one_process(one: Path, tmp_path: Path, launcher: str) -> None:
    with two_hosts():
        launch_on_both(SCRIPT, str(tmp_path), json.dumps(SCENARIOS), launcher=launcher)
        sent = bytes_sent()
    for name in SCENARIOS:
        expected, actual = (torch.load(folder / f"{name}.pt", weights_only=True) for folder in (one, tmp_path))
        assert actual["processes"] == 2
        assert torch.equal(expected["alm"]["count"], actual["alm"]["count"])
        torch.testing.assert_close(actual["alm"]["sum"], expected["alm"]["sum"], rtol=1e-3, atol=1e-3)
        for network in ("classifier", "auxiliary"):
            for parameter, weights in expected[network].items():
                torch.testing.assert_close(actual[network][parameter], weights, rtol=1e-3, atol=1e-4)
    # 12 steps in each scenario, with the gradients of both networks in float32: they did go over the cable.
    parameters = [*expected["classifier"].values(), *expected["auxiliary"].values()]
    assert sent > 2 * 12 * 4 * sum(weights.numel() for weights in parameters)
