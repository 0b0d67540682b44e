"""The second network: what heads read, what a fresh head is, and how both networks run in one forward."""

import copy
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import FAMILIES, IMAGE_SHAPE, TEXT_FAMILIES, make_model, make_tokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from lane_hf.errors import InputError
from lane_hf.networks import (
    JointModel,
    SharedHead,
    base_classifier,
    check_auxiliary,
    embeddings,
    make_auxiliary,
    num_labels_of,
)

LABELS = 4
TEXTS = ["happy the joy", "sad", "guitar song drum melody of the concert"]

# The logits from the embedding, through the model's own head.
HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "bert": lambda model, h: model.classifier(model.bert.pooler(h[:, None])),
    "roberta": lambda model, h: model.classifier(h[:, None]),
    "deberta-v2": lambda model, h: model.classifier(model.pooler(h[:, None])),
    "distilbert": lambda model, h: model.classifier(model.pre_classifier(h).relu()),
    "electra": lambda model, h: model.classifier(h[:, None]),
    "mpnet": lambda model, h: model.classifier(h[:, None]),
    "llama": lambda model, h: model.score(h),
    "vit": lambda model, h: model.classifier(h),
}


def make_inputs(family: str, side: str = "right") -> dict[str, Any]:
    if family == "vit":
        return {"pixel_values": torch.randn(3, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))}
    tokenizer = make_tokenizer()
    tokenizer.padding_side = side
    return dict(tokenizer(TEXTS, padding=True, return_tensors="pt"))


def untouched(model: PreTrainedModel) -> PreTrainedModel:
    """Move every parameter off its first value, so that a norm of weight 1 and bias 0 cannot hide."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


# ------------------------------------------------------------------------------------------------------- embeddings
@pytest.mark.parametrize(
    ("family", "side"), [*((family, side) for family in TEXT_FAMILIES for side in ("right", "left")), ("vit", "")]
)
@torch.no_grad()
def test_the_heads_logits_come_back_from_the_embedding(family: str, side: str) -> None:
    model, inputs = untouched(make_model(family)), make_inputs(family, side)
    outputs = JointModel(model, None, needs_embeddings=True)(**inputs)
    assert outputs["embeddings"].shape == (3, 32)
    assert outputs["logits"].shape == (3, LABELS)
    torch.testing.assert_close(HEADS[family](model, outputs["embeddings"]), outputs["logits"], rtol=1e-5, atol=1e-5)
    # And the rows differ, so that the right row was read.
    assert torch.pdist(outputs["embeddings"]).min() > 0.1


SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
TOKENS = {"vocab_size": 30, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resnet": ("resnet", "classifier", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    "convnext": ("convnext", "classifier", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
    "swin": ("swin", "classifier", {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}),
    "vit_msn": ("vit_msn", "classifier", {**SMALL, "patch_size": 8}),
    "modernbert, mean": ("modernbert", "head", {**SMALL, **TOKENS, "classifier_pooling": "mean"}),
    "modernbert, first": ("modernbert", "head", {**SMALL, **TOKENS, "classifier_pooling": "cls"}),
    "bart": (
        "bart",
        "classification_head",
        {
            **{f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")},
            **TOKENS,
            "d_model": 16,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
        },
    ),
}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("name", OTHERS)
@torch.no_grad()
def test_other_architectures_heads_read_the_embedding(name: str, masked: bool) -> None:
    family, head, settings = OTHERS[name]
    is_image = head == "classifier"
    auto_class = AutoModelForImageClassification if is_image else AutoModelForSequenceClassification
    sizes = {"image_size": 32} if family in ("swin", "vit_msn") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto_class.from_config(AutoConfig.for_model(family, num_labels=3, **settings, **sizes))
    untouched(model)
    if is_image:
        inputs = {"pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
    else:
        inputs = {"input_ids": torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])}
        if masked:
            inputs["attention_mask"] = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    read: list[Tensor] = []
    getattr(model, head).register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    outputs = model(**inputs, output_hidden_states=True)
    torch.testing.assert_close(embeddings(model, outputs, inputs), read[0].flatten(1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_decoder_on_embedded_inputs_reads_the_last_token() -> None:
    model, inputs = untouched(make_model("llama")), make_inputs("llama", "left")
    embedded = {
        "inputs_embeds": model.get_input_embeddings()(inputs["input_ids"]),
        "attention_mask": inputs["attention_mask"],
    }
    outputs = JointModel(model, None, needs_embeddings=True)(**embedded)
    torch.testing.assert_close(model.score(outputs["embeddings"]), outputs["logits"], rtol=1e-5, atol=1e-5)


class Custom(nn.Module):
    """A classifier that knows nothing of Transformers; its hidden states are tokens."""

    def __init__(self, num_labels: int = LABELS, gives_states: bool = True, head: str = "head") -> None:
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.gives_states = gives_states
        self.head_name = head
        setattr(self, head, nn.Linear(16, num_labels))

    def forward(self, x: Tensor, output_hidden_states: bool = False) -> dict[str, Any]:
        tokens = self.body(x)
        result = {"logits": getattr(self, self.head_name)(tokens[:, 0])}
        return {**result, "hidden_states": (tokens,)} if self.gives_states and output_hidden_states else result


def test_a_custom_classifier_without_configuration() -> None:
    x = torch.randn(3, 5, 8)
    outputs = JointModel(Custom(), None, needs_embeddings=True)(x=x)
    assert outputs.keys() == {"logits", "embeddings"}
    first, last = Custom(), Custom(head="score")
    assert torch.equal(JointModel(first, None, True)(x=x)["embeddings"], first.body(x)[:, 0])
    assert torch.equal(JointModel(last, None, True)(x=x)["embeddings"], last.body(x)[:, -1])


def test_a_model_without_hidden_states_is_refused_where_they_are_needed() -> None:
    model = Custom(gives_states=False)
    assert JointModel(model, None)(x=torch.randn(3, 5, 8)).keys() == {"logits"}
    with pytest.raises(InputError, match=r"Custom returns no hidden states.*auxiliary='full' or 'none'"):
        JointModel(model, None, needs_embeddings=True)(x=torch.randn(3, 5, 8))


# ------------------------------------------------------------------------------------------------------ joint model
@pytest.mark.parametrize("kind", ["full", "shared", "none"])
@pytest.mark.parametrize("needs_embeddings", [True, False])
@torch.no_grad()
def test_one_forward_runs_both_networks(kind: str, needs_embeddings: bool) -> None:
    model, inputs = make_model("bert").eval(), make_inputs("bert")
    auxiliary = make_auxiliary(model, kind, LABELS, seed=1)
    joint = JointModel(model, auxiliary, needs_embeddings).eval()
    outputs = joint(**inputs)
    expected = {"logits"}
    expected |= {"embeddings"} if needs_embeddings or kind == "shared" else set()
    expected |= {"auxiliary_logits"} if kind != "none" else set()
    assert outputs.keys() == expected
    torch.testing.assert_close(outputs["logits"], model(**inputs).logits)
    if kind == "full":
        torch.testing.assert_close(outputs["auxiliary_logits"], auxiliary(**inputs).logits)
    if kind == "shared":
        torch.testing.assert_close(outputs["auxiliary_logits"], auxiliary.linear(outputs["embeddings"]))


@pytest.mark.parametrize("kind", ["full", "shared"])
@torch.no_grad()
def test_the_auxiliary_network_sees_one_of_so_many_entries(kind: str) -> None:
    model, inputs = make_model("bert").eval(), make_inputs("bert")
    auxiliary = make_auxiliary(model, kind, LABELS, seed=1)
    twice = {name: tensor.repeat_interleave(2, dim=0) for name, tensor in inputs.items()}
    twice["input_ids"][1::2, 1] = 9  # the views differ from their rows
    plain, strided = JointModel(model, auxiliary).eval(), JointModel(model, auxiliary, auxiliary_stride=2).eval()
    outputs = strided(**twice, return_dict=True, output_attentions=None)  # what is no tensor passes
    assert outputs["logits"].shape == (6, LABELS)
    torch.testing.assert_close(outputs["logits"][::2], plain(**inputs)["logits"])
    assert not torch.allclose(outputs["logits"][1::2], plain(**inputs)["logits"])
    torch.testing.assert_close(outputs["auxiliary_logits"], plain(**inputs)["auxiliary_logits"])


# The others cannot run alone with this setting either.
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"llama", "vit"}))
@torch.no_grad()
def test_a_configuration_that_asks_for_tuples(family: str) -> None:
    model, inputs = make_model(family).eval(), make_inputs(family)
    expected = model(**inputs).logits
    model.config.return_dict = False
    assert isinstance(model(**inputs), tuple)
    outputs = JointModel(model, copy.deepcopy(model), needs_embeddings=True)(**inputs)
    torch.testing.assert_close(outputs["logits"], expected)
    torch.testing.assert_close(outputs["auxiliary_logits"], expected)
    torch.testing.assert_close(HEADS[family](model, outputs["embeddings"]), expected, rtol=1e-5, atol=1e-5)


# -------------------------------------------------------------------------------------------------------- auxiliary
def head_names(model: PreTrainedModel) -> set[str]:
    prefix = f"{model.base_model_prefix}."
    return {name for name, _ in model.named_parameters() if not name.startswith(prefix)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_auxiliary_is_a_copy_with_a_fresh_head(family: str) -> None:
    # PyTorch's own initialisation of these heads would have a standard deviation of 0.1.
    model = make_model(family, initializer_range=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    auxiliary = make_auxiliary(model, "full", LABELS, seed=1)
    assert type(auxiliary) is type(model)
    ours, theirs = dict(model.named_parameters()), dict(auxiliary.named_parameters())
    assert ours.keys() == theirs.keys()
    head = head_names(model)
    assert head
    for name, parameter in theirs.items():
        assert parameter.data_ptr() != ours[name].data_ptr()
        assert (ours[name] == 3.0).all()
        if name not in head:
            assert torch.equal(parameter, ours[name]), name
        elif parameter.dim() == 1:
            assert (parameter == 0.0).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.5, rel=0.25), name
    assert auxiliary.training == model.training


def test_a_head_that_was_loaded_is_made_fresh_too(tmp_path: Path) -> None:
    make_model("roberta").save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    auxiliary = make_auxiliary(model, "full", LABELS, seed=1)
    changed = {
        name
        for name, parameter in auxiliary.named_parameters()
        if not torch.equal(parameter, model.get_parameter(name))
    }
    assert changed == {"classifier.dense.weight", "classifier.out_proj.weight"}


@pytest.mark.parametrize("kind", ["full", "shared"])
@pytest.mark.parametrize("family", ["roberta", "vit"])
def test_the_seed_alone_decides_about_the_head(family: str, kind: str) -> None:
    model = make_model(family)

    def build(seed: int) -> dict[str, Tensor]:
        torch.rand(seed + 1)  # wherever the global state is
        return {
            name: tensor.clone() for name, tensor in make_auxiliary(model, kind, LABELS, seed).state_dict().items()
        }

    first, again, other = build(5), build(5), build(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", ["full", "shared", "none"])
def test_the_global_random_state_is_left_as_it_was(kind: str) -> None:
    model = make_model("deberta-v2")

    def states() -> tuple[bytes, bytes, object]:
        return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()

    before = states()
    make_auxiliary(model, kind, LABELS, seed=1)
    assert states() == before


def test_a_shared_head_does_not_train_the_classifier() -> None:
    model = make_model("bert")
    joint = JointModel(model, make_auxiliary(model, "shared", LABELS, seed=1))
    outputs = joint(**make_inputs("bert"))
    outputs["auxiliary_logits"].square().sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in joint.auxiliary.parameters())
    # The classifier's own loss does train it, and not the shared head.
    joint.zero_grad()
    joint(**make_inputs("bert"))["logits"].square().sum().backward()
    assert all(parameter.grad is None for parameter in joint.auxiliary.parameters())
    assert model.classifier.weight.grad.abs().sum() > 0


def test_a_shared_head_drops_parts_of_the_embedding_in_training_only() -> None:
    head, h = SharedHead(64, 3, dropout=0.5), torch.randn(2, 64)
    assert not torch.equal(head(h), head(h))
    head.eval()
    assert torch.equal(head(h), head.linear(h))


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (SimpleNamespace(hidden_size=16), 16),
        (SimpleNamespace(hidden_sizes=[8, 24]), 24),
        (SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=12)), 12),
    ],
)
def test_a_shared_head_has_the_models_hidden_size(config: Any, size: int) -> None:
    model = Custom()
    model.config = config
    head = make_auxiliary(model, "shared", 5, seed=1)
    assert isinstance(head, SharedHead)
    assert head(torch.zeros(2, size)).shape == (2, 5)


@pytest.mark.parametrize("config", [None, SimpleNamespace(hidden_size=None)])
def test_a_shared_head_needs_to_know_the_hidden_size(config: Any) -> None:
    model = Custom()
    model.config = config
    with pytest.raises(InputError, match=r"the hidden size of Custom is unknown.*need config\.hidden_size"):
        make_auxiliary(model, "shared", LABELS, seed=1)


def test_no_auxiliary() -> None:
    assert make_auxiliary(Custom(), "none", LABELS, seed=1) is None


def test_a_full_auxiliary_of_a_custom_classifier_has_a_fresh_last_layer() -> None:
    model = Custom()
    auxiliary = make_auxiliary(model, "full", LABELS, seed=1)
    assert torch.equal(auxiliary.body.weight, model.body.weight)
    assert not torch.equal(auxiliary.head.weight, model.head.weight)
    outputs = JointModel(model, auxiliary)(x=torch.randn(3, 5, 8))
    assert outputs["auxiliary_logits"].shape == (3, LABELS)


def test_a_custom_classifier_without_a_last_layer_is_refused() -> None:
    with pytest.raises(InputError, match="the head of Custom cannot be found: pass auxiliary_model"):
        make_auxiliary(Custom(num_labels=7), "full", LABELS, seed=1)


# ----------------------------------------------------------------------------------------- a given auxiliary network
def test_an_auxiliary_with_the_same_labels_and_tokens_passes() -> None:
    check_auxiliary(make_model("bert"), make_model("roberta"), LABELS)
    check_auxiliary(make_model("vit"), make_model("vit", seed=1), LABELS)
    custom = Custom()
    custom.num_labels = LABELS
    check_auxiliary(make_model("bert"), custom, LABELS)


def test_an_auxiliary_that_does_not_fit_is_refused() -> None:
    model = make_model("bert")
    with pytest.raises(InputError, match="auxiliary_model is the model itself"):
        check_auxiliary(model, model, LABELS)
    with pytest.raises(InputError, match="auxiliary_model has 3 labels, the model has 4: they must be the same"):
        check_auxiliary(model, make_model("bert", num_labels=3), LABELS)
    with pytest.raises(InputError, match=r"a vocabulary of 50 tokens, the model one of .*need the same tokenizer"):
        check_auxiliary(model, make_model("bert", vocab_size=50), LABELS)
    with pytest.raises(InputError, match="Custom does not say how many labels it has"):
        check_auxiliary(model, Custom(), LABELS)


# -------------------------------------------------------------------------------------------------- number of labels
def test_the_number_of_labels_stands_in_the_configuration_or_in_the_model() -> None:
    assert num_labels_of(make_model("bert", num_labels=7)) == 7
    model = Custom()
    with pytest.raises(InputError, match=r"Custom does not say how many labels it has: set model\.config\.num_labels"):
        num_labels_of(model)
    model.num_labels = 5
    assert num_labels_of(model) == 5
    model.config = SimpleNamespace(num_labels=6)
    assert num_labels_of(model) == 6


def test_a_wrapper_is_looked_through() -> None:
    class Wrapper(nn.Module):  # as PEFT's
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.wrapped = model

        def get_base_model(self) -> nn.Module:
            return self.wrapped

    model = make_model("bert")
    assert base_classifier(Wrapper(model)) is model
    assert base_classifier(model) is model
    assert num_labels_of(Wrapper(model)) == LABELS
