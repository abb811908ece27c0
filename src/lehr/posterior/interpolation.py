"""Latents between latents, and along one of their dimensions. What new ones are drawn from is in `density.py`."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """z_a = (1 - a) start + a end for `steps` values of a from 0 to 1, both ends included: (steps, *start.shape)."""
    a = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    a = a.view(-1, *[1] * start.ndim)
    return (1 - a) * start + a * end


def traverse(mean: Tensor, std: Tensor, dimensions: Tensor, steps: int, width: float) -> Tensor:
    """`mean` (d,) but for one dimension, in equal steps from `width` times its `std` (d,) below to as much above it.

    Each of the `dimensions` (k,) in turn: (k, steps, d).
    """
    z = mean.repeat(len(dimensions), steps, 1)
    along = torch.linspace(-width, width, steps, dtype=mean.dtype, device=mean.device)
    for row, j in zip(z, dimensions.tolist(), strict=True):
        row[:, j] += along * std[j]
    return z
