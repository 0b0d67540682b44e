"""The method in docs/how-to/add-a-method.md, as it stands there, keeps what every method promises."""

import math
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import test_all_methods as promises
import torch
from job import Job

from lane_hf import InputError, methods, run, run_arguments, run_files, run_parser
from lane_hf.methods import METHODS, Method

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-method.md"


def code_of_the_page() -> str:
    (code,) = re.findall(r"^<!-- method -->\n```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return code


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The code of the page as a module, and its method among the others, as a line in `METHODS` would have it."""
    module = types.ModuleType("sce_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(compile(code_of_the_page(), str(PAGE), "exec"), vars(module))  # noqa: S102 -- what readers will do with it
    more = {**METHODS, "sce": Method("sce", module.SceTrainer, "cross-entropy both ways")}
    for user in (methods, run, run_arguments, run_files, run_parser):
        monkeypatch.setattr(user, "METHODS", more)
    return module


def test_it_takes_no_more_than_sixty_lines() -> None:
    assert len(code_of_the_page().splitlines()) <= 60


def test_the_loss_is_that_of_the_formula(page: ModuleType) -> None:
    logits = 3 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    labels = [row % 5 for row in range(20)]
    losses = page.symmetric_cross_entropy(logits, torch.tensor(labels), alpha=0.3, beta=2.0)
    for row, label, loss in zip(logits.tolist(), labels, losses.tolist(), strict=True):
        powers = [math.exp(value) for value in row]
        p = [power / sum(powers) for power in powers]
        # The reverse term as the paper has it: over all labels, with A for the logarithm of the zeros.
        log_q = [0.0 if other == label else math.log(1e-4) for other in range(5)]
        reverse = -sum(p_k * log_q_k for p_k, log_q_k in zip(p, log_q, strict=True))
        assert loss == pytest.approx(0.3 * -math.log(p[label]) + 2.0 * reverse, rel=1e-4)


def test_rows_are_ranked_by_the_probability_of_their_label(page: ModuleType, tmp_path: Path) -> None:
    trainer = promises.make("sce", tmp_path)
    trainer.train()
    issues = trainer.label_issues()
    assert issues["score"].is_monotonic_increasing
    torch.testing.assert_close(torch.tensor(issues["score"]), torch.tensor(issues["confidence"]))


@pytest.mark.parametrize(
    "promise",
    [
        promises.test_everything_learns_and_the_saved_model_is_a_plain_one,
        promises.test_resumed_equals_uninterrupted,
        promises.test_two_labels_and_a_label_of_one_row,
        promises.test_batches_of_one_row,
        promises.test_accumulated_batches_count_like_one,
        promises.test_decoders,
        promises.test_plain_training_arguments_get_the_methods_defaults,
        promises.test_label_smoothing_of_trainer_is_refused,
    ],
)
def test_it_keeps_the_promise(page: ModuleType, tmp_path: Path, promise: Callable[[Path, str], None]) -> None:
    promise(tmp_path, "sce")


def test_its_options_are_checked(page: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sce_beta must be in \[0, 1e\+06\], got -1"):
        promises.make("sce", tmp_path, sce_beta=-1)


def test_it_runs_from_the_command_line(page: ModuleType, job: Job) -> None:
    outcome = job(train_file=job.data(), method="sce", num_train_epochs=1, sce_alpha=0.5)
    assert outcome.status == 0, outcome.err
    assert "== sce ==" in outcome.out
    assert job.settings()["RunConfig"]["sce_alpha"] == 0.5
