"""Sound classifiers: the embedding is the mean over the frames, as their heads have it, and training works."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from training import Rows, make_trainer
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification, default_data_collator

from lane_hf.networks import JointModel

LENGTH = 400
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
CONVOLUTIONS = {"conv_dim": (16, 16), "conv_kernel": (10, 4), "conv_stride": (5, 4), "num_conv_pos_embeddings": 8}
STILL = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "feat_proj_dropout": 0.0, "layerdrop": 0.0}


def make_classifier() -> Wav2Vec2ForSequenceClassification:
    config = Wav2Vec2Config(
        **SMALL,
        **CONVOLUTIONS,
        **STILL,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
        num_labels=4,
        id2label={index: f"label_{index}" for index in range(4)},
        mask_time_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Wav2Vec2ForSequenceClassification(config)


def sounds(number: int = 48) -> list[dict]:
    """Tones whose pitch is the label, in noise."""
    time = torch.arange(LENGTH) / LENGTH
    noise = torch.randn(number, LENGTH, generator=torch.Generator().manual_seed(0))
    waves = [torch.sin(2 * torch.pi * 20 * (1 + row % 4) * time) for row in range(number)]
    return [{"input_values": waves[row] + 0.1 * noise[row], "labels": row % 4} for row in range(number)]


def test_the_embedding_is_what_the_head_reads() -> None:
    model = make_classifier().eval()
    batch = torch.stack([row["input_values"] for row in sounds(4)])
    with torch.no_grad():
        outputs = JointModel(model, None, needs_embeddings=True)(input_values=batch)
    pooled = model.projector(outputs["embeddings"])  # the head averages after this linear layer, here it is before
    torch.testing.assert_close(model.classifier(pooled), outputs["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("auxiliary", ["none", "shared"])
def test_sounds_are_learned_and_judged(tmp_path: Path, auxiliary: str) -> None:
    options = {"auxiliary": auxiliary, "contrastive": "scl", "num_train_epochs": 6, "learning_rate": 3e-3}
    options |= {"model": make_classifier(), "train_dataset": Rows(sounds()), "data_collator": default_data_collator}
    trainer = make_trainer(tmp_path, **options)
    trainer.train()
    issues = trainer.label_issues()
    assert (issues["visits"] == 6).all()
    rows = trainer.data_collator([trainer.train_dataset[row] for row in range(48)])
    with torch.no_grad():
        logits = trainer.model.eval()(rows["input_values"]).logits
    assert F.cross_entropy(logits, rows["labels"]) < 1.2
