"""A stand-in for Apple's GPUs, which have no float64, where there is none of them.

Tensors of the other device lie in main memory, but may not meet those of the processor, nor be or become float64: a
copy that also changes the type changes it before it leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

MPS = torch.device("mps")


class ElsewhereTensor(Tensor):
    """A tensor on the other device."""


class OtherDevice(TorchFunctionMode):
    """While it is entered, `torch.device("mps")` can be used."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return MPS if isinstance(args[0], ElsewhereTensor) else func(*args)
        if func in (Tensor.to, Tensor.cpu):
            return _moved(func, *args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.dim()]
        if len({isinstance(tensor, ElsewhereTensor) for tensor in tensors}) > 1:
            raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
        is_made_there = kwargs.get("device") is not None and torch.device(kwargs["device"]) == MPS
        result = func(*args, **{**kwargs, "device": "cpu"} if is_made_there else kwargs)
        if is_made_there:
            result = result.as_subclass(ElsewhereTensor)
        for leaf in tree_leaves(result):
            if isinstance(leaf, ElsewhereTensor) and leaf.dtype == torch.float64:
                raise TypeError(f"{func.__name__}: the MPS framework doesn't support float64")
        return result


def _moved(func: Any, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
    where, dtype = isinstance(tensor, ElsewhereTensor), tensor.dtype
    for asked in (*args, *kwargs.values()):
        if isinstance(asked, torch.dtype):
            dtype = asked
        elif isinstance(asked, Tensor):
            where, dtype = isinstance(asked, ElsewhereTensor), asked.dtype
        elif isinstance(asked, str | torch.device):
            where = torch.device(asked) == MPS
    where = where and func is not Tensor.cpu
    if dtype == torch.float64 and (where or isinstance(tensor, ElsewhereTensor)):
        raise TypeError("to: the MPS framework doesn't support float64")
    return tensor.as_subclass(Tensor).to(dtype, copy=copy).as_subclass(ElsewhereTensor if where else Tensor)
