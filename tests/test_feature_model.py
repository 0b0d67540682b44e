"""Features are what the layer of the logits reads, in every family and for two networks."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import FAMILIES, IMAGE_SHAPE, make_model

from lane_hf.feature_model import FeatureModel
from lane_hf.networks import make_auxiliary


def batch_for(family: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    if family == "vit":
        return {"pixel_values": torch.randn(3, *IMAGE_SHAPE)}
    ids = torch.randint(5, 40, (3, 6))
    mask = torch.ones_like(ids)
    ids[1, 4:], mask[1, 4:] = 1, 0  # padding
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_makes_the_logits_of_the_features(family: str) -> None:
    model = make_model(family, dropout=0.0)
    auxiliary = make_auxiliary(model, "full", 4, seed=3)
    joint = FeatureModel(model, auxiliary, 4)
    outputs: dict[str, Any] = joint(**batch_for(family))
    torch.testing.assert_close(joint.logits_of(outputs["features"]), outputs["logits"])
    theirs = joint.logits_of(outputs["auxiliary_features"], "auxiliary_features")
    torch.testing.assert_close(theirs, outputs["auxiliary_logits"])
    assert not torch.allclose(theirs, outputs["logits"], atol=1e-4)
    assert outputs["features"].requires_grad


def test_without_a_second_network() -> None:
    joint = FeatureModel(make_model("bert"), None, 4)
    assert set(joint(**batch_for("bert"))) == {"logits", "features"}
    assert {name.partition(".")[0] for name, _ in joint.named_parameters()} == {"model"}


def test_the_classifier_alone_returns_what_it_always_does() -> None:
    model = make_model("bert", dropout=0.0)
    joint = FeatureModel(model, None, 4)
    alone = joint(classifier_only=True, **batch_for("bert"))
    assert torch.equal(alone.logits, model(**batch_for("bert")).logits)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_gradients_reach_the_layer_and_the_body() -> None:
    joint = FeatureModel(make_model("roberta"), None, 4)
    joint.logits_of(joint(**batch_for("roberta"))["features"]).sum().backward()
    assert all(parameter.grad is not None for parameter in joint.model.parameters())


def test_of_two_heads_the_one_that_runs_counts() -> None:
    config = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    model = get_peft_model(make_model("roberta", dropout=0.0), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.5)
    joint = FeatureModel(model, None, 4)
    outputs = joint(**batch_for("roberta"))
    torch.testing.assert_close(joint.logits_of(outputs["features"]), outputs["logits"])
