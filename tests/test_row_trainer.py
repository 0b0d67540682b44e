"""RowTrainer and LaneTrainer as drop-in replacements: whatever worked with Trainer, and every bad input."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import make_model, make_text_dataset, make_tokenizer
from training import QUIET, Rows, arguments, assert_same_weights, dataset_for, logged, make_trainer, weights_of
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from lane_hf import InputError, LaneTrainer, RowTrainer
from lane_hf.baselines import CartographyConfig, CartographyTrainer
from lane_hf.metrics import compute_metrics

TRAINERS = pytest.mark.parametrize("kind", [RowTrainer, LaneTrainer], ids=["row", "lane"])


def assert_trains(trainer: Trainer, visits: int = 2) -> None:
    before = weights_of(trainer.model)
    assert math.isfinite(trainer.train().training_loss)
    assert not any(torch.equal(before[name], weights) for name, weights in weights_of(trainer.model).items())
    issues = trainer.label_issues()
    assert (issues["visits"] == visits).all()
    given = trainer.row_statistics.labels
    expected = [trainer.model.config.id2label[int(label)] for label in given[issues["row_id"].to_numpy()]]
    assert issues["given_label"].tolist() == expected


# ---- What works with Trainer ----


@TRAINERS
def test_plain_training_arguments(tmp_path: Path, kind: type) -> None:
    trainer = make_trainer(tmp_path, kind=kind, args_kind=TrainingArguments)
    assert_trains(trainer)


def test_training_arguments_keep_their_values(tmp_path: Path) -> None:
    args = arguments(tmp_path, TrainingArguments, learning_rate=3e-4, label_names=["labels"])
    trainer = LaneTrainer(
        make_model("bert"), args, train_dataset=dataset_for("bert"), processing_class=make_tokenizer()
    )
    assert trainer.args.learning_rate == 3e-4
    assert trainer.args.auxiliary == "none"
    assert trainer.args.per_device_train_batch_size == 8


def test_no_arguments_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = LaneTrainer(make_model("bert"), train_dataset=dataset_for("bert"), processing_class=make_tokenizer())
    assert trainer.args.output_dir == "tmp_trainer"


@TRAINERS
def test_set_format_and_torch_tensors(tmp_path: Path, kind: type) -> None:
    dataset = dataset_for("bert")
    dataset.set_format("torch")
    assert_trains(make_trainer(tmp_path, kind=kind, train_dataset=dataset))


@TRAINERS
def test_with_transform(tmp_path: Path, kind: type) -> None:
    tokenizer = make_tokenizer()
    dataset = make_text_dataset(64, 4).with_transform(
        lambda batch: {**tokenizer(batch["text"], truncation=True), "labels": batch["label"]}
    )
    assert_trains(make_trainer(tmp_path, kind=kind, train_dataset=dataset, remove_unused_columns=False))


@TRAINERS
@pytest.mark.parametrize("remove", [True, False])
def test_torch_dataset(tmp_path: Path, kind: type, remove: bool) -> None:
    rows = [
        {"input_ids": r["input_ids"], "attention_mask": r["attention_mask"], "label": r["label"]}
        for r in dataset_for("bert")
    ]
    extra = {"comment": "not for the model"} if remove else {}
    dataset = Rows([{**row, **extra} for row in rows])
    assert_trains(make_trainer(tmp_path, kind=kind, train_dataset=dataset, remove_unused_columns=remove))


@TRAINERS
def test_users_own_collator_sees_its_own_keys_only(tmp_path: Path, kind: type) -> None:
    seen: set[str] = set()
    pad = DataCollatorWithPadding(make_tokenizer())

    def collate(examples: list[dict]) -> dict:
        seen.update(*(example.keys() for example in examples))
        return dict(pad(examples))

    assert_trains(make_trainer(tmp_path, kind=kind, data_collator=collate))
    assert seen == {"input_ids", "attention_mask", "label"}


@TRAINERS
@pytest.mark.parametrize("strategy", ["group_by_length", "sequential"])
def test_sampling_strategies(tmp_path: Path, kind: type, strategy: str) -> None:
    assert_trains(make_trainer(tmp_path, kind=kind, train_sampling_strategy=strategy))


def test_length_groups_are_those_of_transformers_and_depend_on_seed_and_epoch_only(tmp_path: Path) -> None:
    def order(seed: int, numbers_drawn: int) -> list[list[int]]:
        rows = make_trainer(tmp_path, kind=RowTrainer, train_sampling_strategy="group_by_length", data_seed=seed)
        loader, epochs = rows.get_train_dataloader(), []
        for epoch in (0, 1):
            torch.rand(numbers_drawn)
            rows.set_epoch(epoch)
            epochs.append([row for batch in loader for row in batch["row_id"].tolist()])
        return epochs

    first = order(seed=3, numbers_drawn=0)
    assert first == order(seed=3, numbers_drawn=7)
    assert first[0] != first[1]
    assert first != order(seed=4, numbers_drawn=0)
    lengths = [len(ids) for ids in dataset_for("bert")["input_ids"]]
    for seed, epoch in ((3, 0), (4, 1)):  # seed and epoch add up, as they do for Accelerate's random sampler
        stock = LengthGroupedSampler(8, lengths=lengths, generator=torch.Generator().manual_seed(seed + epoch))
        assert order(seed=seed, numbers_drawn=0)[epoch] == list(stock)


@TRAINERS
def test_predictions_line_up_with_the_rows_under_length_grouping(tmp_path: Path, kind: type) -> None:
    dataset = dataset_for("bert")
    trainer = make_trainer(tmp_path, kind=kind, train_sampling_strategy="group_by_length")
    prediction = trainer.predict(dataset)
    np.testing.assert_array_equal(prediction.label_ids, dataset["label"])
    batch = trainer.data_collator([{"input_ids": dataset[7]["input_ids"]}])
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits[0].numpy()
    np.testing.assert_allclose(prediction.predictions[7], logits, atol=1e-5)


@TRAINERS
def test_label_names(tmp_path: Path, kind: type) -> None:
    dataset = dataset_for("bert").rename_column("label", "labels")
    assert_trains(make_trainer(tmp_path, kind=kind, train_dataset=dataset, label_names=["labels"]))


@TRAINERS
def test_loader_workers(tmp_path: Path, kind: type) -> None:
    assert_trains(make_trainer(tmp_path, kind=kind, dataloader_num_workers=2))


@TRAINERS
def test_rows_dropped_with_the_last_batch_are_counted_right(tmp_path: Path, kind: type) -> None:
    trainer = make_trainer(tmp_path, kind=kind, train_dataset=dataset_for("bert", 20), dataloader_drop_last=True)
    trainer.train()
    assert trainer.row_statistics.visits.sum() == 2 * 16


@TRAINERS
def test_best_model_early_stopping_metrics_and_callbacks(tmp_path: Path, kind: type) -> None:
    class Seen(TrainerCallback):
        models: list = []  # noqa: RUF012 -- filled by one trainer

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            self.models.append(model)

    seen = Seen()
    trainer = make_trainer(
        tmp_path,
        kind=kind,
        eval_dataset=dataset_for("bert", 32, seed=3),
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=1), seen],
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=6,
        save_total_limit=1,
    )
    trainer.train()
    best = max(logged(trainer, "eval_accuracy"))
    assert trainer.evaluate()["eval_accuracy"] == pytest.approx(best)
    assert all(model is trainer.model for model in seen.models)


@TRAINERS
def test_several_evaluation_sets(tmp_path: Path, kind: type) -> None:
    sets = {"one": dataset_for("bert", 16, seed=3), "two": dataset_for("bert", 16, seed=4)}
    trainer = make_trainer(tmp_path, kind=kind, eval_dataset=sets, eval_strategy="epoch")
    trainer.train()
    assert len(logged(trainer, "eval_one_loss")) == len(logged(trainer, "eval_two_loss")) == 2


def test_row_trainer_is_trainer_bit_for_bit(tmp_path: Path) -> None:
    row = make_trainer(tmp_path, kind=RowTrainer, args_kind=TrainingArguments)
    row.train()
    stock = make_trainer(tmp_path, kind=Trainer, args_kind=TrainingArguments)
    stock.train()
    assert logged(row, "loss") == logged(stock, "loss")
    assert_same_weights(row.model, stock.model)


# ---- The table ----


def test_users_row_ids_name_the_rows(tmp_path: Path) -> None:
    names = [1000 + 7 * index for index in range(64)]
    dataset = dataset_for("bert").add_column("row_id", names)
    trainer = make_trainer(tmp_path, kind=RowTrainer, train_dataset=dataset)
    trainer.train()
    issues = trainer.label_issues()
    assert sorted(issues["row_id"]) == names
    labels = dict(zip(names, dataset["label"], strict=True))
    assert issues["given_label"].tolist() == [f"label_{labels[name]}" for name in issues["row_id"]]
    # They stay those of the rows that were trained on, whatever comes next.
    trainer.train_dataset = dataset_for("bert").add_column("row_id", [5000 + index for index in range(64)])
    trainer.get_train_dataloader()
    assert sorted(trainer.label_issues()["row_id"]) == names


def test_no_table_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="call train"):
        make_trainer(tmp_path).label_issues()


def test_average_margin_is_that_of_the_logits(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, kind=RowTrainer, dropout=0.0, learning_rate=0.0)
    trainer.train()
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(64)])
    labels = batch.pop("labels").numpy()
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits.double().numpy()
    expected = [row[y] - max(np.delete(row, y)) for row, y in zip(logits, labels, strict=True)]
    issues = trainer.label_issues().sort_values("row_id")
    np.testing.assert_allclose(issues["aum"], expected, atol=1e-5)
    np.testing.assert_array_equal(issues["alm"], issues["aum"])
    assert (issues["weight"] == 1).all()


def test_training_without_a_data_set_says_what_trainer_says(tmp_path: Path) -> None:
    trainer = LaneTrainer(make_model("bert"), arguments(tmp_path))
    with pytest.raises(ValueError, match="requires a train_dataset"):
        trainer.train()


def test_evaluation_only_needs_no_training_set(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), **QUIET)
    trainer = LaneTrainer(
        make_model("bert"), args, eval_dataset=dataset_for("bert"), processing_class=make_tokenizer()
    )
    assert math.isfinite(trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("staged", [False, True])
def test_the_table_is_about_the_rows_that_were_trained_on(tmp_path: Path, staged: bool) -> None:
    tokenizer = make_tokenizer()
    rows = make_text_dataset(32, 4)
    data = rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)
    options: dict[str, Any] = {"kind": RowTrainer}
    if staged:
        options = {
            "kind": CartographyTrainer,
            "args_kind": CartographyConfig,
            "model_init": lambda: make_model("bert"),
        }
    trainer = make_trainer(tmp_path, train_dataset=data, num_train_epochs=2, **options)
    trainer.train()
    trainer.train_dataset = data.shuffle(seed=3)
    table = trainer.label_issues()
    assert table["text"].tolist() == [rows["text"][row] for row in table["row_id"]]
    assert table.dataset is data
