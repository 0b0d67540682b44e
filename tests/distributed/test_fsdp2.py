"""Sharded by FSDP2 over two real processes, both networks learn what one process learns, and come back on resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from launching import fork_each, learned_of
from training import make_trainer

from lane_hf.errors import InputError

SCRIPT = Path(__file__).with_name("fsdp_toy.py")
# Evaluation draws random numbers, and with several processes others than with one.
QUIET = {"eval_strategy": "no", "save_strategy": "no"}
CONTRASTIVE = {"contrastive": "lscl", "contrastive_weight": 0.1, "gather_across_devices": True}
SCENARIOS: dict[str, dict[str, Any]] = {
    "gaussian": {**QUIET, "weighting": "gaussian", "weight_averaging": 0.4},
    "mixture": {**QUIET, "weighting": "mixture", "gradient_accumulation_steps": 2},
    "shared": {**QUIET, **CONTRASTIVE, "auxiliary": "shared"},
}
# Plain gradient descent has no state, and PyTorch cannot load an empty one.
ADAMW = {"optim": "adamw_torch", "learning_rate": 1e-3, "weight_averaging": 0.4}
SHARDED: dict[str, dict[str, Any]] = {
    "whole": ADAMW,
    "whole_resumed": {**ADAMW, "folder": "whole", "resume": "checkpoint-8"},
    "best": {**ADAMW, "load_best_model_at_end": True, "metric_for_best_model": "loss"},
    "shards": {**ADAMW, "state_dict_type": "SHARDED_STATE_DICT"},
    "shards_resumed": {
        **ADAMW,
        "state_dict_type": "SHARDED_STATE_DICT",
        "folder": "shards",
        "resume": "checkpoint-4",
    },
}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    scenarios = {1: SCENARIOS, 2: {**SCENARIOS, **SHARDED}}
    tasks = {processes: (tmp_path_factory.mktemp(f"fsdp_{processes}"), own) for processes, own in scenarios.items()}
    fork_each(SCRIPT, tasks)
    return learned_of(tasks)


def close(expected: Any, actual: Any, **tolerance: float) -> None:
    if isinstance(expected, dict):
        assert expected.keys() == actual.keys()
        for name in expected:
            close(expected[name], actual[name], **tolerance)
    else:
        torch.testing.assert_close(torch.as_tensor(actual), torch.as_tensor(expected), **tolerance)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_sharded_processes_equal_one(learned: dict[int, dict[str, Any]], scenario: str) -> None:
    one, two = learned[1][scenario], learned[2][scenario]
    assert (one["is_sharded"], two["is_sharded"]) == (False, True)
    assert torch.equal(one["alm"]["count"], two["alm"]["count"])
    for part in ("classifier", "auxiliary"):
        close(one[part], two[part], rtol=1e-3, atol=1e-4)
    close(one["alm"]["sum"], two["alm"]["sum"], rtol=1e-3, atol=1e-3)
    close(one["logits"], two["logits"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scenario", [*SCENARIOS, *SHARDED])
def test_what_is_saved_is_the_plain_classifier(learned: dict[int, dict[str, Any]], scenario: str) -> None:
    result = learned[2][scenario]
    close(result["classifier"], result["saved"], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["whole", "shards"])
def test_a_resumed_run_equals_the_uninterrupted_one(learned: dict[int, dict[str, Any]], kind: str) -> None:
    whole, resumed = learned[2][kind], learned[2][f"{kind}_resumed"]
    assert whole["optimizer_steps"] == resumed["optimizer_steps"] == 12
    for part in ("classifier", "auxiliary", "alm", "rows", "logits"):
        close(whole[part], resumed[part], rtol=0, atol=0)


def test_both_kinds_of_engine_checkpoint_agree(learned: dict[int, dict[str, Any]]) -> None:
    close(learned[2]["whole"]["classifier"], learned[2]["shards"]["classifier"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("engine", "changes", "message"),
    [
        ({"is_deepspeed_enabled": True}, {}, "DeepSpeed is not supported.*fsdp2.yaml"),
        ({"is_fsdp_enabled": True, "version": 1}, {}, "FSDP version 1 is not supported.*fsdp_version to 2"),
        ({"is_fsdp_enabled": True, "version": 2}, {"auto_find_batch_size": True}, "auto_find_batch_size cannot be"),
    ],
)
def test_what_cannot_be_sharded_is_refused_with_what_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    from transformers import Trainer

    create = Trainer.create_accelerator_and_postprocess

    def with_engine(self: Trainer) -> None:
        create(self)
        if "version" in engine:
            plugin = type("Plugin", (), {"fsdp_version": engine["version"]})()
            monkeypatch.setattr(self.accelerator.state, "fsdp_plugin", plugin, raising=False)
            self.is_fsdp_enabled = True
        self.is_deepspeed_enabled = engine.get("is_deepspeed_enabled", False)

    monkeypatch.setattr(Trainer, "create_accelerator_and_postprocess", with_engine)
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path, **changes)
