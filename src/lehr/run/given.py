"""Whether tensors that a program hands to a run are what the run was trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from lehr.errors import DataError

_ROUNDING = 1e-5
"""What an average of pixels may lie outside of [0, 1]."""

_ADVICE = ": x / 255, if they are levels of 8 bits"


def check_images(x: Tensor, image_shape: tuple[int, ...]) -> None:
    """Check for images (b, c, h, w) in [0, 1].

    Raises:
        DataError: for another type, another shape, NaN, or values outside of the range.
    """
    _check("images", x, image_shape, _ADVICE)
    if x.numel():
        low, high = (bound.item() for bound in x.detach().aminmax())
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise DataError(f"images: values from {low:g} to {high:g}, expected [0, 1]{_ADVICE * (high > 2)}")


def check_latents(z: Tensor, latent_shape: tuple[int, ...]) -> None:
    """Check for latents (b, *latent).

    Raises:
        DataError: for another type, another shape, or NaN.
    """
    _check("latents", z, latent_shape)


def _check(what: str, given: Tensor, shape: tuple[int, ...], advice: str = "") -> None:
    if not isinstance(given, Tensor):
        raise DataError(f"{what}: got {type(given).__name__}, expected a torch.Tensor")
    if not given.is_floating_point():
        raise DataError(f"{what}: got {given.dtype}, expected floating point{advice}")
    if given.dim() != len(shape) + 1 or tuple(given.shape[1:]) != tuple(shape):
        raise DataError(f"{what}: got shape {tuple(given.shape)}, expected (b, {', '.join(map(str, shape))})")
    if given.numel() and not bool(torch.isfinite(given.detach()).all()):
        wrong = ~torch.isfinite(given.detach()).flatten(1).all(1)
        first = int(wrong.int().argmax())
        raise DataError(f"{what}: NaN or infinity in {int(wrong.sum())} of {len(given)}, first in number {first}")
