"""Where new latents come from: the aggregate posterior, the prior, the line between two latents.

Noise is an argument, so that a sampler is a function. Shapes: n samples, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import Normal


def sample_prior(noise: Tensor) -> Tensor:
    """z ~ N(0, I): the noise itself, (n, *latent)."""
    return noise


def sample_aggregate(posterior: AggregatePosterior, noise: Tensor, full: bool = False) -> Tensor:
    """z ~ N(agg_mean, agg_var), in the type and on the device of `noise`: (n, *latent).

    Args:
        posterior: the statistics of q(z).
        noise: (n, *latent) standard normal.
        full: use the full covariance instead of its diagonal.

    Raises:
        ValueError: `full` for a latent map, which has no full covariance, or for a singular covariance.
    """
    return Normal.of(posterior, full).from_noise(noise)


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """z_a = (1 - a) start + a end for `steps` values of a from 0 to 1, both ends included: (steps, *start.shape)."""
    a = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    a = a.view(-1, *[1] * start.ndim)
    return (1 - a) * start + a * end
