"""The inverse of an increasing function, by bisection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def increasing_inverse(function: Callable[[Tensor], Tensor], value: Tensor, low: float, high: float) -> Tensor:
    """The argument in [low, high] where the elementwise, increasing `function` is `value`; its type and any shape."""
    target = value.double()
    below, above = torch.full_like(target, low), torch.full_like(target, high)
    for _ in range(64):  # halvings, after which float64 has no number between
        middle = (below + above) / 2
        too_low = function(middle) < target
        below, above = torch.where(too_low, middle, below), torch.where(too_low, above, middle)
    return above.to(value.dtype)
