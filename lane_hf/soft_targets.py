r"""Targets that mix the given label with another one, or with the classifier's own sharpened prediction.

    target = (1 - share) onehot(y) + share onehot(s)          s: the row's candidate
    target = (1 - share) onehot(y) + share sharpen(p),        sharpen(p) = p^(1/T) / sum_k p_k^(1/T)

With a share of 1 - weight, a row whose label is doubted learns what the classifier makes of it, in place of nothing
(bootstrapping): what it made of the row most of the time, or what it makes of it now. The first stays where it is
while the classifier begins to memorise, the second moves along.

Sources: Reed et al., "Training Deep Neural Networks on Noisy Labels with Bootstrapping", ICLR 2015 workshop; Arazo et
al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, who take the share from a mixture; sharpening:
Berthelot et al., "MixMatch", NeurIPS 2019.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .margins import at_least_float32


@torch.no_grad()
def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """Sharpen probabilities: `p^(1/T)`, normalised.

    Args:
        probs: `[B, K]` probabilities.
        temperature: T; 1 leaves them as they are.

    Returns:
        `[B, K]` float32 unless they are float64. No gradient flows through them.

    Example:
        >>> sharpen(torch.tensor([[0.75, 0.25]]), 0.5)
        tensor([[0.9000, 0.1000]])
    """
    powers = at_least_float32(probs) ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


@torch.no_grad()
def interpolated_targets(logits: Tensor, labels: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """Mix given labels with sharpened predictions.

    Args:
        logits: `[B, K]` scores.
        labels: `[B]` given labels.
        shares: `[B]` shares of the prediction in the target, in [0, 1].
        temperature: of the sharpening; 1 leaves predictions as they are.

    Returns:
        `[B, K]` probabilities, float32 unless the logits are float64. No gradient flows through them.

    Example:
        >>> interpolated_targets(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0.5]), 0.5)
        tensor([[0.7500, 0.2500]])
    """
    scores = at_least_float32(logits)
    predictions = ((scores - scores.amax(dim=1, keepdim=True)) / temperature).softmax(dim=1)
    shares = shares.to(predictions)[:, None]
    return shares * predictions + (1 - shares) * F.one_hot(labels, logits.shape[1])


@torch.no_grad()
def candidate_targets(labels: Tensor, candidates: Tensor, shares: Tensor, num_labels: int) -> Tensor:
    """Mix given labels with other ones.

    Args:
        labels: `[B]` given labels.
        candidates: `[B]` other labels.
        shares: `[B]` shares of the other label in the target, in [0, 1].
        num_labels: number K of labels.

    Returns:
        `[B, K]` probabilities of the type of the shares. No gradient flows through them.

    Example:
        >>> candidate_targets(torch.tensor([0]), torch.tensor([2]), torch.tensor([0.25]), num_labels=3)
        tensor([[0.7500, 0.0000, 0.2500]])
    """
    shares = shares[:, None]
    return shares * F.one_hot(candidates, num_labels) + (1 - shares) * F.one_hot(labels, num_labels)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy `[B]` of `[B, K]` logits with `[B, K]` targets, float32 unless they are float64.

    Example:
        >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
        tensor([0.6931])
    """
    return F.cross_entropy(at_least_float32(logits), targets, reduction="none")
