"""The contrastive term of a training step, over the rows of one process or of all."""

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from torch import Tensor

from .contrastive import (
    believed_contrastive_loss,
    label_aware_contrastive_loss,
    label_contrastive_loss,
    supervised_contrastive_loss,
)
from .margins import finite_rows
from .step_rows import StepRows

if TYPE_CHECKING:
    from .joint_trainer import JointTrainer


class ContrastiveBatch(NamedTuple):
    """What a contrastive term compares.

    Attributes:
        embeddings: `[B, d]`.
        labels: `[B]` given labels.
        aux_probs: `[B, K]` probabilities of a second network; None for `scl`.
        rows: which rows they are.
        beliefs: `[B, K]` how far each row is believed to have each label, for `scl`; None believes the given labels.
    """

    embeddings: Tensor
    labels: Tensor
    aux_probs: Tensor | None
    rows: StepRows
    beliefs: Tensor | None = None


def contrastive_term(
    trainer: "JointTrainer",
    batch: ContrastiveBatch,
    *,
    kind: Literal["scl", "lcl", "lscl"],
    temperature: float,
    across: bool,
) -> Tensor:
    """Compute a contrastive loss of a training step.

    Args:
        trainer: the trainer whose processes take the step.
        batch: the entries of this process.
        kind: which of the losses of [`lane_hf.contrastive`].
        temperature: scale of the similarities.
        across: whether the pairs go over the rows of all processes.

    Returns:
        A scalar. Over all processes it is the same in each, with a gradient such that the average over processes is
        the gradient of one process with the whole batch.
    """
    embeddings, labels, aux_probs, rows, beliefs = batch
    # A row that is not finite would spoil the similarities of all others: it counts as a vector of zeros.
    embeddings = finite_rows(embeddings)[0]
    row_ids = rows.ids
    across = across and rows.processes > 1
    if across:
        embeddings = trainer.gather_with_gradient(embeddings, rows)
        aux_probs = None if aux_probs is None else trainer.gather_with_gradient(aux_probs, rows)
        labels, row_ids = trainer.gather_entries(labels, rows), trainer.gather_entries(row_ids, rows)
        beliefs = None if beliefs is None else trainer.gather_entries(beliefs, rows)
    # A sampler with replacement may repeat a row, which would be its own perfect positive. Views of a row are meant
    # to be.
    own_ids = row_ids if trainer.views_per_row == 1 else None
    if kind == "scl" and beliefs is not None:
        term = believed_contrastive_loss(embeddings, beliefs, temperature, own_ids)
    elif kind == "scl":
        term = supervised_contrastive_loss(embeddings, labels, temperature, own_ids)
    elif kind == "lscl":
        term = label_aware_contrastive_loss(embeddings, labels, cast("Tensor", aux_probs), temperature, own_ids)
    else:
        term = label_contrastive_loss(embeddings, labels, cast("Tensor", aux_probs), temperature, own_ids)
    return _scale_gradient(term, rows.total / max(rows.own, 1)) if across else term


def _scale_gradient(value: Tensor, factor: float) -> Tensor:
    """Return the value itself, with a gradient that is `factor` times as large.

    Every process computes the contrastive term of the whole step, but differentiates by its own rows only. Averaged
    over processes, each of which counts in proportion to its rows, the gradient would be too small by this factor.
    """
    return value.detach() + factor * (value - value.detach())
