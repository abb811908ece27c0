"""The convolutional residual networks of Rombach et al. 2022 and Esser et al. 2021, between images and latent maps.

Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lehr.limits import NonNegativeInt, PositiveInt, Text
from lehr.models.first_stage.base import FirstStage
from lehr.models.first_stage.fit import Fit
from lehr.models.first_stage.networks import Trunk


class ResidualAutoencoder(FirstStage):
    """diffusers' Encoder and Decoder; a subclass says what lies between them. Starts with torch's own weights.

    Args:
        image_shape: (c, h, w), any number of channels.
        latent_channels: zc.
        base_channels: of the first level.
        channel_multipliers: of `base_channels`, for each level; each level but the last halves the sides.
        layers: residual blocks of a level of the encoder; the decoder has one more.
        attention_levels: levels whose blocks have attention, 0 is the full resolution.
        mid_attention: whether there is attention at the lowest resolution.
        norm_groups: of the group norms; divides `base_channels`.
        fourier_features: how many frequencies of the pixels the encoder is given besides them, as sin and cos of
            2^k pi x for x in [-1, 1] and k = 0, 1, ...: after Emu (Dai et al. 2023), which does not say which it has.
        gradient_checkpointing: compute activations once more in the backward pass, in place of keeping them.
        tile: in evaluation, the side in pixels of the tiles that larger images are coded in; None for whole images.
        fit: of sides that the down-sampling does not divide: "pad" repeats the last row and column, "crop" leaves out
            what is too much, "error" refuses.
        pretrained: what its weights are read from, by whoever trains it; None for new ones.

    Raises:
        ValueError: if the values do not fit together.
    """

    encoder_input = (-1.0, 1.0)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_channels: PositiveInt = 4,
        base_channels: PositiveInt = 128,
        channel_multipliers: Annotated[Sequence[PositiveInt], MinLen(1)] = (1, 2, 4, 4),
        layers: PositiveInt = 2,
        attention_levels: Sequence[NonNegativeInt] = (),
        mid_attention: bool = True,
        norm_groups: PositiveInt = 32,
        fourier_features: NonNegativeInt = 0,
        gradient_checkpointing: bool = False,
        tile: PositiveInt | None = None,
        fit: Fit = "pad",
        pretrained: Text | None = None,
    ) -> None:
        trunk = Trunk.of(base_channels, channel_multipliers, attention_levels, layers, mid_attention, norm_groups)
        super().__init__(image_shape, latent_channels, trunk.factor, tile, fit, pretrained)
        self.trunk = trunk
        self.fourier_features = fourier_features
        self.encoder = trunk.encoder(image_shape[0] * (1 + 2 * fourier_features), self._encoder_channels)
        self.decoder = trunk.decoder(latent_channels, image_shape[0])
        for network in (self.encoder, self.decoder) if gradient_checkpointing else ():
            network.gradient_checkpointing = True
            network._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)

    def diffusers_config(self) -> dict[str, Any]:
        if self.fourier_features:
            raise ValueError(f"model.fourier_features={self.fourier_features}: diffusers has no such encoder")
        return {**super().diffusers_config(), **self.trunk.config()}

    @property
    def _encoder_channels(self) -> int:
        """Channels that the encoder gives."""
        return self.latent_shape[0]

    def _encoder_output(self, x: Tensor) -> Tensor:
        """For images (b, c, h, w) in [0, 1]."""
        return self.encoder(fourier(2 * x - 1, self.fourier_features))

    def _decoder_output(self, z: Tensor) -> Tensor:
        """Images (b, c, h, w), about in [0, 1]."""
        return (self.decoder(z) + 1) / 2


def fourier(x: Tensor, n: int) -> Tensor:
    """x (b, c, h, w), its sines and its cosines at n frequencies, doubling: (b, c (1 + 2 n), h, w)."""
    if n == 0:
        return x
    phases = [math.pi * 2**k * x for k in range(n)]
    return torch.cat([x, *(phase.sin() for phase in phases), *(phase.cos() for phase in phases)], dim=1)
