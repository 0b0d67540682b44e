"""PEFT: adapters in both networks, a frozen base that stays as it is, checkpoints that hold the adapter alone."""

import warnings
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors import safe_open
from tiny import label_names, make_model, make_tokenizer
from torch import nn
from training import NEUTRAL, assert_same_weights, dataset_for, make_trainer
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainingArguments
from variants import assert_same_state, logits_of, train_and_check

from lane_hf import InputError, RowTrainer
from lane_hf.networks import JointModel, SharedHead, check_auxiliary, make_auxiliary

peft = pytest.importorskip("peft", reason="PEFT is not installed (pip install peft)")

TARGETS = {
    "bert": ["query", "value"],
    "roberta": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "deberta-v2": ["query_proj", "value_proj"],
    "llama": ["q_proj", "v_proj"],
}
FAST = {"learning_rate": 1e-2, "num_train_epochs": 1, "weighting_warmup": 0.5}
load_adapter = peft.AutoPeftModelForSequenceClassification.from_pretrained


def saved_base(folder: Path, family: str = "bert", **settings: Any) -> Any:
    """Return a model that was loaded from a folder, as adapters name the base that they belong to."""
    make_model(family, num_hidden_layers=1, **settings).save_pretrained(folder / "base")
    return AutoModelForSequenceClassification.from_pretrained(folder / "base")


def with_lora(model: nn.Module, family: str = "bert", **settings: Any) -> Any:
    config = {"task_type": "SEQ_CLS", "r": 4, "target_modules": TARGETS[family], **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return peft.get_peft_model(model, peft.LoraConfig(**config))


def lora(folder: Path, family: str = "bert", **settings: Any) -> Any:
    return with_lora(saved_base(folder, family), family, **settings)


def keys_of(folder: Path) -> set[str]:
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        return set(file.keys())


# ---- Training ----


@pytest.mark.parametrize("auxiliary", ["full", "shared"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_adapters_train_and_are_saved_alone(tmp_path: Path, family: str, auxiliary: str) -> None:
    model = lora(tmp_path, family)
    trainer = make_trainer(tmp_path, family, model=model, auxiliary=auxiliary, contrastive="lscl", **FAST)
    again = train_and_check(trainer, tmp_path / "final", load_adapter)
    assert isinstance(again, peft.PeftModelForSequenceClassification)
    assert isinstance(trainer.auxiliary_model, SharedHead if auxiliary == "shared" else type(model))
    assert not (tmp_path / "final" / "model.safetensors").exists()
    adapter_keys = keys_of(tmp_path / "final")
    assert all("lora_" in key or ".classifier." in key or ".score." in key for key in adapter_keys)
    assert any("lora_A" in key for key in adapter_keys)
    assert set(trainer.label_issues()["given_label"]) == set(label_names(4)), "names come from the base"


@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, auxiliary: str) -> None:
    options = {**FAST, "auxiliary": auxiliary, "save_strategy": "steps", "save_steps": 4}
    whole = make_trainer(tmp_path / "whole", model=lora(tmp_path), **options)
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", model=lora(tmp_path), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert_same_state(whole, resumed)


def test_checkpoints_leave_out_the_body_that_both_networks_share(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=lora(tmp_path), save_strategy="epoch", num_train_epochs=1)
    trainer.train()
    with safe_open(tmp_path / "checkpoint-8" / "lane_state.safetensors", framework="pt") as file:
        saved = {name.removeprefix("auxiliary/") for name in file.keys() if name.startswith("auxiliary/")}  # noqa: SIM118
    parameters = dict(trainer.auxiliary_model.named_parameters())
    trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
    body = {name for name in parameters if ".encoder." in name and "lora" not in name}
    assert trained <= saved
    assert body
    assert not body & saved


def test_the_best_adapter_is_loaded_at_the_end(tmp_path: Path) -> None:
    options = {**FAST, "num_train_epochs": 2, "save_strategy": "epoch", "eval_strategy": "epoch"}
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "falling", "greater_is_better": True}
    falling = count(0, -1)
    options |= {
        "eval_dataset": dataset_for("bert", 16, seed=3),
        "compute_metrics": lambda _: {"falling": next(falling)},
    }
    trainer = make_trainer(tmp_path, model=lora(tmp_path), **options)
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-8")
    best = load_adapter(trainer.state.best_model_checkpoint)
    assert torch.equal(logits_of(best, trainer), logits_of(trainer.model, trainer))
    last = load_adapter(tmp_path / "checkpoint-16")
    assert not torch.equal(logits_of(last, trainer), logits_of(trainer.model, trainer))


def test_a_given_auxiliary_with_adapters_is_trained(tmp_path: Path) -> None:
    auxiliary = with_lora(make_model("bert", seed=7, num_hidden_layers=1))
    trainer = make_trainer(tmp_path, model=lora(tmp_path), auxiliary_model=auxiliary, **FAST)
    train_and_check(trainer, tmp_path / "final", load_adapter)
    assert trainer.auxiliary_model is auxiliary


@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_adapters_on_a_base_in_bfloat16(tmp_path: Path, auxiliary: str) -> None:
    model = with_lora(saved_base(tmp_path).bfloat16())
    trainer = make_trainer(tmp_path, model=model, auxiliary=auxiliary, contrastive="lscl", **FAST)
    train_and_check(trainer, tmp_path / "final", partial(load_adapter, dtype=torch.bfloat16))


def test_adapters_with_activations_computed_again(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=lora(tmp_path), gradient_checkpointing=True, **FAST)
    train_and_check(trainer, tmp_path / "final", load_adapter)
    assert trainer.auxiliary_model.get_base_model().bert.encoder.layer[0].gradient_checkpointing


@pytest.mark.parametrize(
    "config",
    [
        peft.IA3Config(task_type="SEQ_CLS", target_modules=["query", "value"], feedforward_modules=[]),
        peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
        peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
    ],
    ids=["ia3", "prefix", "prompt"],
)
@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_other_adapters_train(tmp_path: Path, auxiliary: str, config: Any) -> None:
    model = peft.get_peft_model(saved_base(tmp_path), config)
    trainer = make_trainer(tmp_path, model=model, auxiliary=auxiliary, contrastive="lscl", **FAST)
    train_and_check(trainer, tmp_path / "final", load_adapter)


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.23"),
    reason="older Transformers (seen with 5.17) lose the head of an added adapter, under plain Trainer as well",
)
def test_an_adapter_added_to_a_transformers_model(tmp_path: Path) -> None:
    model = saved_base(tmp_path)
    model.add_adapter(peft.LoraConfig(r=4, target_modules=TARGETS["bert"], modules_to_save=["classifier"]))
    trainer = make_trainer(tmp_path, model=model, **FAST)
    train_and_check(trainer, tmp_path / "final")
    assert (tmp_path / "final" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "final" / "model.safetensors").exists()


def test_everything_off_takes_the_same_steps_as_trainer(tmp_path: Path) -> None:
    lane = make_trainer(tmp_path / "lane", model=lora(tmp_path), **FAST, **NEUTRAL)
    lane.train()
    options = {"model": lora(tmp_path), "learning_rate": 1e-2, "num_train_epochs": 1, "args_kind": TrainingArguments}
    stock = make_trainer(tmp_path / "stock", kind=Trainer, **options)
    stock.train()
    rows = make_trainer(tmp_path / "rows", kind=RowTrainer, **{**options, "model": lora(tmp_path)})
    rows.train()
    assert_same_weights(lane.model, stock.model)
    assert_same_weights(rows.model, stock.model)
    assert set(rows.label_issues()["given_label"]) == set(label_names(4))


# ---- The copy ----


@pytest.mark.parametrize("family", TARGETS)
def test_a_copy_has_a_fresh_trained_head_and_the_frozen_body_in_common(tmp_path: Path, family: str) -> None:
    model = lora(tmp_path, family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    auxiliary = make_auxiliary(model, "full", 4, seed=1)
    ours, theirs = dict(model.named_parameters()), dict(auxiliary.named_parameters())
    assert ours.keys() == theirs.keys()
    body = f"base_model.model.{model.get_base_model().base_model_prefix}."
    fresh = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert fresh == {name for name in ours if "modules_to_save" in name}
    assert all((parameter == 3.0).all() for parameter in ours.values()), "the classifier is as it was"
    for name, parameter in theirs.items():
        assert parameter.requires_grad == ours[name].requires_grad
        in_common = not parameter.requires_grad and name.startswith(body)
        assert (parameter is ours[name]) == in_common, name
        assert parameter.requires_grad == any(part in name for part in ("lora_", "modules_to_save"))


def test_a_copy_shares_nothing_where_parameters_are_sharded(tmp_path: Path) -> None:
    model = lora(tmp_path)
    auxiliary = make_auxiliary(model, "full", 4, seed=1, share_frozen=False)
    ours = {parameter.data_ptr() for parameter in model.parameters()}
    assert not ours & {parameter.data_ptr() for parameter in auxiliary.parameters()}


def test_an_adapter_on_a_layer_of_the_head_keeps_its_own_start(tmp_path: Path) -> None:
    # Without a whole trained head; a random B would change the logits of the copy at once.
    settings = {"task_type": None, "target_modules": ["query", "classifier.dense"]}
    model = lora(tmp_path, "roberta", **settings)
    auxiliary = make_auxiliary(model, "full", 4, seed=1)
    assert_same_weights(model, auxiliary)
    head = auxiliary.get_base_model().classifier.dense
    assert (head.lora_B["default"].weight == 0).all()


def test_a_frozen_head_is_not_made_random() -> None:
    model = make_model("distilbert")
    model.pre_classifier.requires_grad_(False)
    auxiliary = make_auxiliary(model, "full", 4, seed=1)
    assert torch.equal(auxiliary.pre_classifier.weight, model.pre_classifier.weight)
    assert not torch.equal(auxiliary.classifier.weight, model.classifier.weight)


def mean_pooling_model() -> Any:
    settings = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("modernbert", **settings, vocab_size=200, pad_token_id=1, classifier_pooling="mean")
    return AutoModelForSequenceClassification.from_config(config)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["bert", "llama", "modernbert"])
@torch.no_grad()
def test_the_embedding_is_what_the_head_reads_behind_a_prompt(family: str, side: str) -> None:
    base = make_model(family) if family != "modernbert" else mean_pooling_model()
    prompt = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3, num_layers=2)
    model = peft.get_peft_model(base, prompt).eval()
    head = {"bert": lambda: base.bert.pooler, "llama": lambda: base.score.modules_to_save["default"]}
    read: list[torch.Tensor] = []
    head.get(family, lambda: base.head)().register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    tokenizer = make_tokenizer()
    tokenizer.padding_side = side
    inputs = dict(tokenizer(["happy the joy", "sad"], padding=True, return_tensors="pt"))
    outputs = JointModel(model, None, needs_embeddings=True)(**inputs)
    of_head = {"bert": lambda states: states[:, 0], "llama": lambda states: states[:, -1]}.get(family, lambda x: x)
    torch.testing.assert_close(outputs["embeddings"], of_head(read[0]))


# ---- Accidents ----


def test_an_adapter_loaded_for_inference_is_refused(tmp_path: Path) -> None:
    lora(tmp_path).save_pretrained(tmp_path / "adapter")
    model = peft.PeftModel.from_pretrained(saved_base(tmp_path), tmp_path / "adapter")
    trainer = make_trainer(tmp_path, model=model, auxiliary="shared", **FAST)
    with pytest.raises(InputError, match=r"no parameter of the model is trainable.*is_trainable=True"):
        trainer.train()


def test_one_base_under_two_adapters_is_refused(tmp_path: Path) -> None:
    base = saved_base(tmp_path)
    model = with_lora(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of it too
        auxiliary = with_lora(base)
    with pytest.raises(InputError, match="auxiliary_model is the model itself"):
        check_auxiliary(model, auxiliary, 4)
