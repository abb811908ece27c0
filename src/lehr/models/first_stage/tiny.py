"""Tiny autoencoders of latents that a diffusion model already has: TAESD and its form for FLUX.2 (Boer Bohan 2023).

The networks take and give pixels in [0, 1], as here. Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lehr.limits import NonNegativeInt, Order, PositiveFloat, PositiveInt, Text
from lehr.models.first_stage.base import LOGVAR_ORDER, FirstStage, PosteriorForm, PosteriorKind
from lehr.models.first_stage.fit import Fit
from lehr.needs import DENSITY, Need
from lehr.posterior.posterior import Posterior

_WIDENED, _GROUPS = 4, 4  # of the global branch


class TinyAutoencoder(FirstStage):
    """The layers of diffusers' AutoencoderTiny under its names; not its `forward`, which rounds latents to bytes.

    Args:
        image_shape: (c, h, w), any number of channels.
        latent_channels: zc.
        base_channels: of every level.
        blocks: of each level of the encoder; the decoder has them in reverse. Each level but the last halves the sides.
        global_branch: whether each block at the lowest resolution first adds what a group norm over the whole map
            gives, as for FLUX.2; diffusers has no such blocks.
        posterior: "point", deterministic, as published; "fixed", of standard deviation `std`; "gaussian", for which
            the encoder gives twice the channels.
        std: of the fixed posterior.
        logvar_min: lower bound of the log-variance of a Gaussian posterior; None for none.
        logvar_max: the upper bound.
        mean_bound: the largest absolute value of the posterior's mean, AuraEquiVAE's is 8; None for any. Beyond it only
            gradients that lead back count.
        gradient_checkpointing: compute activations once more in the backward pass, in place of keeping them.
        tile: in evaluation, the side in pixels of the tiles that larger images are coded in; None for whole images.
        fit: of sides that the down-sampling does not divide: "pad" repeats the last row and column, "crop" leaves out
            what is too much, "error" refuses.
        pretrained: what its weights are read from, by whoever trains it; None for new ones.

    Raises:
        ValueError: if the values do not fit together.
    """

    ordered: ClassVar[tuple[Order, ...]] = LOGVAR_ORDER
    provides: ClassVar[tuple[Need, ...]] = (DENSITY.unless(posterior="point"),)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_channels: PositiveInt = 4,
        base_channels: PositiveInt = 64,
        blocks: Annotated[Sequence[NonNegativeInt], MinLen(1)] = (1, 3, 3, 3),
        global_branch: bool = False,
        posterior: PosteriorKind = "point",
        std: PositiveFloat = 0.1,
        logvar_min: float | None = -30.0,
        logvar_max: float | None = 20.0,
        mean_bound: PositiveFloat | None = None,
        gradient_checkpointing: bool = False,
        tile: PositiveInt | None = None,
        fit: Fit = "pad",
        pretrained: Text | None = None,
    ) -> None:
        form = PosteriorForm(posterior, std, logvar_min, logvar_max, mean_bound)
        super().__init__(image_shape, latent_channels, 1 << (len(blocks) - 1), tile, fit, pretrained)
        from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny

        widths, given = (base_channels,) * len(blocks), latent_channels * (2 if posterior == "gaussian" else 1)
        self.encoder = EncoderTiny(image_shape[0], given, tuple(blocks), widths, "relu")
        down = tuple(reversed(blocks))
        self.decoder = DecoderTiny(latent_channels, image_shape[0], down, widths, 2, "relu", "nearest")
        if global_branch:
            last = len(self.encoder.layers) - 1
            for layers, first in ((self.encoder.layers, last - blocks[-1]), (self.decoder.layers, 2)):
                for i in range(first, first + blocks[-1]):
                    layers[i] = _GlobalBlock(layers[i], base_channels)
        self.form = form
        self.gradient_checkpointing = gradient_checkpointing
        self.base_channels = base_channels
        self.blocks = tuple(blocks)
        self.global_branch = global_branch

    def diffusers_config(self) -> dict[str, Any]:
        if self.global_branch or self.form.kind == "gaussian":
            raise ValueError("model: diffusers has no tiny autoencoder with a global branch or a Gaussian posterior")
        said = super().diffusers_config()
        del said["sample_size"]
        widths, blocks = [self.base_channels] * len(self.blocks), list(self.blocks)
        return {
            **said,
            "_class_name": "AutoencoderTiny",
            "encoder_block_out_channels": widths,
            "decoder_block_out_channels": widths,
            "num_encoder_blocks": blocks,
            "num_decoder_blocks": blocks[::-1],
        }

    def _encoded(self, x: Tensor) -> Tensor:
        return self._through(self.encoder.layers, x)

    def _decoded(self, z: Tensor) -> Tensor:
        return self._through(self.decoder.layers, 3 * (z / 3).tanh())

    def _through(self, layers: nn.Module, x: Tensor) -> Tensor:
        # diffusers' encoder leaves out a conversion where it recomputes activations
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return layers(x)
        for layer in layers.children():
            x = checkpoint(layer, x, use_reentrant=False)
        return x

    def _posterior(self, encoded: Tensor) -> Posterior:
        return self.form.of(encoded, halves=self.form.kind == "gaussian")

    def compile_networks(self) -> None:
        self.encoder.layers.compile()
        self.decoder.layers.compile()


class _GlobalBlock(nn.Module):
    """A block of TAESD that first adds what a group norm over the whole map gives.

    Args:
        block: diffusers' AutoencoderTinyBlock.
        channels: that it takes.
    """

    def __init__(self, block: Any, channels: int) -> None:
        super().__init__()
        self.conv: nn.Module = block.conv
        self.skip: nn.Module = block.skip
        self.fuse: nn.Module = block.fuse
        wide = _WIDENED * channels
        self.pool = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.GroupNorm(_GROUPS, wide),
            nn.ReLU(),
            nn.Conv2d(wide, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pool(x)
        return self.fuse(self.conv(x) + self.skip(x))
