"""The autoencoder of latent diffusion (Rombach et al. 2022), with a diagonal Gaussian posterior of latent maps.

Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lehr.limits import Order, PositiveFloat
from lehr.models.first_stage.base import LOGVAR_ORDER, PosteriorForm, PosteriorKind
from lehr.models.first_stage.residual import ResidualAutoencoder
from lehr.needs import DENSITY, Need
from lehr.posterior.posterior import Posterior

_POINT_LOGVAR = -30.0  # what a deterministic model says of its variance to who reads its weights: LDM's bound


class KLAutoencoder(ResidualAutoencoder):
    """diffusers' AutoencoderKL by the names of its weights, and the same numbers.

    Args:
        image_shape: (c, h, w), any number of channels.
        quant_conv: whether a 1x1 convolution follows the encoder and another precedes the decoder.
        posterior: "gaussian"; "fixed", of standard deviation `std`; "point", deterministic. The weights of the
            log-variance are there in any case, and say what the posterior has to whoever reads them.
        std: of the fixed posterior.
        logvar_min: lower bound of the posterior's log-variance; None for none, as FLUX has it.
        logvar_max: the upper bound.
        mean_bound: the largest absolute value of the posterior's mean, AuraEquiVAE's is 8; None for any. Beyond it only
            gradients that lead back count.
        others: as of `ResidualAutoencoder`.

    Raises:
        ValueError: if the values do not fit together.
    """

    ordered: ClassVar[tuple[Order, ...]] = LOGVAR_ORDER
    provides: ClassVar[tuple[Need, ...]] = (DENSITY.unless(posterior="point"),)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        quant_conv: bool = True,
        posterior: PosteriorKind = "gaussian",
        std: PositiveFloat = 0.1,
        logvar_min: float | None = -30.0,
        logvar_max: float | None = 20.0,
        mean_bound: PositiveFloat | None = None,
        **others: Any,
    ) -> None:
        form = PosteriorForm(posterior, std, logvar_min, logvar_max, mean_bound)
        super().__init__(image_shape, **others)
        channels = self.latent_shape[0]
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1) if quant_conv else None
        self.post_quant_conv = nn.Conv2d(channels, channels, 1) if quant_conv else None
        self.form = form
        self.loaded()

    def diffusers_config(self) -> dict[str, Any]:
        quant = self.quant_conv is not None
        names = {"_class_name": "AutoencoderKL", "use_quant_conv": quant, "use_post_quant_conv": quant}
        return {**super().diffusers_config(), **names}

    @torch.no_grad()
    def loaded(self) -> None:
        """Let the weights of the log-variance give that of a posterior which has no variances of its own."""
        if self.form.kind == "gaussian":
            return
        last = self.encoder.conv_out if self.quant_conv is None else self.quant_conv
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        half = self.latent_shape[0]
        last.weight[half:] = 0.0
        last.bias[half:] = 2 * math.log(self.form.std) if self.form.kind == "fixed" else _POINT_LOGVAR

    @property
    def _encoder_channels(self) -> int:
        return 2 * self.latent_shape[0]

    def _encoded(self, x: Tensor) -> Tensor:
        moments = self._encoder_output(x)
        return moments if self.quant_conv is None else self.quant_conv(moments)

    def _decoded(self, z: Tensor) -> Tensor:
        return self._decoder_output(z if self.post_quant_conv is None else self.post_quant_conv(z))

    def _posterior(self, encoded: Tensor) -> Posterior:
        return self.form.of(encoded, halves=True)
