"""Finding and widening the layer that gives the logits, in every family and under adapters."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import FAMILIES, IMAGE_SHAPE, make_model
from torch import nn

from lane_hf import InputError
from lane_hf.heads import add_label, logit_layers, names_of_labels


def test_names_of_labels_are_those_of_the_configuration_if_it_has_one_for_each() -> None:
    model = make_model("bert", num_labels=2)
    model.config.id2label = {0: "no", 1: 7}
    assert names_of_labels(model, 2) == ["no", "7"]
    assert names_of_labels(model, 3) is None
    model.config.id2label = {0: "no", 1: "no"}  # numbers tell them apart
    assert names_of_labels(model, 2) is None
    assert names_of_labels(nn.Linear(2, 2), 2) is None


def logits_of(model: Any, family: str) -> torch.Tensor:
    torch.manual_seed(0)
    if family == "vit":
        inputs = {"pixel_values": torch.randn(3, *IMAGE_SHAPE)}
    else:
        ids = torch.randint(5, 40, (3, 6))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        return model.eval()(**inputs).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_found_gives_the_logits(family: str) -> None:
    model = make_model(family, 4)
    (layer,) = logit_layers(model, 4)
    with torch.no_grad():
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.copy_(torch.arange(4.0))
    expected = torch.zeros(4) if layer.bias is None else torch.arange(4.0)
    assert torch.equal(logits_of(model, family), expected.expand(3, 4))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_more_label_leaves_the_others_as_they_are(family: str) -> None:
    model = make_model(family, 4)
    before = logits_of(model, family)
    add_label(model, 4)
    after = logits_of(model, family)
    assert after.shape == (3, 5)
    torch.testing.assert_close(after[:, :4], before)
    assert model.config.num_labels == model.num_labels == 5
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert after[:, 4].abs().sum() > 0


def test_two_layers_of_the_same_size() -> None:
    model = make_model("roberta", 32)  # its head has a layer with as many outputs as the hidden size
    (layer,) = logit_layers(model, 32)
    assert layer is model.classifier.out_proj


def test_a_head_beside_its_original_is_found_twice() -> None:
    model = get_peft_model(
        make_model("roberta", 4), LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    )
    layers = logit_layers(model, 4)
    assert [layer.out_features for layer in layers] == [4, 4]
    assert [layer.weight.requires_grad for layer in layers] == [False, True]
    before = logits_of(model, "roberta")
    add_label(model, 4)
    torch.testing.assert_close(logits_of(model, "roberta")[:, :4], before)
    assert [layer.weight.requires_grad for layer in logit_layers(model, 5)] == [False, True]


def test_an_adapter_on_the_head_is_refused() -> None:
    model = get_peft_model(make_model("bert", 4), LoraConfig(r=2, target_modules=["query", "classifier"]))
    with pytest.raises(InputError, match="an adapter lies on classifier, in the head"):
        logit_layers(model, 4)


def test_no_head() -> None:
    with pytest.raises(InputError, match="no linear layer with 4 outputs"):
        logit_layers(nn.Sequential(nn.Linear(3, 5)), 4)
