"""What the first-stage models have in common: sizes, ranges, and the kinds of posterior that they give.

Images are in [0, 1] outside, and so, unclamped, is what is decoded; networks get them as they were published to.

Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.fit import Fit, fitted, fitting_sides, note, restored
from lehr.posterior.gaussian import DiagonalGaussian, FixedVariance
from lehr.posterior.point import Point
from lehr.posterior.posterior import Posterior, at_least_float32

PosteriorKind = Literal["gaussian", "fixed", "point"]


class FirstStage(Autoencoder):
    """Encoder and decoder of latent maps, of diffusers' parts under diffusers' names. Takes images of other sizes too.

    Args:
        image_shape: (c, h, w).
        latent_channels: zc.
        factor: of the down-sampling, a power of 2.
        fit: what is done with sides that it does not divide.
        pretrained: what its weights are read from, by whoever trains it; None for new ones.

    Raises:
        ValueError: if images of this shape do not fit.
    """

    encoder: nn.Module
    decoder: nn.Module

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_channels: int,
        factor: int,
        fit: Fit,
        pretrained: str | None,
    ) -> None:
        height, width = fitting_sides(image_shape[1:], factor, fit)
        super().__init__(image_shape, (latent_channels, height // factor, width // factor))
        self.factor = factor
        self.fit: Fit = fit
        self.pretrained = pretrained
        self.note = note(image_shape[1:], factor, fit)

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for images (b, c, h, w) in [0, 1] of any size: (b, zc, zh, zw), at least float32."""
        return self._posterior(self._encoded(fitted(x.to(self.dtype), self.factor, self.fit)))

    def decode(self, z: Tensor) -> Tensor:
        """Images (b, c, h, w), about in [0, 1], for latents (b, zc, zh, zw) of any size.

        Those of the size of `latent_shape` give images of `image_shape`, others all that there is to decode.
        """
        y = self._decoded(z.to(self.dtype))
        return restored(y, self.image_shape[1:], self.fit) if z.shape[2:] == self.latent_shape[1:] else y

    def _encoded(self, x: Tensor) -> Tensor:
        """What the posterior is made of, for images (b, c, h, w) in [0, 1] with sides that fit."""
        raise NotImplementedError

    def _decoded(self, z: Tensor) -> Tensor:
        """Images (b, c, h, w) about in [0, 1] for latents."""
        raise NotImplementedError

    def _posterior(self, encoded: Tensor) -> Posterior:
        raise NotImplementedError

    def compile_networks(self) -> None:
        self.encoder.compile()
        self.decoder.compile()


def posterior_of(
    kind: PosteriorKind, encoded: Tensor, std: float, logvar_min: float | None, logvar_max: float | None
) -> Posterior:
    """The posterior of a kind.

    Args:
        kind: which.
        encoded: (b, 2 zc, zh, zw) mean and log-variance; of any but "gaussian" the first half is what counts.
        std: of "fixed".
        logvar_min, logvar_max: bounds of the log-variance of "gaussian"; None for no bound.
    """
    mean, logvar = encoded.chunk(2, dim=1)
    if kind == "point":
        return Point(at_least_float32(mean))
    if kind == "fixed":
        return FixedVariance(at_least_float32(mean), std)
    if logvar_min is None and logvar_max is None:
        return DiagonalGaussian(at_least_float32(mean), at_least_float32(logvar))
    low = -float("inf") if logvar_min is None else logvar_min
    high = float("inf") if logvar_max is None else logvar_max
    return DiagonalGaussian.bounded(mean, logvar, low, high)
