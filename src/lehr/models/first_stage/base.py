"""What the first-stage models have in common: sizes, ranges, tiles, and the kinds of posterior that they give.

Images are in [0, 1] outside, and so, unclamped, is what is decoded; networks get them as they were published to.

Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from lehr.limits import Order, check_order, check_word
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.fit import Fit, fitted, fitting_sides, note, restored
from lehr.models.first_stage.tiling import tiled
from lehr.posterior.gaussian import DiagonalGaussian, FixedVariance, bound
from lehr.posterior.point import Point
from lehr.posterior.posterior import Posterior, at_least_float32

PosteriorKind = Literal["gaussian", "fixed", "point"]
_SMALLEST_TILE = 8  # cells along its side


class FirstStage(Autoencoder):
    """Encoder and decoder of latent maps, of diffusers' parts under diffusers' names. Takes images of other sizes too.

    Args:
        image_shape: (c, h, w).
        latent_channels: zc.
        factor: of the down-sampling, a power of 2.
        tile: in evaluation, the side in pixels of the tiles that larger images are coded in; None for whole images.
        fit: what is done with sides that the factor does not divide.
        pretrained: what its weights are read from, by whoever trains it; None for new ones.

    Raises:
        ValueError: if images of this shape do not fit, or no tiles of this size.
    """

    any_size = True
    encoder: Any  # modules of diffusers, which has no types
    decoder: Any

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_channels: int,
        factor: int,
        tile: int | None,
        fit: Fit,
        pretrained: str | None,
    ) -> None:
        check_word("model.fit", fit, Fit)
        height, width = fitting_sides(image_shape[1:], factor, fit)
        if tile is not None and (tile % factor or tile < _SMALLEST_TILE * factor):
            raise ValueError(f"model.tile={tile}: must be a multiple of {factor}, {_SMALLEST_TILE * factor} or more")
        super().__init__(image_shape, (latent_channels, height // factor, width // factor))
        self.factor = factor
        self.fit: Fit = fit
        self.tile = tile
        self.pretrained = pretrained
        self.note = note(image_shape[1:], factor, fit)

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for images (b, c, h, w) in [0, 1] of any size: (b, zc, zh, zw), at least float32."""
        x = fitted(x.to(self.dtype), self.factor, self.fit)
        if self.tile is None or self.training:
            return self.encode_whole(x)
        return self._posterior(tiled(self._encoded, x, self.tile // self.factor, self.factor, 1))

    def decode(self, z: Tensor) -> Tensor:
        """Images (b, c, h, w), about in [0, 1], for latents (b, zc, zh, zw) of any size.

        Those of the size of `latent_shape` give images of `image_shape`, others all that there is to decode.
        """
        y = self._decoded_in_tiles(z)
        return restored(y, self.image_shape[1:], self.fit) if z.shape[2:] == self.latent_shape[1:] else y

    def decode_to(self, z: Tensor, sides: Sequence[int]) -> Tensor:
        """Images (b, c, *sides), about in [0, 1], for latents (b, zc, zh, zw) of images that had these sides."""
        return restored(self._decoded_in_tiles(z), sides, self.fit)

    def _decoded_in_tiles(self, z: Tensor) -> Tensor:
        """All that there is to decode."""
        z = z.to(self.dtype)
        if self.tile is None or self.training:
            return self.decode_whole(z)
        return tiled(self._decoded, z, self.tile // self.factor, 1, self.factor)

    def encode_whole(self, x: Tensor) -> Posterior:
        """The same of images whose sides the factor divides, in the weights' precision, and never in tiles."""
        return self._posterior(self._encoded(x))

    def decode_whole(self, z: Tensor) -> Tensor:
        """All that there is to decode, of latents in the weights' precision, and never in tiles."""
        return self._decoded(z)

    def _encoded(self, x: Tensor) -> Tensor:
        """What the posterior is made of, for images (b, c, h, w) in [0, 1] with sides that fit."""
        raise NotImplementedError

    def _decoded(self, z: Tensor) -> Tensor:
        """Images (b, c, h, w) about in [0, 1] for latents."""
        raise NotImplementedError

    def _posterior(self, encoded: Tensor) -> Posterior:
        raise NotImplementedError

    def diffusers_config(self) -> dict[str, Any]:
        """config.json of the class of diffusers that has the same weights, which it names.

        Raises:
            ValueError: in a line, if diffusers has no such model.
        """
        c, h, w = self.image_shape
        return {"in_channels": c, "out_channels": c, "latent_channels": self.latent_shape[0], "sample_size": max(h, w)}

    def loaded(self) -> None:
        """Is called when weights have been read that were made elsewhere."""

    def compile_networks(self) -> None:
        self.encoder.compile()
        self.decoder.compile()


LOGVAR_ORDER = (Order("logvar_min", "<", "logvar_max"),)


@dataclass(frozen=True)
class PosteriorForm:
    """Which posterior a model gives, of what its encoder comes to.

    Attributes:
        kind: "gaussian"; "fixed", of standard deviation `std`; "point", deterministic.
        std: of the fixed posterior.
        logvar_min, logvar_max: bounds of the log-variance of a Gaussian one; None for no bound.
        mean_bound: the largest absolute value of a mean; None for any.

    Raises:
        ValueError: for another kind, or bounds the wrong way round.
    """

    kind: PosteriorKind
    std: float
    logvar_min: float | None
    logvar_max: float | None
    mean_bound: float | None = None

    def __post_init__(self) -> None:
        check_word("model.posterior", self.kind, PosteriorKind)
        check_order(LOGVAR_ORDER, "model", logvar_min=self.logvar_min, logvar_max=self.logvar_max)

    def of(self, encoded: Tensor, halves: bool) -> Posterior:
        """The posterior of what an encoder gives.

        Args:
            encoded: (b, zc, zh, zw), the means; with `halves` (b, 2 zc, zh, zw).
            halves: whether log-variances follow the means; only a Gaussian posterior heeds them.
        """
        mean, logvar = encoded.chunk(2, dim=1) if halves else (encoded, None)
        mean = at_least_float32(mean)
        if self.mean_bound is not None:
            mean = bound(mean, -self.mean_bound, self.mean_bound)
        if self.kind == "point":
            return Point(mean)
        if self.kind == "fixed":
            return FixedVariance(mean, self.std)
        assert logvar is not None
        if self.logvar_min is None and self.logvar_max is None:
            return DiagonalGaussian(mean, at_least_float32(logvar))
        low = -float("inf") if self.logvar_min is None else self.logvar_min
        high = float("inf") if self.logvar_max is None else self.logvar_max
        return DiagonalGaussian.bounded(mean, logvar, low, high)
