"""Fully connected encoder and decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from lehr.limits import PositiveInt
from lehr.models.vae import VAE, Activation, glorot, nonlinearity


def _layers(sizes: Sequence[int], act: str) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), nonlinearity(act)]
    return layers[:-1]


class MLP(VAE):
    """image - hidden - latent - reversed hidden - image. Starts with Glorot's uniform weights.

    Args:
        image_shape: (c, h, w).
        latent_dim: d >= 1.
        hidden: sizes of the encoder's hidden layers; the decoder has them in reverse.
        activation: a key of `lehr.models.vae.ACTIVATIONS`.
        logvar_min: lower bound of the posterior's log-variance.
        logvar_max: upper bound of the posterior's log-variance.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: PositiveInt,
        hidden: Sequence[PositiveInt] = (400,),
        activation: Activation = "relu",
        logvar_min: float = -20.0,
        logvar_max: float = 10.0,
    ) -> None:
        pixels = math.prod(image_shape)
        encoder = nn.Sequential(nn.Flatten(), *_layers([pixels, *hidden, 2 * latent_dim], activation))
        decoder = nn.Sequential(
            *_layers([latent_dim, *reversed(hidden), pixels], activation), nn.Unflatten(1, tuple(image_shape))
        )
        super().__init__(encoder, decoder, image_shape, (latent_dim,), logvar_min, logvar_max)
        self.apply(glorot)
