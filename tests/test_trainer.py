"""LaneTrainer: the invariants of the method, and that it finds wrong labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from references import slow_candidate_target, slow_target
from sklearn.metrics import roc_auc_score
from tiny import make_model, make_text_dataset, make_tokenizer
from torch.nn import functional as F
from training import (
    NEUTRAL,
    arguments,
    assert_same_weights,
    dataset_for,
    logged,
    make_trainer,
    weights_of,
)
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from lane_hf import InputError, LaneConfig
from lane_hf.margins import label_aware_margin, smooth_probabilities
from lane_hf.networks import JointModel


def flipped_dataset(num_rows: int = 200, share: float = 0.2, num_labels: int = 4) -> tuple:
    """Return learnable text with a share of wrong labels, and which they are."""
    dataset = make_text_dataset(num_rows, num_labels, tokenizer=make_tokenizer())
    labels = np.array(dataset["label"])
    flipped = np.random.default_rng(0).random(num_rows) < share
    labels[flipped] = (labels[flipped] + 1) % num_labels
    return dataset.remove_columns("label").add_column("label", labels.tolist()), flipped


# ---- Invariant 1: with everything off, the same steps as Trainer ----


@pytest.mark.parametrize("family", ["bert", "distilbert", "llama"])
def test_neutral_takes_the_same_steps_as_trainer(tmp_path: Path, family: str) -> None:
    lane = make_trainer(tmp_path / "lane", family, **NEUTRAL)
    lane.train()
    # Made only now: a trainer sets the global seed when it is made.
    stock = make_trainer(tmp_path / "stock", family, kind=Trainer, args_kind=TrainingArguments)
    stock.train()
    assert logged(lane, "loss") == logged(stock, "loss")
    assert_same_weights(lane.model, stock.model)
    assert lane.auxiliary_model is None
    assert (lane.label_issues()["visits"] == 2).all()


# ---- Invariant 2: the average is the average of the margins seen ----


def test_average_is_that_of_the_label_aware_margins_seen(tmp_path: Path) -> None:
    # Without learning and dropout, every visit of a row shows the same margin.
    trainer = make_trainer(tmp_path, dropout=0.0, learning_rate=0.0, num_train_epochs=3)
    trainer.train()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(64)])
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits
        aux = trainer.auxiliary_model.eval()(**batch).logits.softmax(dim=1)
    expected = label_aware_margin(logits, labels, smooth_probabilities(aux, 0.1))
    torch.testing.assert_close(trainer.alm.average(), expected, rtol=1e-4, atol=1e-5)
    assert (trainer.alm.count == 3).all()


@pytest.mark.parametrize("bootstrap", ["none", "prediction", "candidate"])
def test_weights_of_the_loss_are_those_of_the_averages(tmp_path: Path, bootstrap: str) -> None:
    still = {"dropout": 0.0, "learning_rate": 0.0, "num_train_epochs": 2}
    trainer = make_trainer(tmp_path, weighting="gaussian", weighting_warmup=1.0, bootstrap=bootstrap, **still)
    trainer.train()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(64)])
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits
    losses = F.cross_entropy(logits, labels, reduction="none")
    alm = trainer.alm.average().double()
    negative = alm[alm < 0]
    weights = torch.where(
        alm < negative.mean(), torch.exp(-((alm - negative.mean()) ** 2) / (2 * negative.var(correction=0))), 1.0
    )
    first, second = np.array(logged(trainer, "loss_ce")).reshape(2, 8).mean(axis=1)
    assert first == pytest.approx(losses.mean().item(), abs=1e-4)
    if bootstrap == "prediction":
        rows = zip(logits.tolist(), labels.tolist(), weights.tolist(), strict=True)
        targets = torch.tensor([slow_target(row, label, 1 - weight, 0.5) for row, label, weight in rows])
        expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    elif bootstrap == "candidate":
        others = logits.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)  # the best other label of every visit
        rows = zip(logits.tolist(), labels.tolist(), others.tolist(), (1 - weights).tolist(), strict=True)
        targets = torch.tensor([slow_candidate_target(*row) for row in rows])
        expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    else:
        expected = (losses * weights).mean()
    assert second == pytest.approx(expected.item(), abs=1e-4)
    if bootstrap == "candidate":  # may be no easier than the label that was given
        assert second != pytest.approx(first, abs=1e-3)
    else:
        assert second < first


def test_defaults_train_on_their_own(tmp_path: Path) -> None:
    names = ("auxiliary", "weighting", "bootstrap", "contrastive", "wait_for_labels", "contrastive_weight")
    defaults = {name: LaneConfig.__dataclass_fields__[name].default for name in names}
    trainer = make_trainer(tmp_path, num_train_epochs=4, **defaults)
    trainer.train()
    assert min(logged(trainer, "lane/mean_weight")) < 1
    assert all(np.isfinite(logged(trainer, "loss_contrastive")))
    assert trainer.auxiliary_model is None


def test_a_model_without_hidden_states_trains_without_the_contrastive_term(tmp_path: Path) -> None:
    class OnlyLogits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_labels = 4
            self.own = make_model("bert")

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.own(input_ids, attention_mask).logits}

    with pytest.warns(UserWarning, match="OnlyLogits returns no hidden states.*left out"):
        trainer = make_trainer(tmp_path, model=OnlyLogits(), auxiliary="none", contrastive="scl")
    trainer.train()
    assert logged(trainer, "loss_contrastive") == []
    assert len(logged(trainer, "lane/mean_weight")) == 16


# ---- Invariant 4: accumulation gives the mean ----


@pytest.mark.parametrize("options", [{}, {"reweight": False}, NEUTRAL], ids=["warm-up", "unweighted", "neutral"])
def test_accumulating_micro_batches_equals_one_batch(tmp_path: Path, options: dict) -> None:
    options = {"dropout": 0.0, "num_train_epochs": 1, "optim": "sgd", "learning_rate": 0.1, **options}
    one = make_trainer(tmp_path / "one", **options)
    one.train()
    many = make_trainer(tmp_path / "many", per_device_train_batch_size=2, gradient_accumulation_steps=4, **options)
    many.train()
    assert one.state.global_step == many.state.global_step == 8
    assert_same_weights(one.model, many.model, rtol=1e-4, atol=1e-5)
    assert logged(one, "loss") == pytest.approx(logged(many, "loss"), abs=1e-4)


# ---- Invariant 5: resuming continues exactly ----


@pytest.mark.parametrize("options", [{}, {"weighting": "gaussian"}, {"similarity": "class", "auxiliary": "shared"}])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, options: dict) -> None:
    options = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 5, **options}
    whole = make_trainer(tmp_path / "whole", **options)
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-10"))
    assert_same_weights(whole.model, resumed.model)
    assert_same_weights(whole.auxiliary_model, resumed.auxiliary_model)
    for name, part in whole.stateful_parts().items():
        theirs = resumed.stateful_parts()[name].state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in part.state_dict().items()), name
    assert whole.label_issues().equals(resumed.label_issues())


def test_resuming_without_the_extra_state_is_refused(tmp_path: Path) -> None:
    stock = make_trainer(
        tmp_path, kind=Trainer, args_kind=TrainingArguments, save_strategy="steps", save_steps=8, num_train_epochs=1
    )
    stock.train()
    trainer = make_trainer(tmp_path / "lane")
    with pytest.raises(InputError, match=r"has no lane_state\.safetensors"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


# ---- Invariant 6: what is saved is a plain classifier ----


def test_saved_model_is_a_plain_checkpoint(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, save_strategy="epoch", contrastive="lscl")
    trainer.train()
    trainer.save_model(str(tmp_path / "final"))
    assert not isinstance(trainer.model, JointModel)
    for folder in (tmp_path / "final", tmp_path / "checkpoint-16"):
        plain = AutoModelForSequenceClassification.from_pretrained(folder)
        assert type(plain) is type(trainer.model)
        assert_same_weights(plain, trainer.model)
        keys = plain.state_dict().keys()
        assert not any("auxiliary" in key or key.startswith("model.") for key in keys)
    written = {path.name for path in (tmp_path / "final").iterdir()}
    assert "lane_state.safetensors" not in written
    assert "lane_state.safetensors" in {path.name for path in (tmp_path / "checkpoint-16").iterdir()}


# ---- Invariant 7: evaluation is Trainer's ----


def test_evaluation_runs_the_classifier_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, contrastive="lscl", eval_dataset=dataset_for("bert", 32, seed=3))
    trainer.train()
    calls = []
    trainer.auxiliary_model.register_forward_hook(lambda *_: calls.append(1))
    before = {name: part.state_dict() for name, part in trainer.stateful_parts().items()}
    metrics = trainer.evaluate()
    prediction = trainer.predict(trainer.eval_dataset)
    assert calls == []
    for name, part in trainer.stateful_parts().items():
        assert all(torch.equal(tensor, before[name][key]) for key, tensor in part.state_dict().items())
    stock = Trainer(trainer.model, arguments(tmp_path, TrainingArguments), processing_class=make_tokenizer()).predict(
        trainer.eval_dataset
    )
    np.testing.assert_array_equal(prediction.predictions, stock.predictions)
    assert metrics["eval_loss"] == pytest.approx(stock.metrics["test_loss"])


def test_evaluation_before_and_during_training(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, eval_dataset=dataset_for("bert", 32, seed=3), eval_strategy="epoch", eval_on_start=True
    )
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    losses = logged(trainer, "eval_loss")
    assert losses[0] == pytest.approx(first, abs=1e-6)
    assert losses[-1] < first
    assert (trainer.alm.count == 2).all()


def test_evaluation_in_bf16_gives_float32_logits_near_those_of_training(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, bf16=True, eval_dataset=dataset_for("bert", 32, seed=3))
    trainer.train()
    prediction = trainer.predict(trainer.eval_dataset).predictions
    assert prediction.dtype == np.float32
    # Values that bfloat16 holds exactly: the forward really ran under autocast.
    rounded = torch.tensor(prediction).bfloat16().float().numpy()
    np.testing.assert_array_equal(prediction, rounded)


# ---- Invariants 8 and 9: rows never seen, memory ----


def test_rows_never_seen_keep_weight_one_and_no_suggestion(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=3, weighting_warmup=0.0)
    trainer.train()
    issues = trainer.label_issues()
    unseen = issues[issues["visits"] == 0]
    assert len(unseen) == 64 - 3 * 8
    assert (unseen["weight"] == 1).all()
    assert not unseen["is_issue"].any()
    assert unseen["suggested_label"].isna().all()
    assert issues.tail(len(unseen)).index.equals(unseen.index), "they stand at the end"


def test_per_row_state_takes_at_most_48_bytes(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.train()
    tensors = [tensor for part in ("rows", "alm") for tensor in trainer.stateful_parts()[part].state_dict().values()]
    per_row = sum(tensor.element_size() for tensor in tensors if tensor.shape == (64,))
    assert 0 < per_row <= 48


# ---- It finds wrong labels ----


def test_wrong_labels_are_found_and_mended(tmp_path: Path) -> None:
    dataset, flipped = flipped_dataset()
    # A model that starts from nothing learns slowly: the weighting must not begin before it knows anything.
    options = {"num_train_epochs": 12, "weighting_warmup": 6.0, "learning_rate": 2e-3}
    trainer = make_trainer(tmp_path, train_dataset=dataset, **options)
    trainer.train()
    issues = trainer.label_issues().sort_values("row_id")
    assert roc_auc_score(flipped, -issues["alm"]) > 0.95
    found = issues["is_issue"].to_numpy()
    assert (found & flipped).sum() / flipped.sum() > 0.8
    right = make_text_dataset(200, 4)["label"]
    mended = issues["suggested_label"][found & flipped] == [
        f"label_{label}" for label in np.array(right)[found & flipped]
    ]
    assert mended.mean() > 0.8
    weights = issues["weight"].to_numpy()
    assert weights[flipped].mean() < 0.3
    assert weights[~flipped].mean() > 0.7


# ---- NaN ----


class SometimesNaN(torch.nn.Module):
    """A classifier whose logits are NaN for the examples that begin with a certain token."""

    def __init__(self, model: torch.nn.Module, token: int) -> None:
        super().__init__()
        self.model, self.token, self.config = model, token, model.config

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict:
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask)
        bad = input_ids[:, 1] == self.token
        logits = torch.where(bad[:, None], torch.nan, outputs.logits)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def test_rows_with_nan_logits_are_left_out_counted_and_reported_once(tmp_path: Path) -> None:
    dataset = dataset_for("bert")
    token = dataset[0]["input_ids"][1]
    bad = np.array([row["input_ids"][1] == token for row in dataset])
    model = SometimesNaN(make_model("bert"), token)
    trainer = make_trainer(tmp_path, model=model, auxiliary_model=make_model("bert", seed=2))
    with pytest.warns(UserWarning, match="NaN or infinite logits") as caught:
        trainer.train()
    assert sum("NaN or infinite logits" in str(warning.message) for warning in caught) == 1
    assert trainer.skipped_rows() == 2 * bad.sum()
    assert all(torch.isfinite(weights).all() for weights in weights_of(trainer.model).values())
    issues = trainer.label_issues().sort_values("row_id")
    assert (issues["visits"].to_numpy() == np.where(bad, 0, 2)).all()
