"""Slow references for the noise adaptation layer."""

import math

import pytest
import torch

from lane_hf.baselines.noise_layer import NoiseLayer

KINDS = pytest.mark.parametrize("kind", ["simple", "complex"])
WIDTH = 5


def slow_softmax(row: list[float]) -> list[float]:
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def slow_theta(layer: NoiseLayer, embedding: list[float] | None) -> list[list[float]]:
    bias = layer.bias.tolist()
    if layer.needs_embeddings:
        weight = layer.weight.tolist()
        bias = [
            [bias[i][j] + sum(u * h for u, h in zip(weight[i][j], embedding, strict=True)) for j in range(len(bias))]
            for i in range(len(bias))
        ]
    return [slow_softmax(row) for row in bias]


def slow_given(row: list[float], theta: list[list[float]]) -> list[float]:
    probs = slow_softmax(row)
    return [sum(probs[i] * theta[i][j] for i in range(len(row))) for j in range(len(row))]


def random_layer(labels: int, kind: str, seed: int) -> NoiseLayer:
    layer = NoiseLayer(labels, hidden_size=WIDTH if kind == "complex" else None)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def random_batch(rows: int, labels: int, seed: int, scale: float = 2.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, labels, generator=generator)
    embeddings = torch.randn(rows, WIDTH, generator=generator)
    return logits, embeddings, torch.randint(0, labels, (rows,), generator=generator)
