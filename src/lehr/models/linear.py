"""The linear VAE: mean linear in x, variance the same for every x, decoder linear in z.

With a Gaussian likelihood its optimum is probabilistic PCA (Lucas et al. 2019), which makes it an exact reference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lehr.limits import PositiveInt
from lehr.models.vae import VAE, glorot
from lehr.posterior.gaussian import DiagonalGaussian


class Linear(VAE):
    """q(z|x) = N(V x + a, diag(v)), likelihood parameters W z + m. Starts with Glorot's uniform weights.

    Args:
        image_shape: (c, h, w).
        latent_dim: d >= 1.
        logvar_min: lower bound of the posterior's log-variance.
        logvar_max: upper bound of the posterior's log-variance.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: PositiveInt,
        logvar_min: float = -20.0,
        logvar_max: float = 10.0,
    ) -> None:
        pixels = math.prod(image_shape)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, latent_dim))
        decoder = nn.Sequential(nn.Linear(latent_dim, pixels), nn.Unflatten(1, tuple(image_shape)))
        super().__init__(encoder, decoder, image_shape, (latent_dim,), logvar_min, logvar_max)
        self.apply(glorot)
        self.raw_logvar = nn.Parameter(torch.zeros(latent_dim))

    def encode(self, x: Tensor) -> DiagonalGaussian:
        mean = self.encoder(x.to(self.dtype))
        return DiagonalGaussian.bounded(mean, self.raw_logvar.expand_as(mean), self.logvar_min, self.logvar_max)
