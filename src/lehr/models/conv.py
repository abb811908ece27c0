"""Convolutional encoder and decoder for images of any size and number of channels.

Each level halves the sides, rounding up; the decoder's transposed convolutions are padded so that they give back
exactly the sizes that the encoder had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from annotated_types import MinLen
from torch import nn

from lehr.limits import NonNegativeInt, PositiveInt
from lehr.models.vae import VAE, Activation, glorot, nonlinearity


class Conv(VAE):
    """Strided convolutions down to a flat latent, and back. Starts with Glorot's uniform weights.

    Args:
        image_shape: (c, h, w), any sizes.
        latent_dim: d >= 1.
        channels: of each level; as many halvings of the sides, at least one.
        hidden: size of the fully connected layer on either side of the latent; 0 for none.
        activation: a key of `lehr.models.vae.ACTIVATIONS`.
        logvar_min: lower bound of the posterior's log-variance.
        logvar_max: upper bound of the posterior's log-variance.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: PositiveInt,
        channels: Annotated[Sequence[PositiveInt], MinLen(1)] = (32, 64),
        hidden: NonNegativeInt = 256,
        activation: Activation = "silu",
        logvar_min: float = -20.0,
        logvar_max: float = 10.0,
    ) -> None:
        if not channels:
            raise ValueError("model.channels=[]: expected the channels of at least one level")
        widths = [image_shape[0], *channels]
        sides = [image_shape[1:]]
        for _ in channels:
            height, width = sides[-1]
            sides.append(((height + 1) // 2, (width + 1) // 2))
        smallest = (widths[-1], *sides[-1])
        features = math.prod(smallest)

        encoder: list[nn.Module] = []
        for i, o in pairwise(widths):
            encoder += [nn.Conv2d(i, o, kernel_size=3, stride=2, padding=1), nonlinearity(activation)]
        encoder.append(nn.Flatten())
        if hidden:
            encoder += [nn.Linear(features, hidden), nonlinearity(activation)]
        encoder.append(nn.Linear(hidden or features, 2 * latent_dim))

        decoder: list[nn.Module] = []
        if hidden:
            decoder += [nn.Linear(latent_dim, hidden), nonlinearity(activation)]
        decoder += [
            nn.Linear(hidden or latent_dim, features),
            nonlinearity(activation),
            nn.Unflatten(1, smallest),
        ]
        for level in range(len(channels), 0, -1):
            # a stride-2 transposed convolution gives 2 n - 1 + padding from n
            (height, width), (small_height, small_width) = sides[level - 1], sides[level]
            padding = (height - (2 * small_height - 1), width - (2 * small_width - 1))
            decoder += [
                nn.ConvTranspose2d(
                    widths[level],
                    widths[level - 1],
                    kernel_size=3,
                    stride=2,
                    padding=1,
                    output_padding=padding,
                ),
                nonlinearity(activation),
            ]
        super().__init__(
            nn.Sequential(*encoder),
            nn.Sequential(*decoder[:-1]),
            image_shape,
            (latent_dim,),
            logvar_min,
            logvar_max,
        )
        self.apply(glorot)
