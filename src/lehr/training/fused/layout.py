"""Linear layers whose weights have gradients that lie in memory as the weights do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class OutputsFirst(TorchFunctionMode):
    """Within it a linear layer is W x^T, and not x W^T, whose gradient is transposed.

    Adam reads weights and gradients in one order; what lies in another has to be copied for it, which costs the lanes
    of small models a tenth of their step. Within autocast, where a bias is added before outputs are rounded, all stays.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        is_ours = func is functional.linear and args[0].ndim == 2 and not torch.is_autocast_enabled(args[0].device.type)
        return (linear if is_ours else func)(*args, **(kwargs or {}))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`functional.linear` of (b, inputs): (b, outputs)."""
    outputs = (weight @ x.mT).mT
    return outputs if bias is None else outputs + bias
