"""ViewsCollator: which views a batch holds, and that margins and weights belong to rows alone."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import make_model, make_text_dataset, make_tokenizer
from torch.nn import functional as F
from torch.utils.data import DataLoader
from training import dataset_for, logged, make_trainer, weights_of
from transformers import DataCollatorWithPadding
from views import DropOne, views_collator

from lane_hf import InputError, LaneTrainer, RowTrainer
from lane_hf.augmentation.collator import ColumnView, TextView, TokenView, ViewsCollator, view_seed
from lane_hf.augmentation.switchout import SwitchOut
from lane_hf.row_data import RowCollator, RowDataset


def test_batch_holds_each_row_followed_by_its_views() -> None:
    dataset = dataset_for("bert", 8)
    batch = views_collator().collate_rows([dataset[5], dataset[2]], [5, 2], epoch=0)
    assert batch["input_ids"].shape[0] == 8
    assert batch["labels"].tolist() == [dataset[5]["label"]] * 4 + [dataset[2]["label"]] * 4
    for place, row in ((0, 5), (4, 2)):
        original = dataset[row]["input_ids"]
        assert batch["input_ids"][place][: len(original)].tolist() == original
        lengths = batch["attention_mask"][place : place + 4].sum(dim=1).tolist()
        assert lengths == [len(original)] + [len(original) - 1] * 3


def test_views_depend_on_row_epoch_and_number_only() -> None:
    dataset = dataset_for("bert", 8)
    collator = views_collator()
    alone = collator.collate_rows([dataset[5]], [5], epoch=1)["input_ids"]
    together = collator.collate_rows([dataset[2], dataset[5], dataset[1]], [2, 5, 1], epoch=1)["input_ids"][4:8]
    assert torch.equal(alone, together[:, : alone.shape[1]])
    seeds = {view_seed(*parts) for parts in np.ndindex(3, 4, 5, 6)}
    assert len(seeds) == 3 * 4 * 5 * 6, "no two of them are the same"
    epochs = [collator.collate_rows([dataset[5]], [5], epoch=epoch)["input_ids"].tolist() for epoch in range(6)]
    assert any(epoch != epochs[0] for epoch in epochs[1:])


@pytest.mark.parametrize("workers", [0, 2])
def test_views_are_the_same_in_every_worker_and_change_with_the_epoch(workers: int) -> None:
    rows = RowDataset(dataset_for("bert", 16))
    collator = RowCollator(views_collator(), ["labels"], 4)
    loader = DataLoader(rows, batch_size=4, collate_fn=collator, num_workers=workers, persistent_workers=workers > 0)
    passes = []
    for epoch in (0, 1, 0):
        rows.set_epoch(epoch)
        passes.append([batch["input_ids"].tolist() for batch in loader])
    reference = []
    for start in range(0, 16, 4):
        ids = list(range(start, start + 4))
        batch = views_collator().collate_rows([rows.dataset[i] for i in ids], ids, epoch=0)
        reference.append(batch["input_ids"].tolist())
    assert passes[0] == passes[2] == reference
    assert passes[1] != passes[0]


def test_evaluation_sees_no_views(tmp_path: Path) -> None:
    dataset = dataset_for("bert", 32, seed=3)
    trainer = make_trainer(tmp_path, data_collator=views_collator(), eval_dataset=dataset)
    plain = make_trainer(tmp_path, model=trainer.model, eval_dataset=dataset)
    np.testing.assert_array_equal(trainer.predict(dataset).predictions, plain.predict(dataset).predictions)


@pytest.mark.parametrize("options", [{}, {"contrastive": "lscl"}, {"auxiliary_on_views": True, "contrastive": "lcl"}])
@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_trains_on_views_and_records_rows_once(tmp_path: Path, auxiliary: str, options: dict) -> None:
    own = {"auxiliary_model": make_model("bert", seed=9)} if auxiliary == "full" else {}
    trainer = make_trainer(tmp_path, data_collator=views_collator(), auxiliary=auxiliary, **own, **options)
    before = weights_of(trainer.model)
    sizes: dict[torch.nn.Module, set[int]] = {}

    def count(model: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        sizes.setdefault(model, set()).add(len(kwargs["input_ids"]))

    for model in (trainer.model, *own.values()):
        model.register_forward_pre_hook(count, with_kwargs=True)
    assert math.isfinite(trainer.train().training_loss)
    assert not any(torch.equal(before[name], weights) for name, weights in weights_of(trainer.model).items())
    assert (trainer.label_issues()["visits"] == 2).all()
    assert (trainer.alm.count == 2).all()
    assert sizes[trainer.model] == {32}
    if own:
        assert sizes[trainer.auxiliary_model] == {32 if options.get("auxiliary_on_views") else 8}


def test_margins_come_from_the_rows_and_weights_hold_for_their_views(tmp_path: Path) -> None:
    options = {
        "dropout": 0.0,
        "learning_rate": 0.0,
        "weighting": "gaussian",
        "auxiliary": "shared",
        "label_aware": False,
    }
    viewed = make_trainer(tmp_path / "views", data_collator=views_collator(), **options)
    viewed.train()
    plain = make_trainer(tmp_path / "plain", **options)
    plain.train()
    torch.testing.assert_close(viewed.alm.average(), plain.alm.average(), rtol=1e-4, atol=1e-5)
    weights = viewed.label_issues().sort_values("row_id")["weight"].to_numpy()
    # In the second epoch the loss is that of all views, each with the weight of its row.
    losses = []
    for row in range(64):
        batch = views_collator().collate_rows([viewed.train_dataset[row]], [row], epoch=1)
        labels = batch.pop("labels")
        with torch.no_grad():
            losses.append(F.cross_entropy(viewed.model.eval()(**batch).logits, labels, reduction="mean").item())
    second = np.mean(logged(viewed, "loss_ce")[8:])
    assert second == pytest.approx(np.mean(np.array(losses) * weights), abs=1e-4)


def test_row_trainer_takes_views_too(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, kind=RowTrainer, data_collator=views_collator())
    trainer.train()
    assert (trainer.label_issues()["visits"] == 2).all()


def test_text_views_keep_their_column_until_they_are_made(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    dataset = make_text_dataset(32, 4).map(lambda batch: dict(tokenizer(batch["text"])), batched=True)
    view = TextView(lambda text, seed: " ".join(text.split()[: 1 + seed % 3]), tokenizer)
    collator = ViewsCollator(DataCollatorWithPadding(tokenizer), view, num_views=2)
    trainer = make_trainer(tmp_path, train_dataset=dataset, data_collator=collator, eval_dataset=dataset)
    trainer.train()
    assert (trainer.label_issues()["visits"] == 2).all()
    assert math.isfinite(trainer.evaluate()["eval_loss"])


def test_column_views_take_their_columns_in_turn() -> None:
    tokenizer = make_tokenizer()
    view = ColumnView(["one", "two"], tokenizer)
    example = {"input_ids": [0], "label": 1, "one": "happy", "two": "sad"}
    views = view(example, seeds=[0, 0, 0], first=1)
    assert [item["input_ids"] for item in views] == tokenizer(["sad", "happy", "sad"])["input_ids"]
    collator = ViewsCollator(DataCollatorWithPadding(tokenizer), view, num_views=2)
    assert set(collator.collate_rows([example], [0], 0)) == {"input_ids", "attention_mask", "labels"}


def test_several_kinds_share_the_views() -> None:
    class Mark:
        columns = ()

        def __init__(self, token: int) -> None:
            self.token = token

        def __call__(self, example: Any, seeds: Sequence[int], first: int) -> list[dict[str, Any]]:
            return [{**example, "input_ids": [self.token]} for _ in seeds]

    collator = ViewsCollator(lambda rows: [row["input_ids"][0] for row in rows], [Mark(1), Mark(2)], num_views=5)
    assert sorted(collator.collate_rows([{"input_ids": [0]}], [0], 0)) == [0, 1, 1, 2, 2, 2]


def test_switchout_as_view(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    view = TokenView(SwitchOut(tokenizer, temperature=3.0).augment)
    collator = ViewsCollator(DataCollatorWithPadding(tokenizer), view, num_views=7)
    trainer = make_trainer(tmp_path, data_collator=collator, num_train_epochs=1, contrastive="lscl")
    trainer.train()
    assert (trainer.alm.count == 1).all()


def test_bad_views_are_refused(tmp_path: Path) -> None:
    plain = DataCollatorWithPadding(make_tokenizer())
    with pytest.raises(InputError, match="at least 2"):
        ViewsCollator(plain, [DropOne(), DropOne()], num_views=1)
    with pytest.raises(InputError, match="at least 1"):
        ViewsCollator(plain, DropOne(), num_views=0)
    with pytest.raises(InputError, match="at least one column"):
        ColumnView([], make_tokenizer())
    for view in (TextView(lambda text, seed: text, make_tokenizer()), ColumnView(["text"], make_tokenizer())):
        trainer = make_trainer(tmp_path, data_collator=ViewsCollator(plain, view, num_views=1))
        with pytest.raises(InputError, match="column 'text', which the training set does not have"):
            trainer.train()


def test_a_torch_data_set_with_extra_keys(tmp_path: Path) -> None:
    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {**rows[index], "comment": "not for the model"}

    rows = list(dataset_for("bert", 16))
    trainer = make_trainer(
        tmp_path, kind=LaneTrainer, train_dataset=Rows(), data_collator=views_collator(), model=make_model("bert")
    )
    trainer.train()
    assert (trainer.label_issues()["visits"] == 2).all()
