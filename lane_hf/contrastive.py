r"""Contrastive losses on embeddings: LANE's (Eq. 8) and its relatives.

Notation: `h_i` are L2-normalised embeddings, `s_ij = h_i . h_j / temperature`, `P_i` the other rows with i's label,
`N_i` the rows with another label, `A_i = P_i + N_i`, and `w_i` the auxiliary network's probabilities for row i.

    SCL  = mean_i  -1/|P_i| sum_{p in P_i}           log  e^{s_ip}            / sum_{k in A_i}            e^{s_ik}
    LCL  = mean_i  -1/|P_i| sum_{p in P_i} w_{i,y_i} log  e^{s_ip}            / sum_{k in A_i} w_{i,y_k}  e^{s_ik}
    LSCL = mean_i  -1/|P_i| sum_{p in P_i}           log (w_{i,y_i} e^{s_ip}) / sum_{k in N_i} w_{i,y_k}  e^{s_ik}

If the label of a row is not certain, but belongs to k with the believed probability t_i(k), a pair counts as positive
as far as both are believed to have the same label, q_ij = sum_k t_i(k) t_j(k), and an anchor as far as its own label
is settled:

    BSCL = mean_i  sum_k t_i(k)^2  -1/sum_{j in A_i} q_ij  sum_{j in A_i} q_ij log e^{s_ij} / sum_{k in A_i} e^{s_ik}

With beliefs of 0 and 1 it is SCL.

An anchor without a positive (for LSCL also: without a negative) contributes zero and still counts in the mean. All
sums of exponentials are logsumexp: with raw encoder outputs `e^s` would overflow.

Sources: SCL: Gunel et al., ICLR 2021, and Khosla et al., NeurIPS 2020. LCL: Suresh & Ong, EMNLP 2021, Eq. 3. LSCL:
Sosea & Caragea, ICLR 2026, Eq. 8, second term.
"""

import torch
from torch import Tensor

from .margins import MIN_PROBABILITY, at_least_float32

_MIN_EXPECTED = 1e-4  # of positives of an anchor: less is no opinion about which rows are its like


def label_aware_contrastive_loss(
    embeddings: Tensor,
    labels: Tensor,
    aux_probs: Tensor,
    temperature: float = 0.3,
    row_ids: Tensor | None = None,
) -> Tensor:
    """Compute LANE's label-aware supervised contrastive loss, LSCL (Eq. 8, second term).

    Its denominator holds the negatives only, each with the auxiliary probability of its label: the likelier a wrong
    label, the stronger its rows are pushed away.

    Args:
        embeddings: `[B, d]`; normalised here.
        labels: `[B]` given labels.
        aux_probs: `[B, K]` probabilities of the auxiliary network for each row, usually smoothed; values below 1e-6
            count as 1e-6. Gradients flow into them unless detached.
        temperature: scale of the similarities, above 0.
        row_ids: `[B]`, optional: two places of the batch that hold the same row make no pair.

    Returns:
        A float32 scalar; zero, with zero gradients, if no anchor has both a positive and a negative.

    Example:
        >>> h, y = torch.eye(3), torch.tensor([0, 0, 1])
        >>> round(label_aware_contrastive_loss(h, y, torch.full((3, 2), 0.5), temperature=1.0).item(), 4)
        0.0
    """
    similarity, positive, negative = _pairs(embeddings, labels, temperature, row_ids)
    log_probs = at_least_float32(aux_probs).clamp_min(MIN_PROBABILITY).log()
    own = log_probs.gather(1, labels[:, None]).squeeze(1)
    has_negative = negative.any(dim=1)
    denominator = _masked_logsumexp(similarity + log_probs[:, labels], negative, has_negative)
    attraction = _mean_over_positives(similarity, positive) + own - denominator
    return _mean_over_anchors(-attraction, positive.any(dim=1) & has_negative)


def supervised_contrastive_loss(
    embeddings: Tensor, labels: Tensor, temperature: float = 0.3, row_ids: Tensor | None = None
) -> Tensor:
    """Compute the supervised contrastive loss, SCL (Khosla et al. 2020, Eq. 2; Gunel et al. 2021).

    Args:
        embeddings: `[B, d]`; normalised here.
        labels: `[B]` given labels.
        temperature: scale of the similarities, above 0.
        row_ids: `[B]`, optional: two places of the batch that hold the same row make no pair.

    Returns:
        A float32 scalar; zero, with zero gradients, if no anchor has a positive.

    Example:
        >>> h, y = torch.eye(3), torch.tensor([0, 0, 1])
        >>> round(supervised_contrastive_loss(h, y, temperature=1.0).item(), 4)
        0.4621
    """
    similarity, positive, negative = _pairs(embeddings, labels, temperature, row_ids)
    has_positive = positive.any(dim=1)
    denominator = _masked_logsumexp(similarity, positive | negative, has_positive)
    return _mean_over_anchors(denominator - _mean_over_positives(similarity, positive), has_positive)


def believed_contrastive_loss(
    embeddings: Tensor, beliefs: Tensor, temperature: float = 0.3, row_ids: Tensor | None = None
) -> Tensor:
    """Compute the supervised contrastive loss of labels that are not certain, BSCL (top of this file).

    Args:
        embeddings: `[B, d]`; normalised here.
        beliefs: `[B, K]` probability of each label for each row. No gradient flows into them.
        temperature: scale of the similarities, above 0.
        row_ids: `[B]`, optional: two places of the batch that hold the same row make no pair.

    Returns:
        A float32 scalar; zero, with zero gradients, if no two rows are believed to have a label in common. An anchor
        whose pairs add up to less than 1e-4 has none.

    Source: Khosla et al. 2020, Eq. 2, with the expected positives under the beliefs; our own.

    Example:
        >>> h, sure = torch.eye(3), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> round(believed_contrastive_loss(h, sure, temperature=1.0).item(), 4)
        0.4621
    """
    beliefs = at_least_float32(beliefs.detach())
    similarity = _similarity(embeddings, temperature)
    allowed = _allowed(len(beliefs), row_ids, beliefs.device)
    with torch.autocast(beliefs.device.type, enabled=False):
        together = (beliefs @ beliefs.T) * allowed
    expected = together.sum(dim=1)
    has_positive = expected >= _MIN_EXPECTED
    attraction = (similarity * together).sum(dim=1) / expected.clamp_min(_MIN_EXPECTED)
    denominator = _masked_logsumexp(similarity, allowed, has_positive)
    settled = beliefs.square().sum(dim=1)
    return _mean_over_anchors(settled * (denominator - attraction), has_positive)


def label_contrastive_loss(
    embeddings: Tensor,
    labels: Tensor,
    aux_probs: Tensor,
    temperature: float = 0.3,
    row_ids: Tensor | None = None,
) -> Tensor:
    """Compute the label-aware contrastive loss LCL (Suresh & Ong 2021, Eq. 3).

    Unlike LSCL, positives stay in the denominator and the anchor's own probability stands outside the logarithm (as in
    the authors' code; the paper's Eq. 3 prints it inside), so the loss is bounded below.

    Args:
        embeddings: `[B, d]`; normalised here.
        labels: `[B]` given labels.
        aux_probs: `[B, K]` probabilities of the auxiliary network; values below 1e-6 count as 1e-6.
        temperature: scale of the similarities, above 0.
        row_ids: `[B]`, optional: two places of the batch that hold the same row make no pair.

    Returns:
        A float32 scalar; zero, with zero gradients, if no anchor has a positive.

    Example:
        >>> h, y = torch.eye(3), torch.tensor([0, 0, 1])
        >>> round(label_contrastive_loss(h, y, torch.full((3, 2), 0.5), temperature=1.0).item(), 4)
        0.0
    """
    similarity, positive, negative = _pairs(embeddings, labels, temperature, row_ids)
    probs = at_least_float32(aux_probs).clamp_min(MIN_PROBABILITY)
    has_positive = positive.any(dim=1)
    denominator = _masked_logsumexp(similarity + probs.log()[:, labels], positive | negative, has_positive)
    own = probs.gather(1, labels[:, None]).squeeze(1)
    return _mean_over_anchors(own * (denominator - _mean_over_positives(similarity, positive)), has_positive)


def _pairs(
    embeddings: Tensor, labels: Tensor, temperature: float, row_ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scaled similarities `[B, B]` and the masks of positive and negative pairs."""
    allowed = _allowed(len(labels), row_ids, labels.device)
    same = labels[:, None] == labels[None, :]
    return _similarity(embeddings, temperature), same & allowed, ~same & allowed


def _similarity(embeddings: Tensor, temperature: float) -> Tensor:
    # Inside autocast the product would be taken in half precision.
    with torch.autocast(embeddings.device.type, enabled=False):
        normalised = _normalise(at_least_float32(embeddings))
        return normalised @ normalised.T / temperature


def _allowed(size: int, row_ids: Tensor | None, device: torch.device) -> Tensor:
    """Return the mask `[B, B]` of the pairs of different rows."""
    if row_ids is None:
        return ~torch.eye(size, dtype=torch.bool, device=device)
    return row_ids[:, None] != row_ids[None, :]


def _normalise(embeddings: Tensor) -> Tensor:
    # Unlike with F.normalize, the gradient of a row of zeros is of ordinary size, not a multiple of 1e12.
    norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    return embeddings / norms.masked_fill(norms == 0, 1.0)


def _mean_over_positives(similarity: Tensor, positive: Tensor) -> Tensor:
    return (similarity * positive).sum(dim=1) / positive.sum(dim=1).clamp_min(1)


def _masked_logsumexp(scores: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Logsumexp over `mask`; rows that are not `valid` give a finite value with a finite gradient.

    A row of -inf only would give NaN gradients even where the result is masked away afterwards, so such rows see their
    unmasked scores instead.
    """
    return scores.masked_fill(~mask & valid[:, None], float("-inf")).logsumexp(dim=1)


def _mean_over_anchors(losses: Tensor, valid: Tensor) -> Tensor:
    # Multiplying keeps the graph: a batch without pairs still gives every parameter a (zero) gradient.
    return (losses * valid).mean().float()
