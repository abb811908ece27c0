"""The prior p(z) that the rate is measured against: KL(q(z|x) || p(z))."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from lehr.needs import STANDARD_NORMAL_PRIOR, Need
from lehr.objective.keep_float32 import KeepsFloat32
from lehr.posterior.density import LatentDensity, StandardNormal
from lehr.posterior.posterior import Posterior

Encode = Callable[[Tensor], Posterior]


class Prior(KeepsFloat32):
    """p(z). What it learns is trained with the model.

    Args:
        latent_shape: (d,) or (zc, zh, zw).
        image_shape: (c, h, w).
    """

    needs: ClassVar[tuple[Need, ...]] = ()
    provides: ClassVar[tuple[Need, ...]] = ()

    def __init__(self, latent_shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.image_shape = tuple(image_shape)

    def start_at(self, images: Tensor) -> None:
        """Called before training with training images (n, c, h, w), some hundreds or more."""

    def density(self, encode: Encode) -> LatentDensity:
        """p(z) with the weights as they are now; `encode` is the model's."""
        raise NotImplementedError


class StandardNormalPrior(Prior):
    """N(0, I)."""

    provides = (STANDARD_NORMAL_PRIOR,)

    def density(self, encode: Encode) -> LatentDensity:
        return StandardNormal(self.latent_shape)
