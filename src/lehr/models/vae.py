"""What every model is: an encoder and a decoder around a diagonal Gaussian posterior.

Shapes: b batch, c h w image, d flat latent, zc zh zw latent map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lehr.posterior.gaussian import DiagonalGaussian

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def nonlinearity(name: str) -> nn.Module:
    """A new activation by its name, a key of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"model.activation={name!r}: expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class VAE(nn.Module):
    """A variational autoencoder with q(z|x) = N(mean, diag(var)).

    Args:
        encoder: images (b, c, h, w) to (b, 2 * zc, ...): mean and log-variance, stacked along dimension 1.
        decoder: latents (b, *latent_shape) to likelihood parameters (b, c, h, w).
        image_shape: (c, h, w).
        latent_shape: (d,) or (zc, zh, zw).
        logvar_min: lower bound of the log-variance.
        logvar_max: upper bound of the log-variance.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
        logvar_min: float = -20.0,
        logvar_max: float = 10.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.image_shape = tuple(image_shape)
        self.latent_shape = tuple(latent_shape)
        self.logvar_min = logvar_min
        self.logvar_max = logvar_max

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights; inputs are converted to it."""
        return next(self.parameters()).dtype

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x) for images (b, c, h, w) in [0, 1]; its tensors are (b, *latent_shape), at least float32."""
        mean, raw_logvar = self.encoder(x.to(self.dtype)).chunk(2, dim=1)
        return DiagonalGaussian.bounded(mean, raw_logvar, self.logvar_min, self.logvar_max)

    def decode(self, z: Tensor) -> Tensor:
        """Likelihood parameters (b, c, h, w) for latents (b, *latent_shape)."""
        return self.decoder(z.to(self.dtype))

    def forward(self, x: Tensor, noise: Tensor) -> tuple[DiagonalGaussian, Tensor]:
        """Encode, draw z with `noise` (b, *latent_shape), decode: the posterior and the likelihood parameters."""
        posterior = self.encode(x)
        return posterior, self.decode(posterior.sample(noise))
