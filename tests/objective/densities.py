"""Random pixels, and the density of a Gaussian by torch.distributions."""

from __future__ import annotations

import torch
from torch.distributions import Normal

SHAPE = (4, 3, 5, 7)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian_log_prob(x: torch.Tensor, mean: torch.Tensor, scale: float) -> torch.Tensor:
    return Normal(mean, scale).log_prob(x).flatten(1).sum(1)
