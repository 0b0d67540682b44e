"""The contrastive term of a step: which loss it is, and rows that are not finite."""

import math
from types import SimpleNamespace

import pytest
import torch

from lane_hf.contrastive import (
    believed_contrastive_loss,
    label_aware_contrastive_loss,
    label_contrastive_loss,
    supervised_contrastive_loss,
)
from lane_hf.contrastive_step import ContrastiveBatch, contrastive_term
from lane_hf.step_rows import StepRows

LOSSES = {"scl": supervised_contrastive_loss, "lcl": label_contrastive_loss, "lscl": label_aware_contrastive_loss}
IDS = torch.tensor([4, 2, 7, 4, 0, 1])


def term(kind: str, embeddings: torch.Tensor, views_per_row: int = 1) -> tuple[torch.Tensor, list[torch.Tensor]]:
    labels = torch.tensor([0, 0, 1, 0, 1, 1])
    probs = [] if kind == "scl" else [torch.rand(6, 2, generator=torch.Generator().manual_seed(1)).softmax(dim=1)]
    batch = ContrastiveBatch(embeddings, labels, probs[0] if probs else None, StepRows(IDS, 6, 6, 6, 1))
    trainer = SimpleNamespace(views_per_row=views_per_row)
    return contrastive_term(trainer, batch, kind=kind, temperature=0.5, across=True), [labels, *probs]


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("views_per_row", [1, 2])
def test_it_is_the_loss_of_its_name(kind: str, views_per_row: int) -> None:
    embeddings = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    loss, rest = term(kind, embeddings, views_per_row)
    # A row that comes twice makes no pair with itself, unless these are its views.
    row_ids = IDS if views_per_row == 1 else None
    torch.testing.assert_close(loss, LOSSES[kind](embeddings, *rest, temperature=0.5, row_ids=row_ids))


def test_beliefs_take_the_place_of_the_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, beliefs = torch.randn(6, 3, generator=generator), torch.rand(6, 2, generator=generator)
    batch = ContrastiveBatch(embeddings, torch.tensor([0, 0, 1, 0, 1, 1]), None, StepRows(IDS, 6, 6, 6, 1), beliefs)
    got = contrastive_term(SimpleNamespace(views_per_row=1), batch, kind="scl", temperature=0.5, across=True)
    torch.testing.assert_close(got, believed_contrastive_loss(embeddings, beliefs, 0.5, IDS))


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_spoils_no_other(kind: str, value: float) -> None:
    embeddings = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    zeros = embeddings.clone()
    embeddings[2, 1] = value
    zeros[2] = 0.0
    embeddings.requires_grad_()
    loss, _ = term(kind, embeddings)
    torch.testing.assert_close(loss.detach(), term(kind, zeros)[0])
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()
    assert embeddings.grad[[0, 1, 3, 4, 5]].abs().sum() > 0
