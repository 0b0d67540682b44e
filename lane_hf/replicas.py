"""Checking that all processes of a run know the same of the training rows.

Every process keeps the whole per-row state and updates it with the gathered batches, so the copies are equal to the
last bit. If they are not, something outside of this package differs between the processes: the training set, its
order, or a random state. The weights would then differ as well, and nobody would notice.
"""

import hashlib
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor


def checksum(state: Mapping[str, Tensor]) -> int:
    """Return a checksum of tensors by name, below 2^63.

    Example:
        >>> checksum({"a": torch.ones(2)}) == checksum({"a": torch.ones(2)})
        True
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(state):
        digest.update(name.encode())
        # As bytes, since NumPy has no bfloat16.
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return int.from_bytes(digest.digest(), "big") >> 1


def checksum_of_text(text: str) -> int:
    """Return a checksum of a text, below 2^63."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def check_replicas(checksums: Mapping[str, int], accelerator: Accelerator) -> None:
    """Compare checksums over all processes; every process must call this with the same names.

    Args:
        checksums: a number below 2^63 for each thing that must be the same everywhere.
        accelerator: the accelerator of the run.

    Raises:
        RuntimeError: in every process, if they differ; the message names what differs, and in which processes.
    """
    own = torch.tensor(list(checksums.values()), device=accelerator.device)
    everyone = accelerator.gather(own[None])
    for name, numbers in zip(checksums, everyone.T.tolist(), strict=True):
        others = [process for process, number in enumerate(numbers) if number != numbers[0]]
        if others:
            raise RuntimeError(
                f"the processes do not agree: {name} differs from process 0 in process "
                f"{', '.join(map(str, others))} of {len(numbers)}. Give every process the same training set in the "
                "same order, and the same seed"
            )
