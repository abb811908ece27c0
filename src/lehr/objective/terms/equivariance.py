"""What is done to a latent map, its image undergoes: the decoder as an equivariant map (the `terms` group).

Shapes: b batch, c h w image, zc zh zw latent map; f = h / zh pixels to a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt, Le, Lt
from torch import Tensor
from torch.nn import functional as F

from lehr.errors import ConfigError
from lehr.limits import Order, check_order
from lehr.objective.terms.term import LossTerm, TermInputs, TermResult


class Equivariance(LossTerm):
    """Transforms a latent and its image alike, decodes the one and compares it with the other.

    They are compared as the reconstruction is: by the distortion and the terms that compare images, as they are
    weighted; a discriminator takes no part. A transform is drawn for each batch, the same on all ranks.

    Args:
        image_shape: (c, h, w).
        latent_shape: (zc, zh, zw).
        probability: of a batch to have the term. Where it has it, its weight is that over this probability, so that
            the term is the same on average: this is a matter of time alone.
        options: as of `LossTerm`.

    Raises:
        ConfigError: if latents are no maps, or have no whole number of pixels to a cell.
    """

    unit_of_value = "nats per example"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
        probability: Annotated[float, Gt(0), Le(1)] = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        name, shape = type(self).__name__, " x ".join(map(str, latent_shape))
        if len(latent_shape) != 3:
            raise ConfigError(f"terms: {name} is of latent maps, and this model's latents are flat ({shape})")
        cells = latent_shape[1:]
        self.factors: tuple[int, int] = (image_shape[1] // cells[0], image_shape[2] // cells[1])
        if any(side % n for side, n in zip(image_shape[1:], cells, strict=True)):
            h, w = image_shape[1:]
            raise ConfigError(
                f"terms: {name}: images of {h} x {w} pixels have latents of {shape}, no whole pixels a cell"
            )
        self.probability = probability

    def transformed(self, z: Tensor, images: Tensor, draws: list[float]) -> tuple[Tensor, Tensor]:
        """Both as `draws`, numbers on [0, 1), say; neither is what it was."""
        raise NotImplementedError

    def forward(self, inputs: TermInputs) -> TermResult | None:
        chance, *draws = inputs.step.uniform(type(self).__name__, (4,)).tolist()
        if chance >= self.probability:
            return None
        self._require_whole_cells(inputs)
        z, images = self.transformed(inputs.z, inputs.images, draws)
        try:
            parameters = inputs.parts.model.decode(z)
        except RuntimeError as error:
            if z.shape[2:] == inputs.z.shape[2:]:
                raise
            raise self._refused(z) from error
        if parameters.shape != images.shape:
            raise self._refused(z)
        return TermResult(inputs.compare(images, parameters), 1 / self.probability)

    def _require_whole_cells(self, inputs: TermInputs) -> None:
        """Check that the model codes images as they are: what it adds at one end, a flip or a turn takes to another."""
        factor = getattr(inputs.parts.model, "factor", None)
        factors, coded = (factor, factor) if factor else self.factors, inputs.z.shape[2:]
        if any(n * pixels != side for n, pixels, side in zip(coded, factors, inputs.images.shape[2:], strict=True)):
            size, cells = (" x ".join(map(str, shape)) for shape in (inputs.images.shape[2:], coded))
            raise ConfigError(
                f"terms: {type(self).__name__} needs images as they are coded, and these, {size}, are not {cells} "
                f"cells of {factors[0]} x {factors[1]} (model.fit); choose sides that these divide"
            )

    def _refused(self, z: Tensor) -> ConfigError:
        size = " x ".join(map(str, z.shape[1:]))
        return ConfigError(
            f"terms: {type(self).__name__} needs a decoder of latents of any size, and this model's does not take "
            f"{size}; FlipEquivariance keeps their size"
        )


def scaled_and_turned(x: Tensor, size: Sequence[int], turns: int) -> Tensor:
    """Maps (b, c, h, w) brought to another size, bilinear without antialiasing, and turned by right angles."""
    scaled = F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
    return torch.rot90(scaled, turns, (-1, -2))


class ScaleEquivariance(Equivariance):
    """Latents made smaller and turned by a right angle or two or three (EQ-VAE, Kouzelis et al. 2025, section 3.2).

    As the published code: the scale is k / 32 for whole k, equally likely, by bilinear interpolation; there is always a
    turn. Scaled latents are at least a cell wide. That code has the transformed pair in place of the other one, in half
    of the batches, and so this term with a weight of 1 and half the weight of everything else.

    Args:
        smallest: scale.
        largest: scale, excluded.
        others: as of `Equivariance`.
    """

    ordered: ClassVar[tuple[Order, ...]] = (Order("smallest", "<", "largest"),)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
        smallest: Annotated[float, Gt(0), Lt(1)] = 0.25,
        largest: Annotated[float, Gt(0), Le(1)] = 1.0,
        **others: Any,
    ) -> None:
        super().__init__(image_shape, latent_shape, **others)
        check_order(self.ordered, "terms.equivariance", smallest=smallest, largest=largest)
        self.scales = [k / 32 for k in range(1, 32) if smallest <= k / 32 < largest]
        if not self.scales:
            raise ConfigError(f"terms.equivariance: there is no k / 32 from {smallest:g} to below {largest:g}")

    def transformed(self, z: Tensor, images: Tensor, draws: list[float]) -> tuple[Tensor, Tensor]:
        scale = self.scales[int(draws[0] * len(self.scales))]
        turns = 1 + int(draws[1] * 3)
        size = [max(1, int(n * scale)) for n in z.shape[2:]]  # where batches are of several sizes, each its own
        pixels = [n * factor for n, factor in zip(size, self.factors, strict=True)]
        return scaled_and_turned(z, size, turns), scaled_and_turned(images, pixels, turns)


class FlipEquivariance(Equivariance):
    """Latents mirrored, with other signs of some channels, which tell left from right or up from down (AuraEquiVAE).

    One of both flips or both at once, equally likely. AuraEquiVAE decodes flipped latents alone, in three of four
    batches.

    Args:
        left_right: channels of the latent whose sign a flip from left to right changes; from the last one if negative.
        up_down: the same for the other flip.
        others: as of `Equivariance`.

    Raises:
        ConfigError: if there is no such channel.
    """

    signs: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
        left_right: Sequence[int] = (-4, -3),
        up_down: Sequence[int] = (-2, -1),
        **others: Any,
    ) -> None:
        super().__init__(image_shape, latent_shape, **others)
        n = latent_shape[0]
        signs = torch.ones(2, n, 1, 1, dtype=torch.float32)
        for sign, (name, channels) in zip(signs, (("left_right", left_right), ("up_down", up_down)), strict=True):
            if wrong := [k for k in channels if not -n <= k < n]:
                raise ConfigError(f"terms: FlipEquivariance {name}={list(channels)}: no channel {wrong[0]} of {n}")
            sign[list(channels)] = -1
        self.register_buffer("signs", signs, persistent=False)

    def transformed(self, z: Tensor, images: Tensor, draws: list[float]) -> tuple[Tensor, Tensor]:
        flips = 1 + int(draws[0] * 3)  # 1 left and right, 2 up and down, 3 both
        for bit, dimension in enumerate((-1, -2)):
            if flips >> bit & 1:
                z = z.flip(dimension) * self.signs[bit]
                images = images.flip(dimension)
        return z, images
