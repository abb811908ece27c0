"""The difference of two images at each scale, where there are no weights of a network to compare them by.

Shapes: b batch, c h w image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.limits import PositiveInt
from lehr.objective.terms.term import LossTerm, PerOfReconstruction, TermInputs, TermResult

_BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)  # of Burt & Adelson 1983, over 16


def blurred(images: Tensor) -> Tensor:
    """Images (b, c, h, w) under the 5 x 5 binomial kernel, as large as they are; the border goes on beyond itself."""
    b, c, h, w = images.shape
    kernel = images.new_tensor(_BINOMIAL) / 16
    padded = F.pad(images.reshape(b * c, 1, h, w), (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, 5))
    return F.conv2d(rows, kernel.view(1, 1, 5, 1)).view(b, c, h, w)


def pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """What each blur takes away, each level half the size of the one before, and last what is left.

    An image of a single row or column is not halved: of a small one there are fewer levels.
    """
    found = []
    for _ in range(levels):
        if min(images.shape[-2:]) == 1:
            break
        smooth = blurred(images)
        found.append(images - smooth)
        images = smooth[..., ::2, ::2]
    return [*found, images]


class Laplacian(LossTerm):
    """Lap1 (Bojanowski et al. 2018, equation 4): sum over levels j of 2^2j |L^j(x) - L^j(y)|, for each pixel value.

    2^2j makes up for the smaller levels, so this is the sum of the levels' mean absolute differences. Pixels are
    counted in [-1, 1]: an offset of all pixels costs what it costs in an absolute error, noise of single pixels about
    as much once more.

    Args:
        levels: how often an image is halved, if it is large enough for that.
        per: as of `LossTerm`.
        options: as of `LossTerm`.
    """

    compares_images = True
    unit_of_value = "per pixel value in [-1, 1]"

    def __init__(self, levels: PositiveInt = 5, per: PerOfReconstruction = "pixel", **options: Any) -> None:
        super().__init__(**options)
        self.per = per
        self.levels = levels

    def forward(self, inputs: TermInputs) -> TermResult:
        # in half precision the levels would be differences of rounded numbers
        with torch.autocast(inputs.images.device.type, enabled=False):
            difference = 2 * (inputs.reconstruction - inputs.images)  # of which the pyramid is linear
            levels = [part.abs().flatten(1).mean(1) for part in pyramid(difference, self.levels)]
        return TermResult(torch.stack(levels).sum(0))
