"""torch.nn.DataParallel, which Trainer takes on a machine with several GPUs unless it was started by a launcher.

Here both halves of each batch run on the processor; splitting and putting together is what DataParallel does.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_text_dataset, make_tokenizer
from torch import Tensor, nn
from training import logged, make_trainer
from transformers import DataCollatorWithPadding

from lane_hf import LaneTrainer, RowTrainer
from lane_hf.augmentation.collator import TokenView, ViewsCollator


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


@pytest.mark.parametrize("auxiliary_on_views", [False, True])
def test_a_batch_may_be_cut_between_a_row_and_its_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auxiliary_on_views: bool
) -> None:
    monkeypatch.setattr(nn, "DataParallel", Halves)
    tokenizer = make_tokenizer()
    view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])

    def run(devices: int) -> LaneTrainer:
        trainer = make_trainer(
            tmp_path,
            dropout=0.0,
            train_dataset=make_text_dataset(7, 4, tokenizer=tokenizer),
            data_collator=ViewsCollator(DataCollatorWithPadding(tokenizer), view, 1, seed=0),
            auxiliary="full",
            auxiliary_on_views=auxiliary_on_views,
            num_train_epochs=2,
            per_device_train_batch_size=3,  # 3 entries for each device: the second row on one, its view on the other
            logging_steps=1,
        )
        trainer.args._n_gpu = devices
        trainer.train()
        return trainer

    apart, together = run(2), run(1)
    assert logged(apart, "loss_aux") == pytest.approx(logged(together, "loss_aux"), rel=1e-4)
    assert logged(apart, "loss_ce") == pytest.approx(logged(together, "loss_ce"), rel=1e-4)
    alm = [trainer.label_issues().sort_values("row_id")["alm"].tolist() for trainer in (apart, together)]
    assert alm[0] == pytest.approx(alm[1], rel=1e-4)
