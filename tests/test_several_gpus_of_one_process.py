"""torch.nn.DataParallel, which Trainer takes on a machine with several GPUs unless it was started by a launcher.

Here both halves of each batch run on the processor; splitting and putting together is what DataParallel does.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training import logged, make_trainer

from lane_hf import LaneTrainer, RowTrainer


class Halves(nn.DataParallel):
    def forward(self, **inputs: Any) -> Any:
        parts = [{name: value.chunk(2)[half] for name, value in inputs.items()} for half in range(2)]
        first, second = (self.module(**part) for part in parts)
        return type(first)((name, _together(first[name], second[name])) for name in first)


def _together(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second]) if first.dim() else torch.stack([first, second])


@pytest.mark.parametrize(("kind", "auxiliary"), [(RowTrainer, "none"), (LaneTrainer, "none"), (LaneTrainer, "full")])
def test_the_log_has_the_mean_over_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, auxiliary: str
) -> None:
    monkeypatch.setattr(nn, "DataParallel", Halves)
    changes = {"max_steps": 130, "logging_steps": 130, "per_device_train_batch_size": 2}
    trainer = make_trainer(tmp_path, kind=kind, auxiliary=auxiliary, reweight=False, **changes)
    trainer.args._n_gpu = 2
    trainer.train()
    assert isinstance(trainer.model_wrapped, Halves)
    own = [sum(logged(trainer, name)) for name in ("loss_ce", "loss_aux")]
    assert sum(own) == pytest.approx(logged(trainer, "loss")[0], abs=1e-4)
    assert len(trainer.label_issues()) == 64
