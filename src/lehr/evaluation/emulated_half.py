"""float16 in float32: what each operation of a network gives is rounded to float16, infinite where that has no number.

A CPU without arithmetic of float16 takes minutes for what takes it seconds in float32. Within an operation, a
convolution say, sums stay in float32, as they do on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def to_half(x: Tensor) -> Tensor:
    """The nearest numbers of float16, as float32: infinite beyond 65,504."""
    return x.half().float()


@contextmanager
def rounding(network: nn.Module) -> Iterator[None]:
    """Within it all that modules of `network` are given and compute is rounded; its weights are to be so already.

    What a model does outside of its modules, as with a posterior, which is never of less than float32, is not.
    """
    mode = _Rounding()

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        mode.depth += 1
        if mode.depth > 1:  # it comes from another module
            return None
        return tuple(to_half(x) if isinstance(x, Tensor) and x.dtype == torch.float32 else x for x in inputs)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        mode.depth -= 1

    with ExitStack() as hooks:
        for module in network.modules():
            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave).remove)
        with mode:
            yield


class _Rounding(TorchDispatchMode):
    """Rounds, in place, what operations give.

    Attributes:
        depth: how many modules are being run, one within the other; with none, nothing is rounded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self.depth and not func.is_view:  # a view is of numbers that are rounded already
            for tensor in tree_leaves(found):
                if isinstance(tensor, Tensor) and tensor.dtype == torch.float32:
                    tensor.copy_(tensor.half())
        return found
