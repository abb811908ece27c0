"""The difference of two images at each frequency, those most of all that are missed most.

Shapes: b batch, c h w image, p patches an image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lehr.errors import ConfigError
from lehr.limits import NonNegativeFloat, PositiveInt
from lehr.objective.terms.term import LossTerm, PerOfReconstruction, TermInputs, TermResult


def patches(images: Tensor, factor: int) -> Tensor:
    """Images (b, c, h, w) cut into factor x factor patches: (b, p, c, h / factor, w / factor), without what is over."""
    images = images[..., : images.shape[-2] // factor * factor, : images.shape[-1] // factor * factor]
    b, c, h, w = images.shape
    cut = images.reshape(b, c, factor, h // factor, factor, w // factor)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def focal_frequency(difference: Tensor, alpha: float = 1.0, factor: int = 1) -> Tensor:
    """The mean over frequencies of w |F|^2 for the spectrum F of a difference of images (b, c, h, w): (b,).

    F is orthonormal; w = |F|^alpha over its largest value in the channel of a patch, without a gradient. So alpha = 0
    gives the mean square, and no value is above it.
    """
    spectrum = torch.fft.fft2(patches(difference, factor), norm="ortho")
    power = torch.view_as_real(spectrum).square().sum(-1)  # whose gradient, unlike that of abs, is finite at 0
    with torch.no_grad():
        largest = power.amax((-2, -1), keepdim=True)
        # a channel without any difference has no largest frequency, and none that is to be weighed
        weight = (power / largest.clamp(min=torch.finfo(power.dtype).tiny)).pow(alpha / 2)
    return (weight * power).flatten(1).mean(1)


class FocalFrequency(LossTerm):
    """The focal frequency loss (Jiang et al. 2021, equations 8 and 9), of pixels in [-1, 1].

    Args:
        image_shape: (c, h, w).
        alpha: how much the frequencies that are missed most count above others; 0 for the mean squared error.
        patch_factor: into how many parts each side of an image is cut, of which each has a spectrum of its own.
        per: as of `LossTerm`.
        options: as of `LossTerm`.

    Raises:
        ConfigError: if the sides of images are no multiples of `patch_factor`.
    """

    compares_images = True
    unit_of_value = "squared, per pixel value in [-1, 1]"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        alpha: NonNegativeFloat = 1.0,
        patch_factor: PositiveInt = 1,
        per: PerOfReconstruction = "pixel",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.per = per
        _, h, w = image_shape
        if h % patch_factor or w % patch_factor:
            raise ConfigError(
                f"terms.focal_frequency.patch_factor={patch_factor}: cuts no image of {h} x {w} pixels into equal "
                "parts; it must divide both sides"
            )
        self.alpha, self.patch_factor = alpha, patch_factor
        self.least_side = patch_factor

    def forward(self, inputs: TermInputs) -> TermResult:
        with torch.autocast(inputs.images.device.type, enabled=False):
            difference = 2 * (inputs.reconstruction - inputs.images)
            return TermResult(focal_frequency(difference, self.alpha, self.patch_factor))
