"""The PSNR of reconstructions over a data set as a torchmetrics Metric, to be watched while a model trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lehr.evaluation.float64 import Float64Metric
from lehr.evaluation.reconstruction import mse, psnr

MOST = 100.0
"""dB that an image counts at most: one that is met exactly would make the mean infinite."""


def image_psnr(images: Tensor, reconstructions: Tensor) -> Tensor:
    """The PSNR of each image in dB, at most `MOST`: (b,) float64, of reconstructions clipped to [0, 1]."""
    errors = mse(images, reconstructions.clamp(0, 1)).double()
    return psnr(errors.clamp(min=10 ** (-MOST / 10)))


class PSNRMetric(Float64Metric):
    """Mean over images of each image's own PSNR in dB, each of each process counted once; at most `MOST` an image.

    Reconstructions are clipped to [0, 1], as a picture of them is. No float64 copy of the images is made.
    """

    psnr_sum: Tensor
    n: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("psnr_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Tensor, reconstructions: Tensor) -> None:
        """Count a batch of images in [0, 1] and what they are decoded to, (b, c, h, w) each."""
        self.psnr_sum = self.psnr_sum + image_psnr(images, reconstructions).sum()
        self.n = self.n + len(images)

    def compute(self) -> Tensor:
        """In dB; more is better."""
        return self.psnr_sum / self.n
