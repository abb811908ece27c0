"""Latents between latents. What new ones are drawn from is in `density.py`."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """z_a = (1 - a) start + a end for `steps` values of a from 0 to 1, both ends included: (steps, *start.shape)."""
    a = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    a = a.view(-1, *[1] * start.ndim)
    return (1 - a) * start + a * end
