"""RowTrainer and LaneTrainer refuse what they cannot do, each with a message of its own that says what to do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset
from tiny import make_model, make_tokenizer
from training import Rows, arguments, dataset_for, make_trainer, weights_of

from lane_hf import InputError, LaneTrainer, RowTrainer

TRAINERS = pytest.mark.parametrize("kind", [RowTrainer, LaneTrainer], ids=["row", "lane"])


def relabelled(labels: list[Any]) -> Dataset:
    return Dataset.from_dict({"input_ids": [[0, 5, 2]] * len(labels), "label": labels})


@TRAINERS
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (relabelled([0, 1, -100, 2]), r"-100.*1 row \(row 2\)"),
        (relabelled([0, 1, 4, 2]), r"out of range: found \[4\].*4 labels \(0 to 3\)"),
        (relabelled([0, 1, None, 2]), "missing"),
        (relabelled([0.5, 0.1, 1.0, 0.0]), "floating-point"),
        (relabelled([[0.0, 1.0], [1.0, 1.0]]), "multi-label"),
        (relabelled([[0, 1, 2], [1, 2]]), "token classification"),
        (relabelled(["a", "b"]), "class_encode_column"),
        (Dataset.from_dict({"input_ids": [[0, 5, 2]]}), "no label column.*'input_ids'"),
        (relabelled([]), "empty"),
        (IterableDataset.from_generator(lambda: iter(())), "iterable"),
        (relabelled([0, 1]).add_column("row_id", [3, 3]), "unique"),
        (relabelled([0, 1]).add_column("row_id", ["a", "b"]), "integers"),
        (Rows([{"input_ids": [0, 5, 2], "label": 9}]), None),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_bad_training_sets_are_refused(tmp_path: Path, kind: type, dataset: Any, message: str | None) -> None:
    if message is None:  # a plain data set is checked batch by batch
        trainer = make_trainer(tmp_path, kind=kind, train_dataset=dataset)
        with pytest.raises(InputError, match=r"out of range: found \[9\]: 1 row \(row 0\)"):
            trainer.train()
        return
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path, kind=kind, train_dataset=dataset)


@TRAINERS
def test_a_class_without_rows_is_said(tmp_path: Path, kind: type) -> None:
    with pytest.warns(UserWarning, match=r"2 of 4 labels have no row .*label 2, 3"):
        make_trainer(tmp_path, kind=kind, train_dataset=relabelled([0, 1, 1, 0]))


@TRAINERS
def test_a_batch_without_labels_is_refused(tmp_path: Path, kind: type) -> None:
    trainer = make_trainer(tmp_path, kind=kind, train_dataset=Rows([{"input_ids": [0, 5, 2]}] * 8))
    with pytest.raises(InputError, match="no labels: expected one of 'labels'"):
        trainer.train()


@TRAINERS
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labels": 1}, "at least 2"),
        ({"problem_type": "multi_label_classification"}, "multi-label classification is not supported"),
        ({"problem_type": "regression"}, "regression is not supported"),
    ],
)
def test_other_tasks_are_refused_by_name(tmp_path: Path, kind: type, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path, kind=kind, model=make_model("bert", **{"num_labels": 4, **changes}))


@TRAINERS
def test_other_losses_are_refused(tmp_path: Path, kind: type) -> None:
    args = arguments(tmp_path, label_smoothing_factor=0.1)
    with pytest.raises(InputError, match="label_smoothing_factor"):
        kind(make_model("bert"), args, train_dataset=dataset_for("bert"), processing_class=make_tokenizer())
    with pytest.raises(InputError, match="compute_loss_func"):
        kind(make_model("bert"), arguments(tmp_path), compute_loss_func=lambda *_, **__: 0)


@TRAINERS
def test_unequal_batches_are_refused(tmp_path: Path, kind: type) -> None:
    with pytest.raises(InputError, match="batch_rebalance"):
        make_trainer(tmp_path, kind=kind, train_sampling_strategy="batch_rebalance")


@TRAINERS
def test_an_overridden_loader_is_named(tmp_path: Path, kind: type) -> None:
    class Own(kind):  # type: ignore[misc, valid-type]
        def get_train_dataloader(self) -> Any:
            return self.get_eval_dataloader(self.train_dataset)

    with pytest.raises(InputError, match="get_train_dataloader was overridden"):
        make_trainer(tmp_path, kind=Own).train()


@TRAINERS
def test_an_overridden_loss_is_refused_unless_it_rests_on_ours(tmp_path: Path, kind: type) -> None:
    class Weighted(kind):  # type: ignore[misc, valid-type]
        """As the documentation of Trainer shows it."""

        def compute_loss(self, model: Any, inputs: dict, return_outputs: bool = False, **_: Any) -> Any:
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            logits = outputs["logits"]
            loss = torch.nn.functional.cross_entropy(logits, labels, weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
            return (loss, outputs) if return_outputs else loss

    class Twice(kind):  # type: ignore[misc, valid-type]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().compute_loss(*args, **kwargs)

    trainer = make_trainer(tmp_path, kind=Weighted)
    before = weights_of(trainer.model)
    with pytest.raises(InputError, match=r"compute_loss was overridden.*no row is recorded.*override loss_of"):
        trainer.train()
    assert all(torch.equal(before[name], weights) for name, weights in weights_of(trainer.model).items())
    twice = make_trainer(tmp_path, kind=Twice)
    twice.train()
    assert (twice.label_issues()["visits"] == 2).all()


def test_a_data_set_exchanged_after_the_start_is_checked(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train_dataset = relabelled([0, 7])
    with pytest.raises(InputError, match="out of range"):
        trainer.train()
