"""How far reconstructions are from their images, image by image: what comparisons, probes and groups are made of.

Both are compared as pictures of 8 bits: clamped to [0, 1] and rounded to 255 levels, so that two models whose pictures
are the same are equally good. Everything is float64. Shapes: n images, b of them in a batch, c h w image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lehr.errors import ConfigError
from lehr.evaluation.defects import colour_shift, edge_error
from lehr.evaluation.fidelity import MOST
from lehr.evaluation.reconstruction import mse, psnr, ssim, ssim_window

LEVELS = 255
BANDS: Mapping[str, tuple[float, float]] = {
    "coarse": (0.0, 1 / 8),
    "medium": (1 / 8, 1 / 4),
    "fine": (1 / 4, 1 / 2),
    "finest": (1 / 2, math.inf),
}
"""Spatial frequencies, in octaves below half a cycle a pixel (Nyquist), which is 1; diagonal ones go beyond it."""
MEASURES = ("psnr", "ssim", "lpips", *(f"psnr_{band}" for band in BANDS), "mse", "edge_error", "colour_shift")
"""What is measured of each image, in the order that it is shown in."""

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Images and reconstructions (b, c, h, w) in [0, 1] to the distance of each, (b,)."""


@dataclass(frozen=True)
class ImageErrors:
    """The errors of n images.

    Attributes:
        values: name of `MEASURES` -> (n,) float64 on the CPU. What images of this kind do not have is not there: SSIM
            and edges of a pixel or two, LPIPS without its weights. PSNR is in dB, and at most 100: that of an image
            that is met exactly would be infinite. `psnr_BAND` is that of the error's part at those frequencies alone.
    """

    values: Mapping[str, Tensor]

    @classmethod
    def of(cls, images: Tensor, reconstructions: Tensor, perceptual: Perceptual | None = None) -> ImageErrors:
        """Of a batch of images in [0, 1] and their reconstructions, (b, c, h, w) each.

        Args:
            images: on any device.
            reconstructions: on the same; values outside [0, 1] are cut.
            perceptual: LPIPS, see `find_lpips`.

        Raises:
            ValueError: if they differ in shape.
        """
        if images.shape != reconstructions.shape:
            shapes = f"{tuple(images.shape)} and {tuple(reconstructions.shape)}"
            raise ValueError(f"images and reconstructions differ in shape: {shapes}")
        x, y = in_8_bits(images), in_8_bits(reconstructions)
        values = {"psnr": _decibels(mse(x, y))}
        if window := ssim_window(*images.shape[2:]):
            values["ssim"] = ssim(x, y, window)
        if perceptual is not None:
            values["lpips"] = perceptual(x.float(), y.float()).double()
        bands = band_mse(x, y)
        values |= {f"psnr_{band}": _decibels(bands[:, i]) for i, band in enumerate(BANDS)}
        values["mse"] = mse(x, y)
        if (edges := edge_error(x, y)) is not None:
            values["edge_error"] = edges
        values["colour_shift"] = colour_shift(x, y)
        return cls({name: values[name].detach().cpu() for name in MEASURES if name in values})

    @classmethod
    def cat(cls, parts: Iterable[ImageErrors]) -> ImageErrors:
        """Those of several batches, in order; what not all of them have is left out."""
        parts = list(parts)
        names = [name for name in MEASURES if parts and all(name in part.values for part in parts)]
        return cls({name: torch.cat([part.values[name] for part in parts]) for name in names})

    def __len__(self) -> int:
        return len(self.values["psnr"])

    def pick(self, rows: Tensor) -> ImageErrors:
        """Those of some of the images: rows (k,), or a mask (n,)."""
        return ImageErrors({name: values[rows] for name, values in self.values.items()})

    def means(self) -> dict[str, float]:
        """The mean over images of each, and `psnr_of_mse`: the PSNR of the mean MSE, which is never more than `psnr`.

        An image that is met badly counts for more in it; of models whose errors vary over images otherwise the two
        can disagree on which is better.
        """
        found = {name: float(values.mean()) for name, values in self.values.items()}
        return found | {"psnr_of_mse": float(_decibels(self.values["mse"].mean()))}


def in_8_bits(images: Tensor) -> Tensor:
    """Images as a file of them holds them, float64 in [0, 1]; on a CUDA device where they are on one."""
    exact = images.detach() if images.device.type == "cuda" else images.detach().cpu()
    return (exact.double().clamp(0, 1) * LEVELS).round() / LEVELS


def band_mse(images: Tensor, reconstructions: Tensor) -> Tensor:
    """The part of the squared error a pixel value that lies in each of `BANDS`: (b, 4), whose sum is the MSE.

    By the orthonormal discrete cosine transform (DCT-II) of the difference, which unlike Fourier's does not see an edge
    where the border of an image meets the opposite one. The frequency of coefficient (u, v) is hypot(u / h, v / w).
    """
    difference = images - reconstructions
    height, width = difference.shape[2:]
    rows, columns = dct(height).to(difference), dct(width).to(difference)
    power = (rows @ difference @ columns.T).square().mean(1) / (height * width)
    masks = torch.stack([_band(height, width, *limits) for limits in BANDS.values()]).to(power)
    return torch.einsum("bhw,khw->bk", power, masks)


def find_lpips(image_shape: tuple[int, int, int], device: torch.device | str = "cpu") -> tuple[Perceptual | None, str]:
    """LPIPS (VGG16, version 0.1) of such images, if its weights are where torch.hub keeps them; and why not, in a line.

    Args:
        image_shape: (c, h, w).
        device: where it is computed.
    """
    from lehr.objective.terms.lpips import LPIPS, VGG_FILE

    channels, height, width = image_shape
    path = VGG_FILE.path({})
    if channels not in (1, 3) or min(height, width) < LPIPS.least_side:
        shape = f"{channels} channels of {height} x {width}"
        return None, f"it looks at 1 or 3 channels of at least {LPIPS.least_side} pixels, and these have {shape}"
    if not path.is_file():
        return None, f"it needs {path}; get {VGG_FILE.url}"
    try:
        network = LPIPS(image_shape).network
    except ConfigError as error:
        return None, error.problems[0]
    network.eval().to(device)

    @torch.inference_mode()
    def distance(images: Tensor, reconstructions: Tensor) -> Tensor:
        return network(images.to(device), reconstructions.to(device)).cpu()

    return distance, ""


def _decibels(errors: Tensor) -> Tensor:
    return psnr(errors.clamp(min=10 ** (-MOST / 10)))


@lru_cache(maxsize=16)
def dct(side: int) -> Tensor:
    """The matrix (side, side) of the orthonormal DCT-II: row u is the wave of u half cycles."""
    u, x = torch.arange(side, dtype=torch.float64).view(-1, 1), torch.arange(side, dtype=torch.float64)
    matrix = (math.pi / side * (x + 0.5) * u).cos() * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix


@lru_cache(maxsize=64)
def _band(height: int, width: int, low: float, high: float) -> Tensor:
    """Which coefficients of a DCT (h, w) have a frequency in [low, high)."""
    u, v = torch.arange(height, dtype=torch.float64) / height, torch.arange(width, dtype=torch.float64) / width
    frequency = torch.hypot(u.view(-1, 1), v)
    return (frequency >= low) & (frequency < high)
