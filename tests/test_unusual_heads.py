"""Heads of architectures that read their embedding elsewhere than most: what they read, and how large it is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from lane_hf.heads import hidden_size
from lane_hf.networks import JointModel, make_auxiliary

LABELS, WIDTH = 3, 16
TOKENS = {"vocab_size": 30, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


class Kind(NamedTuple):
    """An architecture: its name, its settings, and how its head makes logits of the embedding."""

    family: str
    settings: dict[str, Any]
    head: Callable[[Any, Tensor], Tensor]


OPT = {**TOKENS, "hidden_size": 2 * WIDTH, "word_embed_proj_dim": WIDTH, "num_hidden_layers": 2, "ffn_dim": 16}
CTRL = {**TOKENS, "n_embd": WIDTH, "n_layer": 2, "n_head": 2, "dff": 16, "n_positions": 8}
XLNET = {**TOKENS, "d_model": WIDTH, "n_layer": 2, "n_head": 2, "d_inner": 16}
ENCODER = {**TOKENS, **SMALL, "num_key_value_heads": 2, "head_dim": 8}
T5GEMMA = {**TOKENS, "encoder": {**ENCODER, "hidden_size": 2 * WIDTH}, "decoder": ENCODER}


def after_summary(model: Any, h: Tensor) -> Tensor:
    return model.logits_proj(model.sequence_summary(h[:, None]))


KINDS = {
    "opt, projected": Kind("opt", {**OPT, "num_attention_heads": 2}, lambda model, h: model.score(h)),
    "modernbert-decoder": Kind(
        "modernbert-decoder", {**TOKENS, **SMALL}, lambda model, h: model.classifier(model.head(h))
    ),
    "ctrl": Kind("ctrl", CTRL, lambda model, h: model.classifier(h)),
    "xlnet": Kind("xlnet", XLNET, after_summary),
    "xlnet, first": Kind("xlnet", {**XLNET, "summary_type": "first"}, after_summary),
    "xlnet, mean": Kind("xlnet", {**XLNET, "summary_type": "mean"}, after_summary),
    "t5gemma": Kind("t5gemma", T5GEMMA, lambda model, h: model.score(h)),
}


def make(kind: Kind, seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(kind.family, num_labels=LABELS, initializer_range=0.3, **kind.settings)
        return AutoModelForSequenceClassification.from_config(config).eval()


def make_inputs(side: str) -> dict[str, Tensor]:
    rows = [[0, 5, 6, 7, 8, 2], [0, 9, 2], [0, 10, 11, 2]]
    padded = {"right": lambda row: row + [1] * (6 - len(row)), "left": lambda row: [1] * (6 - len(row)) + row}
    ids = torch.tensor([padded[side](row) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 1).long()}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_the_logits_come_back_from_the_embedding(name: str, side: str) -> None:
    model = make(KINDS[name])
    outputs = JointModel(model, None, needs_embeddings=True)(**make_inputs(side))
    assert outputs["embeddings"].shape == (3, WIDTH)
    expected = KINDS[name].head(model, outputs["embeddings"])
    torch.testing.assert_close(expected, outputs["logits"], rtol=1e-5, atol=1e-5)
    assert torch.pdist(outputs["logits"]).min() > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_a_shared_head_reads_what_the_head_reads(name: str) -> None:
    model = make(KINDS[name])
    assert hidden_size(model) == WIDTH
    joint = JointModel(model, make_auxiliary(model, "shared", LABELS, seed=1))
    assert joint(**make_inputs("right"))["auxiliary_logits"].shape == (3, LABELS)


@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_of_labels_that_are_averaged_the_embedding_is_the_mean(masked: bool) -> None:
    """As in EuroBERT: its head reads every token, and the logits are averaged, which no single embedding gives."""
    settings = {**TOKENS, **SMALL, "mask_token_id": 3, "num_key_value_heads": 2, "classifier_pooling": "late"}
    model, inputs = make(Kind("eurobert", settings, lambda model, h: h)), make_inputs("right")
    if not masked:
        del inputs["attention_mask"]
    read: list[Tensor] = []
    model.dense.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    outputs = JointModel(model, None, needs_embeddings=True)(**inputs)
    counted = inputs["attention_mask"].bool() if masked else torch.ones(3, 6, dtype=torch.bool)
    expected = torch.stack([states[own].mean(dim=0) for states, own in zip(read[0], counted, strict=True)])
    torch.testing.assert_close(outputs["embeddings"], expected)


def test_a_network_that_knows_tuples_only() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 3)

        def forward(self, features: Tensor) -> tuple[Tensor]:
            return (self.head(features),)

    network, inputs = Own(), torch.randn(4, 2)
    assert torch.equal(JointModel(network, Own())(features=inputs)["logits"], network(inputs)[0])
