"""Two networks around a diagonal Gaussian posterior: what the models of this room are built on.

Shapes: b batch, c h w image, d flat latent, zc zh zw latent map.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lehr.limits import Order, check_order, check_word
from lehr.models.autoencoder import Autoencoder
from lehr.posterior.gaussian import DiagonalGaussian

Activation = Literal["relu", "elu", "gelu", "leaky_relu", "silu", "softplus", "tanh"]
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
    check_word("model.activation", name, Activation)
    return ACTIVATIONS[name]()


def glorot(layer: nn.Module) -> None:
    """Glorot & Bengio 2010, uniform, as in the networks of Burda et al. 2016; biases start at 0."""
    if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class VAE(Autoencoder):
    """A variational autoencoder with q(z|x) = N(mean, diag(var)). The networks keep the weights that they have.

    Args:
        encoder: images (b, c, h, w) to (b, 2 * zc, ...): mean and log-variance, stacked along dimension 1.
        decoder: latents (b, *latent_shape) to likelihood parameters (b, c, h, w).
        image_shape: (c, h, w).
        latent_shape: (d,) or (zc, zh, zw).
        logvar_min: lower bound of the log-variance.
        logvar_max: upper bound of the log-variance.
    """

    ordered: ClassVar[tuple[Order, ...]] = (Order("logvar_min", "<", "logvar_max"),)

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
        logvar_min: float = -20.0,
        logvar_max: float = 10.0,
    ) -> None:
        super().__init__(image_shape, latent_shape)
        check_order(self.ordered, "model", logvar_min=logvar_min, logvar_max=logvar_max)
        self.encoder = encoder
        self.decoder = decoder
        self.logvar_min = logvar_min
        self.logvar_max = logvar_max

    @torch.no_grad()
    def start_at(self, parameters: Tensor) -> None:
        """Let the decoder give about `parameters` (c, h, w), those of the mean image, before it has learnt anything.

        Sets the bias of its last layer, pixel by pixel or channel by channel (Burda et al. 2016, appendix); a
        decoder of another kind is left as it is.
        """
        biases = [bias for layer in self.decoder.modules() if isinstance(bias := getattr(layer, "bias", None), Tensor)]
        bias = biases[-1] if biases else torch.empty(0)
        for values in (parameters.flatten(), parameters.flatten(1).mean(1)):
            if bias.numel() == values.numel():
                bias.copy_(values)
                return

    def encode(self, x: Tensor) -> DiagonalGaussian:
        mean, raw_logvar = self.encoder(x.to(self.dtype)).chunk(2, dim=1)
        return DiagonalGaussian.bounded(mean, raw_logvar, self.logvar_min, self.logvar_max)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z.to(self.dtype))

    def compile_networks(self) -> None:
        self.encoder.compile()
        self.decoder.compile()
