"""How an autoencoder does in float16: the largest activation of each layer, and what is left of its outputs.

Shapes: b batch, c h w image, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.activations import LARGEST_HALF, LIMIT, Largest, watching
from lehr.evaluation.reconstruction import mse, psnr
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.rescale import Rescaled, rescale


@dataclass(frozen=True)
class Half:
    """Encoding and decoding at the posterior's mean, in float32 and in float16.

    Attributes:
        largest: |activation| of each module in float32, by its name in the model, in the order in which they run.
        broken: the first module that gives a number in float16 which is not finite; None if none does, or nothing has
            been computed in float16.
        broken_share: of the values of all images that are not finite in float16; None where this machine does not
            compute in float16.
        psnr: of images in float16 against those in float32, in dB, the mean over images; infinite where they are
            equal, None where any is not finite or nothing was computed.
    """

    largest: dict[str, float]
    broken: str | None
    broken_share: float | None
    psnr: float | None

    @property
    def worst(self) -> str:
        """The module with the largest activation."""
        return max(self.largest, key=lambda name: self.largest[name])

    @property
    def headroom(self) -> float:
        """log2(65504 / the largest |activation|), in bits: below 0 it is infinite in float16."""
        most = self.largest[self.worst]
        return math.log2(LARGEST_HALF / most) if most > 0 else math.inf

    @property
    def first_over(self) -> str | None:
        """The first module with an activation beyond 65,504."""
        return next((name for name, value in self.largest.items() if value > LARGEST_HALF), None)


@dataclass(frozen=True)
class Fitted:
    """What a rescaling has come to.

    Attributes:
        stretches: of activations that were multiplied.
        before, after: in float16.
        psnr: of the images in float32 after it against those before, in dB, the mean over images; infinite where they
            are equal.
    """

    stretches: list[Rescaled]
    before: Half
    after: Half
    psnr: float


@torch.no_grad()
def measure_half(model: Autoencoder, batches: Sequence[Tensor]) -> Half:
    """Pass images through a model in float32 and through a copy of it in float16.

    Args:
        model: in evaluation mode, with weights in float32.
        batches: images (b, c, h, w) in [0, 1], where the model is. Larger images have larger activations.

    Raises:
        ValueError: if there is no image.
    """
    if not batches:
        raise ValueError("there is no image to measure activations by")
    largest, wrong = Largest(), Largest()
    with watching(model, largest):
        expected = [_through(model, images) for images in batches]
    half = copy.deepcopy(model).half()
    try:
        with watching(half, wrong):
            found = [_through(half, images) for images in batches]
    except RuntimeError as error:
        if "not implemented for 'Half'" not in str(error):
            raise
        return Half(largest.values, None, None, None)
    broken = next((name for name, value in wrong.values.items() if not math.isfinite(value)), None)
    share = 1 - sum(int(y.isfinite().sum()) for y in found) / sum(y.numel() for y in found)
    return Half(largest.values, broken, share, _psnr(expected, found) if share == 0 else None)


@torch.no_grad()
def fit_for_half(model: Autoencoder, batches: Sequence[Tensor], limit: float = LIMIT) -> Fitted:
    """Rescale a model in place, so that no activation on these images goes beyond `limit`, with equal outputs.

    Args:
        model: of a kind that `lehr.models.first_stage.rescale` takes, in evaluation mode, in float32.
        batches: images (b, c, h, w) in [0, 1] that activations are measured by; the largest that there are.
        limit: for |activation|.

    Raises:
        ValueError: in a line, for other models, or where there is no image.
    """
    before = measure_half(model, batches)
    expected = [_through(model, images) for images in batches]
    stretches = rescale(model, before.largest, limit)
    found = [_through(model, images) for images in batches]
    return Fitted(stretches, before, measure_half(model, batches), _psnr(expected, found))


def _through(model: Autoencoder, images: Tensor) -> Tensor:
    """What images are decoded to (b, c, h, w), float32."""
    return model.decode(model.encode(images).mean).float()


def _psnr(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    errors = [mse(a.double(), b.double()) for a, b in zip(expected, found, strict=True)]
    return float(psnr(torch.cat(errors)).mean())
