"""The auxiliary network as it was before training."""

from pathlib import Path

import torch
from tiny import make_model
from training import weights_of

from lane_hf import LaneTrainer
from lane_hf.networks import make_auxiliary


class LaneTrainerStart:
    """The auxiliary network as it was before training, made again from the same seed."""

    def __init__(self, trainer: LaneTrainer, tmp_path: Path, family: str, auxiliary: str) -> None:
        again = make_auxiliary(make_model(family), auxiliary, trainer.num_labels, trainer.args.seed + 1)
        self.before = weights_of(again)

    def unmoved(self, auxiliary: torch.nn.Module) -> list[str]:
        return [name for name, weights in weights_of(auxiliary).items() if torch.equal(weights, self.before[name])]
