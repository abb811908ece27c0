"""How an autoencoder does in float16: the largest activation of each layer, and what is left of its outputs.

Shapes: b batch, c h w image, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.activations import LARGEST_HALF, LIMIT, Largest, watching
from lehr.evaluation.emulated_half import rounding, to_half
from lehr.evaluation.reconstruction import mse, psnr
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.rescale import Rescaled, rescale

ToImages = Callable[[Tensor], Tensor]
"""What a decoder gives to images in [0, 1]: `Likelihood.mean`."""


def _as_it_is(decoded: Tensor) -> Tensor:
    """Of a decoder that gives images."""
    return decoded


@dataclass(frozen=True)
class Half:
    """Encoding and decoding at the posterior's mean, in float32 and in float16.

    Attributes:
        largest: |activation| of each module in float32, by its name in the model, in the order in which they run.
        in_half: the same in float16; empty where this machine, or the model, does not compute in it.
        broken_share: of the values of all images that are not finite in float16; None where nothing was computed.
        psnr: of images in float16 against those in float32, in dB, the mean over images; infinite where they are
            equal, None where any is not finite or nothing was computed.
        is_emulated: whether float16 was emulated in float32.
    """

    largest: dict[str, float]
    in_half: dict[str, float]
    broken_share: float | None
    psnr: float | None
    is_emulated: bool = False

    @property
    def broken(self) -> str | None:
        """The first module that gives a number in float16 which is not finite; None if none does."""
        return next((name for name, value in self.in_half.items() if not math.isfinite(value)), None)

    @property
    def worst(self) -> str:
        """The module with the largest activation; the first that gives NaN, if any does."""
        return max(self.largest, key=lambda name: _size(self.largest[name]))

    @property
    def headroom(self) -> float:
        """log2(65504 / the largest |activation|), in bits: below 0 it is infinite in float16.

        -inf where one is not finite in float32 already.
        """
        most = self.largest[self.worst]
        if not math.isfinite(most):
            return -math.inf
        return math.log2(LARGEST_HALF / most) if most > 0 else math.inf

    @property
    def first_over(self) -> str | None:
        """The first module with an activation beyond 65,504, or NaN."""
        return next((name for name, value in self.largest.items() if _size(value) > LARGEST_HALF), None)


@dataclass(frozen=True)
class Fitted:
    """What a rescaling has come to.

    Attributes:
        stretches: of activations that were multiplied.
        before, after: the largest |activation| of any module.
        psnr: of the images after it against those before, in dB, the mean over images; infinite where they are equal.
    """

    stretches: list[Rescaled]
    before: float
    after: float
    psnr: float


@torch.no_grad()
def measure_half(
    model: Autoencoder, batches: Sequence[Tensor], to_images: ToImages = _as_it_is, emulated: bool | None = None
) -> Half:
    """Pass images through a model in float32 and through a copy of it in float16.

    Args:
        model: in evaluation mode, with weights in float32.
        batches: images (b, c, h, w) in [0, 1], where the model is. Larger images have larger activations.
        to_images: of what is decoded.
        emulated: whether float16 is emulated, see `lehr.evaluation.emulated_half`; None for where the model is on a
            CPU, which is slow in it.

    Raises:
        ValueError: if there is no image.
    """
    largest, expected = _pass(model, batches, to_images)
    is_emulated = batches[0].device.type == "cpu" if emulated is None else emulated
    try:
        in_half, found = (_pass_emulated if is_emulated else _pass_in_half)(model, batches, to_images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # it has passed in float32: this machine, or the model, has something for float32 alone
        return Half(largest, {}, None, None)
    share = 1 - sum(int(y.isfinite().sum()) for y in found) / sum(y.numel() for y in found)
    return Half(largest, in_half, share, _psnr(expected, found) if share == 0 else None, is_emulated)


@torch.no_grad()
def fit_for_half(
    model: Autoencoder, batches: Sequence[Tensor], limit: float = LIMIT, to_images: ToImages = _as_it_is
) -> Fitted:
    """Rescale a model in place, so that no activation on these images goes beyond `limit`, with equal outputs.

    All of it is computed in float32.

    Args:
        model: of a kind that `lehr.models.first_stage.rescale` takes, in evaluation mode, in float32.
        batches: images (b, c, h, w) in [0, 1] that activations are measured by; the largest that there are.
        limit: for |activation|.
        to_images: of what is decoded.

    Raises:
        ValueError: in a line, for other models, or where there is no image.
    """
    before, expected = _pass(model, batches, to_images)
    stretches = rescale(model, before, limit)
    after, found = _pass(model, batches, to_images) if stretches else (before, expected)
    return Fitted(stretches, max(before.values()), max(after.values()), _psnr(expected, found))


def _pass(model: Autoencoder, batches: Sequence[Tensor], to_images: ToImages) -> tuple[dict[str, float], list[Tensor]]:
    """The largest |activation| of each module, and what images are decoded to (b, c, h, w), float32."""
    if not batches:
        raise ValueError("there is no image to measure activations by")
    largest = Largest()
    with watching(model, largest):
        found = [to_images(model.decode(model.encode(images).mean)).float() for images in batches]
    return largest.values, found


def _pass_in_half(
    model: Autoencoder, batches: Sequence[Tensor], to_images: ToImages
) -> tuple[dict[str, float], list[Tensor]]:
    """The same in float16."""
    return _pass(copy.deepcopy(model).half(), batches, to_images)


def _pass_emulated(
    model: Autoencoder, batches: Sequence[Tensor], to_images: ToImages
) -> tuple[dict[str, float], list[Tensor]]:
    """The same in float32 that is rounded to float16."""
    half = copy.deepcopy(model).half().float()
    with rounding(half):
        return _pass(half, batches, lambda y: to_images(to_half(y)))


def _psnr(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    errors = [mse(a.double(), b.double()) for a, b in zip(expected, found, strict=True)]
    return float(psnr(torch.cat(errors)).mean())


def _size(largest: float) -> float:
    """For comparisons: NaN is beyond all numbers."""
    return math.inf if math.isnan(largest) else largest
