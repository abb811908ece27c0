"""The autoencoder of latent diffusion (Rombach et al. 2022), with a diagonal Gaussian posterior of latent maps.

Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from lehr.limits import NonNegativeInt, Order, PositiveFloat, PositiveInt, Text, check_order, check_word
from lehr.models.first_stage.base import FirstStage, PosteriorKind, posterior_of
from lehr.models.first_stage.fit import Fit
from lehr.models.first_stage.networks import Trunk
from lehr.needs import DENSITY, Need
from lehr.posterior.posterior import Posterior

_POINT_LOGVAR = -30.0  # what a deterministic model says of its variance to who reads its weights: LDM's bound


class KLAutoencoder(FirstStage):
    """diffusers' AutoencoderKL by the names of its weights, and the same numbers. Starts with torch's own weights.

    Args:
        image_shape: (c, h, w), any number of channels.
        latent_channels: zc.
        base_channels: of the first level.
        channel_multipliers: of `base_channels`, for each level; each level but the last halves the sides.
        layers: residual blocks of a level of the encoder; the decoder has one more.
        attention_levels: levels whose blocks have attention, 0 is the full resolution.
        mid_attention: whether there is attention at the lowest resolution.
        norm_groups: of the group norms; divides `base_channels`.
        quant_conv: whether a 1x1 convolution follows the encoder and another precedes the decoder.
        posterior: "gaussian"; "fixed", of standard deviation `std`; "point", deterministic. The weights of the
            log-variance are there in any case, and say what the posterior has to whoever reads them.
        std: of the fixed posterior.
        logvar_min: lower bound of the posterior's log-variance; None for none, as FLUX has it.
        logvar_max: the upper bound.
        fit: of sides that the down-sampling does not divide: "pad" repeats the last row and column, "crop" leaves out
            what is too much, "error" refuses.
        pretrained: what its weights are read from, by whoever trains it.

    Raises:
        ValueError: if the values do not fit together.
    """

    ordered: ClassVar[tuple[Order, ...]] = (Order("logvar_min", "<", "logvar_max"),)
    encoder_input = (-1.0, 1.0)
    provides: ClassVar[tuple[Need, ...]] = (DENSITY.unless(posterior="point"),)

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
        quant_conv: bool = True,
        posterior: PosteriorKind = "gaussian",
        std: PositiveFloat = 0.1,
        logvar_min: float | None = -30.0,
        logvar_max: float | None = 20.0,
        fit: Fit = "pad",
        pretrained: Text | None = None,
    ) -> None:
        check_word("model.posterior", posterior, PosteriorKind)
        check_word("model.fit", fit, Fit)
        if logvar_min is not None and logvar_max is not None:
            check_order(self.ordered, "model", logvar_min=logvar_min, logvar_max=logvar_max)
        trunk = Trunk.of(base_channels, channel_multipliers, attention_levels, layers, mid_attention, norm_groups)
        super().__init__(image_shape, latent_channels, trunk.factor, fit, pretrained)
        self.encoder = trunk.encoder(image_shape[0], 2 * latent_channels)
        self.decoder = trunk.decoder(latent_channels, image_shape[0])
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1) if quant_conv else None
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1) if quant_conv else None
        self.posterior: PosteriorKind = posterior
        self.std = std
        self.logvar_min = logvar_min
        self.logvar_max = logvar_max
        self.say_variance()

    @torch.no_grad()
    def say_variance(self) -> None:
        """Let the weights of the log-variance give that of a posterior which has no variances of its own."""
        if self.posterior == "gaussian":
            return
        last = self.encoder.conv_out if self.quant_conv is None else self.quant_conv
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        half = self.latent_shape[0]
        last.weight[half:] = 0.0
        last.bias[half:] = 2 * math.log(self.std) if self.posterior == "fixed" else _POINT_LOGVAR

    def _encoded(self, x: Tensor) -> Tensor:
        moments = self.encoder(2 * x - 1)
        return moments if self.quant_conv is None else self.quant_conv(moments)

    def _decoded(self, z: Tensor) -> Tensor:
        if self.post_quant_conv is not None:
            z = self.post_quant_conv(z)
        return (self.decoder(z) + 1) / 2

    def _posterior(self, encoded: Tensor) -> Posterior:
        return posterior_of(self.posterior, encoded, self.std, self.logvar_min, self.logvar_max)
