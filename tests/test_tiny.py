"""The factories of tiny.py give what the other tests assume of them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    FAMILIES,
    LABEL_WORDS,
    MAX_LABELS,
    PAD_ID,
    TEXT_FAMILIES,
    VOCABULARY,
    label_names,
    make_image_dataset,
    make_model,
    make_text_dataset,
    make_tokenizer,
)
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast, Trainer, TrainingArguments

all_families = pytest.mark.parametrize("family", FAMILIES)


def make_rows(family: str, num_rows: int = 64, num_labels: int = 4, seed: int = 0) -> Any:
    if family == "vit":
        return make_image_dataset(num_rows, num_labels, seed)
    return make_text_dataset(num_rows, num_labels, seed, tokenizer=make_tokenizer())


def make_batch(family: str, num_rows: int = 5) -> dict[str, torch.Tensor]:
    rows = make_rows(family, num_rows)
    if family == "vit":
        return {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}
    columns = {name: rows[name][:] for name in ("input_ids", "attention_mask")}
    return dict(make_tokenizer().pad(columns, return_tensors="pt"))


def train(model: PreTrainedModel, family: str, path: Path, max_steps: int, learning_rate: float) -> Trainer:
    arguments = TrainingArguments(
        str(path),
        max_steps=max_steps,
        learning_rate=learning_rate,
        per_device_train_batch_size=16,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=make_rows(family, 128),
        processing_class=None if family == "vit" else make_tokenizer(),
    )
    trainer.train()
    return trainer


@all_families
def test_logits_have_one_column_per_label(family: str) -> None:
    model = make_model(family, num_labels=5)
    logits = model(**make_batch(family)).logits
    assert logits.shape == (5, 5)
    assert torch.isfinite(logits).all()
    assert model.config.id2label == {index: f"label_{index}" for index in range(5)}
    assert sum(parameter.numel() for parameter in model.parameters()) < 30_000


@all_families
def test_the_seed_fixes_the_weights_and_leaves_the_global_state_alone(family: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (make_model(family, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@all_families
def test_dropout_is_on_unless_switched_off(family: str) -> None:
    batch = make_batch(family)
    on, off = make_model(family, dropout=0.3).train(), make_model(family, dropout=0.0).train()
    assert not torch.equal(on(**batch).logits, on(**batch).logits)
    assert torch.equal(off(**batch).logits, off(**batch).logits)
    torch.testing.assert_close(on.eval()(**batch).logits, off.eval()(**batch).logits)


@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_padding_does_not_change_the_logits(family: str) -> None:
    batch, model = make_batch(family), make_model(family).eval()
    lengths = batch["attention_mask"].sum(1)
    assert lengths.min() < lengths.max()
    shortest = int(lengths.argmin())
    alone = {name: values[shortest : shortest + 1, : int(lengths[shortest])] for name, values in batch.items()}
    torch.testing.assert_close(model(**batch).logits[shortest], model(**alone).logits[0], atol=1e-5, rtol=1e-4)


@all_families
def test_the_stock_trainer_trains_three_steps(family: str, tmp_path: Path) -> None:
    model = make_model(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = train(model, family, tmp_path, max_steps=3, learning_rate=1e-3)
    losses = [entry["train_loss"] for entry in trainer.state.log_history if "train_loss" in entry]
    assert len(losses) == 1
    assert math.isfinite(losses[0])
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_the_toy_data_can_be_learned_and_carries_over_to_another_seed(family: str, tmp_path: Path) -> None:
    trainer = train(make_model(family), family, tmp_path, max_steps=60, learning_rate=5e-3)
    predicted = trainer.predict(make_rows(family, 64, seed=1))
    assert (predicted.predictions.argmax(-1) == predicted.label_ids).mean() > 0.9


def test_overrides_win() -> None:
    model = make_model("bert", num_hidden_layers=1, hidden_dropout_prob=0.25)
    assert len(model.base_model.encoder.layer) == 1
    assert model.base_model.embeddings.dropout.p == 0.25


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown family 'gpt'"):
        make_model("gpt")


def test_the_tokenizer_knows_every_word_it_is_given(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == len(VOCABULARY) == len(set(VOCABULARY))
    texts = [*label_names(MAX_LABELS), *make_text_dataset(200, MAX_LABELS)["text"]]
    assert all(tokenizer.unk_token_id not in ids for ids in tokenizer(texts)["input_ids"])
    assert tokenizer.convert_ids_to_tokens(tokenizer("Happy zzz")["input_ids"]) == ["[CLS]", "happy", "[UNK]", "[SEP]"]
    assert tokenizer.pad_token_id == PAD_ID


def test_the_tokenizer_survives_saving(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    text = "label_3 happy and sad zzz"
    for loaded in (make_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert dict(loaded(text)) == dict(tokenizer(text))
        assert loaded.special_tokens_map == tokenizer.special_tokens_map


def test_text_rows_are_balanced_and_hold_only_their_own_labels_words() -> None:
    rows = make_text_dataset(30, 4, seed=5)
    assert set(rows.column_names) == {"text", "label"}
    assert rows.features["label"].names == label_names(4)
    assert sorted(Counter(rows["label"]).values()) == [7, 7, 8, 8]
    for row in rows:
        for label, words in enumerate(LABEL_WORDS):
            assert bool(set(row["text"].split()) & set(words)) == (label == row["label"])


def test_rows_follow_the_seed() -> None:
    assert make_text_dataset(seed=1)["text"][:] == make_text_dataset(seed=1)["text"][:]
    assert make_text_dataset(seed=1)["text"][:] != make_text_dataset(seed=2)["text"][:]
    first, again, other = (make_image_dataset(8, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(first.pixel_values, again.pixel_values)
    assert first.labels == again.labels
    assert not torch.equal(first.pixel_values, other.pixel_values)


def test_tokenised_rows_hold_the_ids_of_the_text_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    texts, rows = make_text_dataset(12), make_text_dataset(12, tokenizer=tokenizer)
    assert set(rows.column_names) == {"input_ids", "attention_mask", "label"}
    assert rows["input_ids"][:] == tokenizer(texts["text"][:])["input_ids"]
    assert rows["label"][:] == texts["label"][:]


def test_image_rows_are_pictures_with_a_plain_label() -> None:
    rows = make_image_dataset(10, 3)
    assert len(rows) == 10
    assert rows[0]["pixel_values"].shape == (3, 8, 8)
    assert rows[0]["pixel_values"].dtype == torch.float32
    assert [rows[index]["labels"] for index in range(10)] == rows.labels
    assert sorted(Counter(rows.labels).values()) == [3, 3, 4]


@pytest.mark.parametrize("num_labels", [0, MAX_LABELS + 1])
def test_more_labels_than_there_are_words_for_are_refused(num_labels: int) -> None:
    with pytest.raises(ValueError, match="num_labels must be between 1 and"):
        make_text_dataset(num_labels=num_labels)
    with pytest.raises(ValueError, match="num_labels must be between 1 and"):
        make_image_dataset(num_labels=num_labels)
