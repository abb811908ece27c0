"""Images whose sides the down-sampling of a model does not divide: padded, cropped or refused.

Shapes: b batch, c h w image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Fit = Literal["pad", "crop", "error"]


def fitting_sides(sides: Sequence[int], factor: int, fit: Fit) -> tuple[int, int]:
    """The height and width that the encoder is given of images with these sides.

    Raises:
        ValueError: if the factor does not divide them and `fit` is "error", or if nothing would be left of them.
    """
    height, width = sides
    if fit == "pad":
        return -(-height // factor) * factor, -(-width // factor) * factor
    fitting = height // factor * factor, width // factor * factor
    if fit == "error" and fitting != (height, width):
        raise ValueError(
            f"model.fit=error: images of {height}x{width}, and the model needs multiples of {factor}; "
            "model.fit=pad or model.fit=crop takes them"
        )
    if 0 in fitting:
        raise ValueError(
            f"model.fit={fit}: images of {height}x{width} are smaller than the {factor}x{factor} of a latent; "
            "model.fit=pad takes them"
        )
    return fitting


def fitted(x: Tensor, factor: int, fit: Fit) -> Tensor:
    """Images (b, c, h, w) with sides that `factor` divides: more of the last row and column, or less on all sides."""
    height, width = fitting_sides(x.shape[2:], factor, fit)
    down, right = height - x.shape[2], width - x.shape[3]
    if down == right == 0:
        return x
    if fit == "pad":
        return F.pad(x, (0, right, 0, down), mode="replicate")
    top, left = -down // 2, -right // 2
    return x[:, :, top : top + height, left : left + width]


def restored(y: Tensor, sides: Sequence[int], fit: Fit) -> Tensor:
    """What was made of `fitted` images, with the sides that they had: cropped as they were padded, and the reverse."""
    height, width = sides
    if tuple(y.shape[2:]) == (height, width):
        return y
    if fit == "pad":
        return y[:, :, :height, :width]
    down, right = height - y.shape[2], width - y.shape[3]
    return F.pad(y, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")


def note(sides: Sequence[int], factor: int, fit: Fit) -> str:
    """What there is to say of images with these sides, or nothing."""
    fitting = fitting_sides(sides, factor, fit)
    if fitting == tuple(sides):
        return ""
    what = "padded" if fit == "pad" else "cropped"
    (height, width), (new_height, new_width) = sides, fitting
    rest = "" if fit == "pad" else "; what is cut off is filled with the nearest pixels, and its error counts"
    return (
        f"note: model.fit={fit}: images of {height}x{width} are {what} to {new_height}x{new_width}, multiples of the "
        f"model's {factor}{rest}"
    )
