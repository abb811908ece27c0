"""Statistics of the pixels of one split, batch by batch: in memory is one batch, and some numbers an image.

Shapes: b batch, c h w image. Pixels are float32 in [0, 1], as a model is given them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lehr.data.digests import digests_of_rows

EIGHT_BITS = 256
"""Bins of the histogram: the levels of 8 bits, 0, 1/255, ..., 1. Other values are counted at the nearest."""
MOST_DISTINCT = 1024
"""Distinct values that are told apart; where there are more, the pixels are taken for real numbers."""
_ON_GRID = 1e-6
"""How far from a level a float32 may be that is meant to be it: rounding moves it by a tenth of that."""
_SOME = 2**16  # values that are sorted at once


@dataclass(frozen=True)
class PixelStatistics:
    """What the pixels of n images are.

    Attributes:
        n: how many images.
        low, high: the smallest and the largest value.
        mean, std: of each pixel over the images, (c, h, w) float64.
        histogram: (c, 256) int64, pixels of each channel at the nearest level of 8 bits.
        values: the distinct values, sorted, float32; None where there are more than `MOST_DISTINCT`.
        on: the part of the pixels that is above 0.5: which `binarize=threshold` sets to 1.
        between: the part that is neither 0 nor 1.
        drawing: nats an image, the mean over images of the sum over pixels of the entropy of Bernoulli(x): what
            `binarize=dynamic` adds by drawing.
        contrast: (n,) float32, the largest range of a channel in each image.
        colour: (n,) float32, the largest difference of red, green and blue at a pixel of each image; 0 without colours.
        digests: (n, 16) uint8, of the pixels of each image.
    """

    n: int
    low: float
    high: float
    mean: Tensor
    std: Tensor
    histogram: np.ndarray
    values: np.ndarray | None
    on: float
    between: float
    drawing: float
    contrast: np.ndarray
    colour: np.ndarray
    digests: np.ndarray

    @property
    def overall_mean(self) -> float:
        """Over all pixels of all images."""
        return float(self.mean.mean())

    @property
    def overall_std(self) -> float:
        """Over all pixels of all images: their variance within a place, and that between places."""
        second = float((self.std.square() + self.mean.square()).mean())
        return max(0.0, second - self.overall_mean**2) ** 0.5

    @property
    def grid(self) -> int | None:
        """The least number of evenly spaced levels from 0 to 1, at most 256, that all values are among, or None."""
        return None if self.values is None else even_levels(self.values)

    @property
    def bimodality(self) -> float:
        """Var(x) / (p (1 - p)), p the mean of all pixels: 1 where all are 0 or 1, 1/3 of uniform grey values.

        Of a pixel b ~ Bernoulli(x) that `binarize=dynamic` draws the variance is p (1 - p) = Var(x) + E[x (1 - x)] by
        the law of total variance: what the image says, and what drawing adds. This is the share of the first.
        """
        p = self.overall_mean
        spread = p * (1 - p)
        return 1.0 if spread <= 1e-12 else min(1.0, self.overall_std**2 / spread)


class PixelSums:
    """Adds up batches of one split.

    Args:
        shape: (c, h, w) of an image.
        eight_bits: whether all pixels are known to be of the levels of 8 bits; else that is looked at.

    Attributes:
        wrong: images so far with pixels that are NaN, or not in [0, 1]; they are left out of all else.
    """

    def __init__(self, shape: tuple[int, int, int], eight_bits: bool = False) -> None:
        self._eight_bits = eight_bits
        self._n = 0
        self.wrong = 0
        self._sum = torch.zeros(shape, dtype=torch.float64)
        self._squares = torch.zeros(shape, dtype=torch.float64)
        self._histogram = np.zeros((shape[0], EIGHT_BITS), np.int64)
        self._distinct = _Distinct()
        self._low, self._high = np.inf, -np.inf
        self._on = self._between = 0
        self._drawing = 0.0
        self._contrast: list[np.ndarray] = []
        self._colour: list[np.ndarray] = []
        self._digests: list[np.ndarray] = []

    def add(self, pixels: Tensor) -> None:
        """Count a batch, (b c h w)."""
        self._digests.append(digests_of_rows(_nearest(pixels) if self._eight_bits else pixels))
        low, high = pixels.amin((2, 3)), pixels.amax((2, 3))
        sound = ((low >= 0) & (high <= 1)).all(1)  # of NaN neither is true
        self._contrast.append((high - low).amax(1).numpy())
        self._colour.append(_colour(pixels))
        if not sound.all():
            self.wrong += int((~sound).sum())
            pixels, low, high = pixels[sound], low[sound], high[sound]
        if not len(pixels):
            return
        self._n += len(pixels)
        self._low, self._high = min(self._low, float(low.min())), max(self._high, float(high.max()))
        self._sum += pixels.sum(0, dtype=torch.float64)
        self._squares += pixels.square().sum(0, dtype=torch.float64)
        self._count(pixels)

    def _count(self, pixels: Tensor) -> None:
        nearest = _nearest(pixels)
        is_8_bit = self._eight_bits or bool(torch.allclose(pixels, nearest / (EIGHT_BITS - 1), rtol=0, atol=_ON_GRID))
        bins = nearest.transpose(0, 1).flatten(1).numpy()
        histogram = np.stack([np.bincount(channel, minlength=EIGHT_BITS) for channel in bins])
        self._histogram += histogram
        if is_8_bit:
            # each level counts as often as it occurs: nothing more is computed of single pixels
            levels = torch.arange(EIGHT_BITS, dtype=torch.float32) / (EIGHT_BITS - 1)
            times = torch.from_numpy(histogram.sum(0))
            self._distinct.add(levels[times > 0].numpy())
        else:
            levels, times = pixels.flatten(), torch.ones((), dtype=torch.int64)
            self._distinct.add(levels.numpy())
        self._on += int(((levels > 0.5) * times).sum())
        self._between += int((((levels > 0) & (levels < 1)) * times).sum())
        entropy = -torch.xlogy(levels, levels) - torch.xlogy(1 - levels, 1 - levels)
        self._drawing += float((entropy.double() * times).sum())

    def result(self) -> PixelStatistics:
        """Of all that was added; at least one image was sound."""
        mean = self._sum / self._n
        variance = (self._squares / self._n - mean.square()).clamp(min=0)
        pixels = self._n * mean.numel()
        return PixelStatistics(
            n=self._n,
            low=self._low,
            high=self._high,
            mean=mean,
            std=variance.sqrt(),
            histogram=self._histogram,
            values=self._distinct.values,
            on=self._on / pixels,
            between=self._between / pixels,
            drawing=self._drawing / self._n,
            contrast=np.concatenate(self._contrast),
            colour=np.concatenate(self._colour),
            digests=np.concatenate(self._digests),
        )


def _nearest(pixels: Tensor) -> Tensor:
    """The nearest level of 8 bits, uint8."""
    return (pixels * (EIGHT_BITS - 1)).round_().to(torch.uint8)


def even_levels(values: np.ndarray) -> int | None:
    """The least number of evenly spaced levels 0, 1/(k - 1), ..., 1 that all `values` are among, 2 to 256; or None."""
    steps = np.arange(1, EIGHT_BITS)[:, None]
    scaled = values.astype(np.float64) * steps
    fits = (np.abs(scaled - scaled.round()) <= _ON_GRID * steps).all(1)
    return int(fits.argmax()) + 2 if fits.any() else None


class _Distinct:
    """The distinct values of what is added, as long as they are few."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = np.empty(0, np.float32)

    def add(self, new: np.ndarray) -> None:
        while self.values is not None and new.size:
            if self.values.size:
                place = np.searchsorted(self.values, new).clip(max=self.values.size - 1)
                new = new[self.values[place] != new]
            self.values = np.union1d(self.values, new[:_SOME])
            if self.values.size > MOST_DISTINCT:
                self.values = None


def _colour(pixels: Tensor) -> np.ndarray:
    """(b,) float32: how far red, green and blue are apart where they are farthest."""
    if pixels.shape[1] < 3:
        return np.zeros(len(pixels), np.float32)
    colours = pixels[:, :3]
    return (colours.amax(1) - colours.amin(1)).amax((1, 2)).numpy()
