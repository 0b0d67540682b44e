"""Several real processes with small batches learn what one process with the whole batch learns.

37 rows in steps of 12: in the last step of an epoch one row is left, so that the other processes get nothing but rows
that fill up, which must not count.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import fork_each, learned_of

SCRIPT = Path(__file__).with_name("train_toy.py")
SPLIT = {"dispatch_batches": True, "split_batches": True}
CONTRASTIVE = {"contrastive": "lscl", "gather_across_devices": True, "contrastive_weight": 0.1}
LONGER = {"num_rows": 61}  # six batches an epoch, so that two are left over after one step of four
# Trainer groups rows by length in portions that depend on the batch of one process: here 12 rows, whatever that is.
SCENARIOS: dict[str, dict[str, Any]] = {
    "gaussian": {"weighting": "gaussian"},
    "mixture": {"weighting": "mixture"},
    "posterior": {
        **CONTRASTIVE,
        "contrastive": "scl",
        "weighting": "posterior",
        "bootstrap": "candidate",
        "wait_for_labels": True,
        "weight_averaging": 0.4,
    },
    "class_similarity": {"similarity": "class"},
    "even": {"num_rows": 36},
    "seven_left": {"num_rows": 31},
    "fewer_rows_than_a_step": {"num_rows": 5},
    "one_row_a_process": {"num_rows": 3, "global_batch": 6},
    "accumulation_2": {**LONGER, "gradient_accumulation_steps": 2},
    "accumulation_4": {**LONGER, "gradient_accumulation_steps": 4},
    "split_batches": {"sharing": {"split_batches": True}},
    "dispatch": {"sharing": SPLIT, "fixed_width": True},
    "drop_last": {"dataloader_drop_last": True},
    "length_groups": {**LONGER, "train_sampling_strategy": "group_by_length"},
    "plain": {"trainer": "plain"},
    "views": {"views": True},
    "lscl": CONTRASTIVE,
    "lscl_into_auxiliary": {**CONTRASTIVE, "aux_contrastive_grad": True},
    "lane_lcl": {**CONTRASTIVE, "contrastive": "lcl"},
    "scl_views": {**CONTRASTIVE, "contrastive": "scl", "views": True},
    "lscl_accumulation": {**CONTRASTIVE, **LONGER, "gradient_accumulation_steps": 2},
    "shared_auxiliary": {"auxiliary": "shared"},
}
# What three processes can show besides: an odd number, and more processes than rows in a step.
OF_THREE = (
    *("posterior", "even", "seven_left", "fewer_rows_than_a_step", "one_row_a_process", "accumulation_2"),
    *("dispatch", "length_groups", "plain", "lscl"),
)
METHODS: dict[str, dict[str, Any]] = {
    "label-smoothing": {},
    "gce": {},
    "elr": {},
    "hmw": {},
    "peer-loss": {},
    "label-interpolation": {},
    "noise-layer": {"noise_layer_learning_rate": 0.1},
    "scl": {"gather_across_devices": True},
    "lcl": {"gather_across_devices": True},
    "co-teaching": {},
    "cartography-easy": {},
    "aum": {},
}
# They draw at random, so that several processes learn something else than one; but every process must know the same.
DRAWN: dict[str, dict[str, Any]] = {
    "divide-mix": {"lambda_u": 1.0},
    "self-mix": {},
    "unicon": {"lambda_u": 1.0},
    "disc": {},
}
# In one and in two processes: what three show of rows that fill up, LANE has shown.
OF_METHODS = {name: {"trainer": name, **options} for name, options in {**METHODS, **DRAWN}.items()}
FAULTS = {"meddled": {"meddle": True}}
# Dropout makes the processes draw different numbers of random numbers; 6 is in the middle of the second epoch.
DRAWING = {"dropout": 0.1, "auxiliary": "shared", "save_strategy": "steps", "save_steps": 3, "weight_averaging": 0.4}
RESUMED = {
    f"{name}{suffix}": {**DRAWING, "train_sampling_strategy": strategy, "folder": name, **resume}
    for name, strategy in (("at_random", "random"), ("by_length", "group_by_length"))
    for suffix, resume in (("", {}), ("_resumed", {"resume": "checkpoint-6"}))
}
RESUMED["once_more"] = RESUMED["at_random"]  # in the folder that was used already


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What 1, 2 and 3 processes learn in each scenario; one start for all, since that costs more than training."""
    tasks: dict[int, tuple[Path, dict[str, Any]]] = {}
    for processes in (1, 2, 3):
        own = SCENARIOS if processes < 3 else {name: SCENARIOS[name] for name in OF_THREE}
        scenarios = {**own, **RESUMED, **({} if processes == 1 else FAULTS)}
        scenarios |= OF_METHODS if processes < 3 else {}
        tasks[processes] = (tmp_path_factory.mktemp(f"processes_{processes}"), scenarios)
    fork_each(SCRIPT, tasks)
    return learned_of(tasks)


@pytest.mark.parametrize(
    ("scenario", "processes"),
    [*itertools.product(SCENARIOS, [2]), *itertools.product(OF_THREE, [3]), *itertools.product(METHODS, [2])],
)
def test_several_processes_equal_one(learned: dict[int, dict[str, Any]], scenario: str, processes: int) -> None:
    one, several = learned[1][scenario], learned[processes][scenario]
    assert (one["processes"], several["processes"]) == (1, processes)
    assert torch.equal(one["rows"]["visits"], several["rows"]["visits"])
    assert torch.equal(one["rows"]["label"], several["rows"]["label"])
    close(one["rows"]["margin_sum"], several["rows"]["margin_sum"], "margins")
    assert several["loss"] == pytest.approx(one["loss"], rel=1e-3, abs=1e-3)
    networks = ["classifier"]
    if "alm" in one:
        networks.append("auxiliary")
        assert torch.equal(one["alm"]["count"], several["alm"]["count"])
        close(one["alm"]["sum"], several["alm"]["sum"], "averages")
        assert several["weights"] == pytest.approx(one["weights"], abs=1e-3)
        assert several["contrastive"] == pytest.approx(one["contrastive"], rel=1e-3, abs=1e-3)
    elif scenario in METHODS:
        for part, state in one["parts"].items():
            for name, value in state.items():
                if value.is_floating_point():
                    close(value, several["parts"][part][name], f"{part} {name}")
        assert torch.allclose(one["scores"], several["scores"], rtol=1e-3, atol=1e-3, equal_nan=True)
    for network in networks:
        for name, weights in one[network].items():
            close(weights, several[network][name], f"{network} {name}", atol=1e-4)


def test_every_row_is_seen_once_an_epoch(learned: dict[int, dict[str, Any]]) -> None:
    for results in learned.values():
        for name, result in results.items():
            if name not in ("drop_last", "aum", "cartography-easy", *FAULTS):
                assert result["rows"]["visits"].unique().tolist() == [3], name


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("scenario", DRAWN)
def test_methods_that_draw_keep_equal_copies(
    learned: dict[int, dict[str, Any]], scenario: str, processes: int
) -> None:
    result = learned[processes][scenario]
    assert "error" not in result  # of check_replicas
    assert result["processes"] == processes
    assert len(result["loss"]) == 12
    assert all(abs(loss) < 100 for loss in result["loss"])
    assert torch.isfinite(result["scores"]).all()


def test_weights_and_contrastive_terms_were_at_work(learned: dict[int, dict[str, Any]]) -> None:
    for weighting in ("gaussian", "mixture", "posterior"):
        assert min(learned[1][weighting]["weights"]) < 0.9
    # In the last step of an epoch a single row is left, which has no pairs.
    assert sum(value != 0 for value in learned[1]["lscl"]["contrastive"]) == 9
    before, after = learned[1]["gaussian"]["classifier"], learned[1]["lscl"]["classifier"]
    assert any(not torch.allclose(before[name], after[name], atol=1e-3) for name in before)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("order", ["at_random", "by_length"])
def test_resumed_in_the_middle_of_an_epoch(learned: dict[int, dict[str, Any]], order: str, processes: int) -> None:
    whole, resumed = learned[processes][order], learned[processes][f"{order}_resumed"]
    for part in ("classifier", "auxiliary", "alm", "rows"):
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), (part, name)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_folder_is_used_twice(learned: dict[int, dict[str, Any]], processes: int) -> None:
    first, second = learned[processes]["at_random"], learned[processes]["once_more"]
    for name, value in first["classifier"].items():
        assert torch.equal(value, second["classifier"][name])
    # All are of the second training, whichever process wrote into the folders first.
    assert second["checkpoints"] == [f"checkpoint-{step}" for step in (12, 9, 6, 3)]


@pytest.mark.parametrize("processes", [2, 3])
def test_replicas_that_disagree_are_named(learned: dict[int, dict[str, Any]], processes: int) -> None:
    message = learned[processes]["meddled"]["error"]
    assert f"alm differs from process 0 in process 1 of {processes}" in message


def close(expected: torch.Tensor, actual: torch.Tensor, what: str, atol: float = 1e-3) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=atol, msg=lambda text: f"{what}: {text}")
