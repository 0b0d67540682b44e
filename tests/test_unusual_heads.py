"""Heads of architectures that read their embedding elsewhere than most: what they read, and how large it is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
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
KINDS = {
    "opt, projected": Kind("opt", {**OPT, "num_attention_heads": 2}, lambda model, h: model.score(h)),
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
