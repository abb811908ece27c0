"""Autoencoders that reconstruct exactly, but for the fault that is planted in them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.evaluation.probes.probe import ProbeInputs
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Gaussian
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.posterior.posterior import Posterior

CPU = torch.device("cpu")


def same(x: Tensor) -> Tensor:
    return x


class Exact(Autoencoder):
    """A cell of 8 x 8 pixels is the channels of a latent: nothing is lost, and nothing reaches another cell.

    Args:
        side: of images (3, side, side).
        std: of the posterior.
        of_latents, of_logvar, of_images: the fault.
    """

    any_size = True

    def __init__(
        self,
        side: int = 64,
        std: float = 0.1,
        of_latents: Callable[[Tensor], Tensor] = same,
        of_logvar: Callable[[Tensor], Tensor] = same,
        of_images: Callable[[Tensor], Tensor] = same,
    ) -> None:
        super().__init__((3, side, side), (192, side // 8, side // 8))
        self.std, self.of_latents, self.of_logvar, self.of_images = std, of_latents, of_logvar, of_images

    def encode(self, x: Tensor) -> Posterior:
        mean = self.of_latents(F.pixel_unshuffle(x, 8))
        return DiagonalGaussian(mean, self.of_logvar(torch.full_like(mean, 2 * math.log(self.std))))

    def decode(self, z: Tensor) -> Tensor:
        return self.of_images(F.pixel_shuffle(z, 8))


def smooth_images(n: int = 16, side: int = 64, seed: int = 0) -> Tensor:
    """(n, 3, side, side) within 0.1 and 0.9: a few waves each, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(n, 3, 5, 5, generator=generator), size=(side, side), mode="bicubic")
    return (0.8 * coarse.clamp(0, 1) + 0.1 + 0.02 * torch.randn(coarse.shape, generator=generator)).clamp(0.05, 0.95)


def inputs(model: Autoencoder, images: Tensor | None = None, **values) -> ProbeInputs:
    """In batches of unequal size."""
    images = smooth_images(side=model.image_shape[1]) if images is None else images
    batches = tuple(images.split(10))
    return ProbeInputs(model.eval(), Gaussian(0.1), batches, CPU, **values)
