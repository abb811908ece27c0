"""What a mean error does not tell of reconstructions: exact colours, edges, a shift of colours, the border.

Shapes: b batch, c channels, h w height and width. Reconstructions are clipped to [0, 1], as pictures of them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

_LEVELS = 255
_BORDER = 8  # the border is an eighth of the shorter side wide


class Defects:
    """Means over images, each counted once. Sums are float64."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._n = 0

    def watching(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The `pairs` of images in [0, 1] and their reconstructions, (b, c, h, w) each, which are counted."""
        for images, reconstructions in pairs:
            self.add(images, reconstructions)
            yield images, reconstructions

    def add(self, images: Tensor, reconstructions: Tensor) -> None:
        """Count a batch."""
        x, y = images.detach().double().cpu(), reconstructions.detach().double().cpu().clamp(0, 1)
        border, centre = border_mse(x, y)
        found = {
            "exact_colours": exact_colours(x, y),
            "colour_shift": colour_shift(x, y),
            "edge_error": edge_error(x, y),
            "border_mse": border,
            "centre_mse": centre,
        }
        for name, values in found.items():
            if values is not None:
                self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())
        self._n += len(images)

    def means(self) -> dict[str, float | None]:
        """By name; None of what images of this size have not."""
        names = ("exact_colours", "edge_error", "colour_shift", "border_mse", "centre_mse")
        return {name: self._sums[name] / self._n if name in self._sums and self._n else None for name in names}


def exact_colours(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Share of pixels whose colour, rounded to 8 bits in each channel, is that of the image in all of them: (b,)."""
    same = (images * _LEVELS).round() == (reconstructions * _LEVELS).round()
    return same.all(1).flatten(1).double().mean(1)


def gradient_magnitude(images: Tensor) -> Tensor:
    """sqrt(dx^2 + dy^2) of forward differences, of each channel: (b, c, h - 1, w - 1), in pixel values a pixel."""
    corner = images[..., :-1, :-1]
    return torch.hypot(images[..., :-1, 1:] - corner, images[..., 1:, :-1] - corner)


def edge_error(images: Tensor, reconstructions: Tensor) -> Tensor | None:
    """Mean of | |grad x| - |grad y| | over pixels and channels: (b,); None of images a pixel high or wide."""
    if min(images.shape[2:]) < 2:
        return None
    return (gradient_magnitude(images) - gradient_magnitude(reconstructions)).abs().flatten(1).mean(1)


def colour_shift(images: Tensor, reconstructions: Tensor) -> Tensor:
    """|mean colour of y - that of x|, averaged over channels: (b,), in pixel values."""
    return (reconstructions - images).mean((2, 3)).abs().mean(1)


def border_mse(images: Tensor, reconstructions: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Squared error per pixel of the border and of the rest, (b,) each; None of images that are all border.

    The border is an eighth of the shorter side wide, at least one pixel.
    """
    height, width = images.shape[2:]
    wide = max(1, min(height, width) // _BORDER)
    if min(height, width) <= 2 * wide:
        return None, None
    square = (images - reconstructions).square().mean(1)
    centre = square[:, wide : height - wide, wide : width - wide].flatten(1)
    outside = square.flatten(1).sum(1) - centre.sum(1)
    return outside / (height * width - centre.shape[1]), centre.mean(1)
