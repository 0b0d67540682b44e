"""ClassSimilarity: which labels the auxiliary network takes for which, as a running average per given label."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .buffer import check_state

_MOMENTUM = 0.9  # per batch in which the label occurs


class ClassSimilarity:
    """Average auxiliary probabilities of the rows with each given label, exponentially forgetting.

    The paper speaks of the closeness of *labels* but divides by a probability of the *row*: a mislabelled row on which
    the auxiliary network sees the true label gets no amplification at all. The average over the label's rows is what
    the words describe. It takes `num_labels x num_labels` float32.

    Args:
        num_labels: number of labels.
        device: where the state lies.

    Example:
        >>> similarity = ClassSimilarity(2)
        >>> similarity.update(torch.tensor([0, 0]), torch.tensor([[0.8, 0.2], [0.6, 0.4]]))
        >>> similarity.of(torch.tensor([0, 1]))
        tensor([[0.7000, 0.3000],
                [0.5000, 0.5000]])
    """

    def __init__(self, num_labels: int, device: torch.device | str | None = None) -> None:
        self._probs = torch.zeros(num_labels, num_labels, device=device)
        self._mass = torch.zeros(num_labels, device=device)

    @torch.no_grad()
    def update(self, labels: Tensor, aux_probs: Tensor, counted: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            labels: `[B]` given labels.
            aux_probs: `[B, K]` auxiliary probabilities.
            counted: `[B]` bool, optional: rows that are False are left out.
        """
        number_of_labels = len(self._mass)
        use = torch.isfinite(aux_probs).all(dim=1)
        if counted is not None:
            use &= counted
        probs = torch.where(use[:, None], aux_probs.float(), 0.0)
        sums = torch.zeros_like(self._probs).index_add_(0, labels, probs)
        number = torch.zeros(number_of_labels, device=labels.device).index_add_(0, labels, use.float())
        keep = torch.where(number > 0, _MOMENTUM, 1.0)
        self._probs.mul_(keep[:, None]).add_((1 - keep)[:, None] * sums / number.clamp_min(1)[:, None])
        self._mass.mul_(keep).add_(1 - keep)

    def of(self, labels: Tensor) -> Tensor:
        """Return the similarities `[B, K]` of the given labels to all; uniform for a label not seen yet."""
        mass = self._mass[labels][:, None]
        uniform = torch.full_like(self._probs[labels], 1 / len(self._mass))
        return torch.where(mass > 0, self._probs[labels] / mass.clamp_min(1e-12), uniform)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors in main memory."""
        return {"probs": self._probs.to("cpu", copy=True), "mass": self._mass.to("cpu", copy=True)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that [`state_dict`] returned.

        Raises:
            ValueError: the state has other keys, or belongs to another number of labels.
        """
        check_state(state, {"probs": self._probs, "mass": self._mass}, "ClassSimilarity")
        self._probs.copy_(state["probs"])
        self._mass.copy_(state["mass"])
