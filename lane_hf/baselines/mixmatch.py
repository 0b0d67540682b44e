r"""MixMatch: learn labelled and unlabelled examples together, mixed.

    loss = CE of mixtures whose first example is labelled
         + weight_u mean squared error of the others
         + KL(prior || mean prediction)

The last term keeps the predictions from collapsing onto a few labels.

Sources: Berthelot et al., "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019; the last term: Li
et al., "DivideMix", ICLR 2020.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..mixup import draw_mixing
from ..soft_targets import soft_cross_entropy


class Examples(NamedTuple):
    """What is mixed.

    Attributes:
        features: `[B, d]` what the layer of the logits reads.
        targets: `[B, K]` probabilities.
        labelled: `[B]` bool: whether the target comes from a label.
        usable: `[B]` bool: examples with False are left out.
    """

    features: Tensor
    targets: Tensor
    labelled: Tensor
    usable: Tensor


def mixmatch_loss(
    head: Callable[[Tensor], Tensor], examples: Examples, alpha: float, weight_u: float, prior: Tensor
) -> Tensor:
    """Compute the loss; it draws random numbers.

    Args:
        head: makes `[B, K]` logits of features.
        examples: what is mixed.
        alpha: parameter of the Beta distribution of the shares.
        weight_u: weight of the unlabelled part.
        prior: `[K]` expected shares of the labels.

    Returns:
        A scalar; zero, with zero gradients, if nothing is usable.
    """
    usable = examples.usable
    mixing = draw_mixing(usable, alpha)
    features = torch.where(usable[:, None], examples.features.float(), 0.0)
    logits, targets = head(mixing.of(features)), mixing.of(examples.targets)
    probs = logits.softmax(dim=1)
    known, unknown = (usable & examples.labelled).float(), (usable & ~examples.labelled).float()
    loss_x = (soft_cross_entropy(logits, targets) * known).sum() / known.sum().clamp_min(1)
    loss_u = (((probs - targets) ** 2).mean(dim=1) * unknown).sum() / unknown.sum().clamp_min(1)
    return loss_x + weight_u * loss_u + mean_prediction_penalty(probs, prior, usable.float())


def mean_prediction_penalty(probs: Tensor, prior: Tensor, counted: Tensor) -> Tensor:
    """Return the divergence KL(prior || mean prediction), a scalar.

    Args:
        probs: `[B, K]` probabilities.
        prior: `[K]` expected shares of the labels; labels of share 0 do not count.
        counted: `[B]` 1 for examples that count, 0 for others; without any the result is 0.

    Example:
        >>> mean_prediction_penalty(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.5, 0.5]), torch.ones(2))
        tensor(0.)
    """
    number = counted.sum()
    mean = (probs * counted[:, None]).sum(dim=0) / number.clamp_min(1)
    prior = prior.to(mean)
    # In two terms: the gradient of xlogy at a share of 0 would be NaN.
    penalty = (torch.special.xlogy(prior, prior) - prior * mean.clamp_min(1e-6).log()).sum()
    return torch.where(number > 0, penalty, 0.0)


def ramp(progress: float, start: float, length: float) -> float:
    """Return how far something has risen that begins to at `start` and takes `length`: from 0 to 1.

    Example:
        >>> [ramp(progress, 0.2, 0.4) for progress in (0.1, 0.4, 0.9)]
        [0.0, 0.5, 1.0]
    """
    if length == 0:
        return float(progress >= start)
    return min(max((progress - start) / length, 0.0), 1.0)
