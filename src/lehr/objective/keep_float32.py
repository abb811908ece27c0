"""Modules whose few numbers keep their type when the networks around them are converted to half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn


def but_to_half(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A conversion of tensors that leaves out what would take them to half precision."""

    def keep(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        narrowed = tensor.is_floating_point() and moved.dtype not in (torch.float32, torch.float64)
        return tensor.to(moved.device) if narrowed else moved

    return keep


class KeepsFloat32(nn.Module):
    """Parameters and buffers stay in float32 or float64, whatever the module that holds them is converted to."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(but_to_half(fn), recurse)
