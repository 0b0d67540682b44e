r"""Mixup: train on mixtures of two examples and of their targets.

    x' = l x_i + (1 - l) x_j,    t' = l t_i + (1 - l) t_j,    l ~ Beta(alpha, alpha), l <- max(l, 1 - l)

so that each mixture is nearer to its first example. Here x are the features that the layer of the logits reads.

Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; l <- max(l, 1 - l): Berthelot et al.,
"MixMatch", NeurIPS 2019; mixing hidden representations of text: Chen et al., "MixText", ACL 2020.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Mixing(NamedTuple):
    """Who is mixed with whom, and how much.

    Attributes:
        partners: `[B]` int64: the example that each is mixed with.
        shares: `[B, 1]` float32 in [0.5, 1]: share of the example itself.
    """

    partners: Tensor
    shares: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Mix `[B, ...]` values with those of their partners.

        Example:
            >>> Mixing(torch.tensor([1, 0]), torch.tensor([[0.75], [1.0]])).of(torch.tensor([[0.0], [4.0]]))
            tensor([[1.],
                    [4.]])
        """
        shares = self.shares.to(values.dtype)
        return shares * values + (1 - shares) * values[self.partners]


def draw_mixing(allowed: Tensor, alpha: float) -> Mixing:
    """Draw partners and shares.

    Args:
        allowed: `[B]` bool: who may be a partner; the others, and a batch in which nobody may, are mixed with
            themselves.
        alpha: both parameters of the Beta distribution, above 0: small ones mix little.

    Returns:
        A [`Mixing`]; partners of allowed examples are a permutation of them.

    Example:
        >>> draw_mixing(torch.tensor([False, True]), alpha=1.0).partners
        tensor([0, 1])
    """
    device, number = allowed.device, len(allowed)
    # Random keys put the allowed ones in a random order, and leave the others behind them in theirs.
    keys = torch.where(allowed, torch.rand(number, device=device), 2.0 + torch.arange(number, device=device))
    places = torch.argsort(torch.where(allowed, 0.0, 1.0), stable=True)
    partners = torch.empty_like(places).scatter_(0, places, torch.argsort(keys))
    beta = torch.distributions.Beta(torch.tensor(alpha), torch.tensor(alpha))
    shares = beta.sample((number, 1)).to(device)
    return Mixing(partners, torch.maximum(shares, 1 - shares))
