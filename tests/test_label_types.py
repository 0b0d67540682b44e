"""Labels that are yes or no, in a column of bools: trained on and evaluated like 0 and 1."""

from pathlib import Path

import pytest
from datasets import Value
from tiny import make_model
from training import assert_same_weights, dataset_for, make_trainer

from lane_hf import LaneTrainer, RowTrainer


@pytest.mark.parametrize("kind", [RowTrainer, LaneTrainer], ids=["row", "lane"])
def test_a_column_of_bools_trains_like_one_of_integers(tmp_path: Path, kind: type) -> None:
    numbers = dataset_for("bert", num_labels=2)
    trainers = []
    for rows in (numbers.cast_column("label", Value("bool")), numbers):
        model = make_model("bert", num_labels=2)
        trainer = make_trainer(tmp_path, kind=kind, model=model, train_dataset=rows, eval_dataset=rows, max_steps=2)
        trainer.evaluate()  # before training: Transformers reads the kind of problem off the first labels
        trainer.train()
        trainers.append(trainer)
    assert_same_weights(*(trainer.model for trainer in trainers))
    losses = [trainer.evaluate()["eval_loss"] for trainer in trainers]
    assert losses[0] == losses[1]
    assert trainers[0].label_issues().equals(trainers[1].label_issues())
