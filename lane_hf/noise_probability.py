r"""How probable is it that a row's given label is wrong? Two opinions, averaged.

1. A mixture of two Gaussians on the average margins of the rows with the same label: which hump does the row belong
   to? Sharp, but too sure of itself where the humps overlap, as on labels that are hard to tell apart.
2. The noise floor. Let T[k, y] be the probability that a row whose true label is k was given the label y. A classifier
   that has learned what the labels say gives the label y of a row, whose true label is y with probability p and s
   otherwise, the probability

       q = T[y, y] p + T[s, y] (1 - p),   so that   P(y is right | q) = T[y, y] p / q
                                                   = T[y, y] / (T[y, y] - T[s, y]) * (1 - T[s, y] / q):

   a label that gets no more than the noise alone would give it, q <= T[s, y], is wrong. q is the average over
   training, s the row's best other label. Careful with hard rows, but too timid where training was mostly still
   learning.

T is counted (see [`noise_direction`]) from what the mixture doubts and what the classifier prefers. Where the noise
has a direction, the classifier prefers the wrong label early: if four of ten rows of k are called y, a margin of
log(0.6 / 0.4) for k is all that there is to see. So margins are then measured from the neutral margin of both labels,
and the mixture is fitted anew, which in turn shows more of the noise, a few times.

Brier score of the posterior on states of one run each, 40% wrong labels, against counting T from the mixture's doubts
alone: TREC with each label replaced by the next one, after two, three and five epochs, .089, .085 and .094, before
.347, .243 and .164; uniform noise, where no direction was found, after two epochs, .069, before .085 (TREC), and .211,
before .231 (SST-5).

Source of the noise model: Natarajan et al., "Learning with Noisy Labels", NeurIPS 2013, solved for the clean label.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .margins import MIN_PROBABILITY
from .mixture import fit_mixture, label_probability
from .noise_direction import Transitions, count_transitions, uniform_transitions

_ROUNDS = 3  # after the first; each finds more of a direction that hides itself, and the third changes little


class NoiseEstimate(NamedTuple):
    """What is believed of each row.

    Attributes:
        probability: `[N]` that the given label is wrong, float32 in [0, 1].
        scores: `[N]` mean of log(q / T[s, y]) and log(q / u), float32: 0 where the label gets what the noise alone
            would give it. The lower, the more suspicious. Without probabilities q they are the given margins.
    """

    probability: Tensor
    scores: Tensor


@torch.no_grad()
def noise_probability(
    margins: Tensor, confidence: Tensor | None, labels: Tensor, num_labels: int, others: Tensor | None = None
) -> Tensor:
    """Return the probability that each row's given label is wrong.

    Args:
        margins: `[N]` average margins of the given labels, in logits.
        confidence: `[N]` average probabilities of the given labels; None takes the mixture's opinion alone.
        labels: `[N]` given labels.
        num_labels: number K of labels.
        others: `[N]` best other label of each row; None takes the noise to be uniform.

    Returns:
        `[N]` float32 in [0, 1]; at most 1/2 where the average margin is above the neutral one. It takes O(N) memory.

    Example:
        >>> margins = torch.tensor([-3.0, -3.2, 2.0, 2.2])
        >>> noise_probability(margins, torch.tensor([0.05, 0.04, 0.9, 0.95]), torch.zeros(4, dtype=torch.int64), 2)
        tensor([1., 1., 0., 0.])
    """
    return estimate_noise(margins, confidence, labels, num_labels, others).probability


@torch.no_grad()
def estimate_noise(
    margins: Tensor, confidence: Tensor | None, labels: Tensor, num_labels: int, others: Tensor | None = None
) -> NoiseEstimate:
    """Return what [`noise_probability`] returns, and scores to rank the rows by; same arguments.

    Probabilities are for decisions; many of them are equal, so rows are ranked by the noise floor without its ends.
    By the formula at the top of this file it does not matter how the other labels share 1 - q. A margin does look at
    the best of them, and takes a row for right of which the classifier knows little. A direction counts half, next to
    u, the noise without one: a classifier that has learned little confuses in one direction too, without any noise.

    Example:
        >>> confidence = torch.tensor([0.05, 0.2, 0.9, 0.95])
        >>> margins = torch.tensor([-3.0, -1.2, 2.0, 2.2])
        >>> estimate_noise(margins, confidence, torch.zeros(4, dtype=torch.int64), 2).scores.argsort().tolist()
        [0, 1, 2, 3]
    """
    doubts = _mixture_doubts(margins, labels, num_labels)
    if confidence is None or num_labels < 2:  # noqa: PLR2004 -- of a single label nothing can be wrong
        return NoiseEstimate(doubts, margins)
    transitions = _transitions(doubts, margins, labels, num_labels, others)
    if others is None:
        others = labels  # not looked at: the noise is uniform
    for _ in range(_ROUNDS):
        if not len(transitions.pairs):
            break
        measured = margins - transitions.neutral_margin(labels, others)
        doubts = _mixture_doubts(measured, labels, num_labels)
        transitions = _transitions(doubts, measured, labels, num_labels, others, earlier=transitions)
    kept = transitions.of(labels, labels)
    floor = transitions.uniform.expand_as(kept) if others is labels else transitions.of(others, labels)
    pooled = (doubts + 1 - above_the_floor(confidence, kept, floor)) / 2
    # Where as many labels are wrong as chance would give, the floor has no opinion.
    scores = times_the_floor(confidence, floor, transitions.uniform).float()
    return NoiseEstimate(torch.where(kept > floor, pooled, doubts), scores)


def _mixture_doubts(margins: Tensor, labels: Tensor, num_labels: int) -> Tensor:
    return 1 - label_probability(margins, fit_mixture(margins, labels, num_labels, always_pooled=False), labels)


def _transitions(
    doubts: Tensor,
    margins: Tensor,
    labels: Tensor,
    num_labels: int,
    others: Tensor | None,
    *,
    earlier: Transitions | None = None,
) -> Transitions:
    if others is None:
        return uniform_transitions(doubts.double().mean(), max(len(torch.unique(labels)), 2), of=num_labels)
    preferred = torch.where(margins >= 0, labels, others)
    return count_transitions(doubts, preferred, labels, others, num_labels, earlier=earlier)


def above_the_floor(confidence: Tensor, kept: Tensor, floor: Tensor) -> Tensor:
    """Return the probability that labels are right by the noise floor, as at the top of this file.

    Args:
        confidence: `[N]` average probabilities of the given labels.
        kept: `[N]` T[y, y].
        floor: `[N]` T[s, y].

    Returns:
        `[N]` float32 in [0, 1]; 1 everywhere without noise, 0 where a label is as probable if it is wrong.

    Example:
        >>> kept, floor = torch.full((3,), 0.8), torch.full((3,), 0.1)
        >>> above_the_floor(torch.tensor([0.05, 0.25, 0.95]), kept, floor)
        tensor([0.0000, 0.6857, 1.0000])
    """
    kept, floor = kept.double(), floor.double()
    probability = confidence.double().clamp_min(torch.finfo(torch.float32).tiny)
    difference = kept - floor
    right = kept / difference.where(difference > 0, 1.0) * (1 - floor / probability)
    return torch.where(difference > 0, right, 0.0).clamp(0, 1).float()


def times_the_floor(confidence: Tensor, floor: Tensor, uniform: Tensor) -> Tensor:
    """Return the mean of log(q / T[s, y]) and log(q / u), by which rows are ranked: the lower, the more suspicious.

    Args:
        confidence: `[N]` average probabilities of the given labels.
        floor: `[N]` T[s, y].
        uniform: u, the probability of each wrong label where the noise has no direction.

    Returns:
        `[N]` float64, without a unit; probabilities below 1e-6 count as 1e-6.

    Example:
        >>> q, floor = torch.tensor([0.1, 0.05]), torch.tensor([0.1, 0.1])
        >>> times_the_floor(q, floor, torch.tensor(0.1)).round(decimals=2).tolist()
        [0.0, -0.69]
    """
    q, floor, uniform = (each.double().clamp_min(MIN_PROBABILITY).log() for each in (confidence, floor, uniform))
    return q - (floor + uniform) / 2
