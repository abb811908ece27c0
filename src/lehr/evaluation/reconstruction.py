"""How close reconstructions are to their images: MSE, PSNR and SSIM, in float64, over batches of any size.

Shapes: b batch, c channels, h w height and width. Pixels lie in [0, 1], so the data range is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5  # Wang et al. 2004, section III.B
_K1, _K2 = 0.01, 0.03
_SMALLEST_WINDOW = 3


@dataclass(frozen=True)
class Reconstruction:
    """Means over `n` images, each counted once.

    Attributes:
        psnr: mean over the images of each image's own PSNR, in dB; larger is better. Infinite if any image is met
            exactly. By Jensen's inequality it is at least the PSNR of the mean MSE.
        ssim: mean structural similarity, at most 1; None where the images are too small for any window.
        mse: squared error per pixel and channel (a mean, unlike a distortion), averaged over the images.
        window: side of the window of SSIM in pixels: 11, or less for smaller images; None where there is no SSIM.
        n: number of images.
    """

    psnr: float
    ssim: float | None
    mse: float
    window: int | None
    n: int


def measure_reconstruction(pairs: Iterable[tuple[Tensor, Tensor]]) -> Reconstruction:
    """Compare images with their reconstructions, given as batches of pairs, each (b c h w) in [0, 1].

    Nothing is clamped: a reconstruction outside [0, 1] is as far off as it is.

    Raises:
        ValueError: if a pair differs in shape, or there is no image at all.
    """
    n, psnr_sum, ssim_sum, mse_sum = 0, 0.0, 0.0, 0.0
    window: int | None = None
    for images, reconstructions in pairs:
        if images.shape != reconstructions.shape:
            shapes = f"{tuple(images.shape)} and {tuple(reconstructions.shape)}"
            raise ValueError(f"images and reconstructions differ in shape: {shapes}")
        window = ssim_window(*images.shape[2:])
        a, b = images.detach().cpu().double(), reconstructions.detach().cpu().double()
        errors = mse(a, b)
        mse_sum += float(errors.sum())
        psnr_sum += float(psnr(errors).sum())
        if window is not None:
            ssim_sum += float(ssim(a, b, window).sum())
        n += len(images)
    if n == 0:
        raise ValueError("there is no image to compare")
    return Reconstruction(
        psnr=psnr_sum / n, ssim=None if window is None else ssim_sum / n, mse=mse_sum / n, window=window, n=n
    )


def mse(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error per pixel and channel of each image, (b,)."""
    return (images - reconstructions).square().flatten(1).mean(1)


def psnr(errors: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE), of each MSE in `errors`; infinite for 0."""
    return -10 * errors.log10()


def ssim_window(height: int, width: int) -> int | None:
    """The largest odd window, at most 11, that fits an image; None if less than 3 would."""
    side = min(height, width, _WINDOW)
    side -= 1 - side % 2
    return side if side >= _SMALLEST_WINDOW else None


def ssim(images: Tensor, reconstructions: Tensor, window: int = _WINDOW) -> Tensor:
    """Structural similarity of each image, (b,). Eq. 13 of Wang et al. 2004 at every pixel of every channel, averaged.

    The window is Gaussian of standard deviation 1.5 at 11 pixels, and in proportion below. At the border the image is
    reflected, as torchmetrics does; others leave the border out. Its variances are not corrected for n - 1.
    """
    height, width = images.shape[2:]
    rows, columns = _blur(height, window).to(images), _blur(width, window).to(images).T

    def local_mean(x: Tensor) -> Tensor:
        return rows @ x @ columns

    mean_a, mean_b = local_mean(images), local_mean(reconstructions)
    # rounding must not make a variance negative
    var_a = (local_mean(images.square()) - mean_a.square()).clamp(min=0)
    var_b = (local_mean(reconstructions.square()) - mean_b.square()).clamp(min=0)
    covariance = local_mean(images * reconstructions) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return (luminance * structure).flatten(1).mean(1)


def _blur(side: int, window: int) -> Tensor:
    """The matrix (side, side) that blurs a line of pixels with a Gaussian window, reflecting at both ends.

    Two products with such a matrix are a convolution with the separable window, and in float64 far faster than one.
    """
    sigma = _SIGMA * window / _WINDOW
    offsets = range(-(window // 2), window // 2 + 1)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets]
    matrix = torch.zeros(side, side, dtype=torch.float64)
    for i in range(side):
        for offset, weight in zip(offsets, weights, strict=True):
            j = abs(i + offset)  # -1 is pixel 1
            matrix[i, j if j < side else 2 * (side - 1) - j] += weight / sum(weights)
    return matrix
