"""The latents of some images of the split that a model is judged by, with thumbnails and labels: `latents.safetensors`.

They are collected while that split is tested, so that no image is encoded for them alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.evaluation.float64 import Float64Metric
from lehr.models.autoencoder import Autoencoder
from lehr.posterior.posterior import Posterior
from lehr.tensors import write_tensors

LATENTS = "latents.safetensors"
SIDE = 32
"""Pixels of the longer side of a thumbnail at most."""
MOST_LATENTS = 500
"""Images whose latents are kept, where nothing else is said."""
LATENT, CHANNEL = "latent", "channel"


@dataclass(frozen=True)
class Latents:
    """The latents of n images.

    Attributes:
        mean: (n, d) float32, E[z|x]; of latent maps, and of maps of codes, the mean over positions of each channel.
        thumbnails: (n, c, h, w) uint8, the images as the model sees them, with sides of at most `SIDE` pixels.
        rows: (n,) int64, where each is in the split.
        labels: (n,) or (n, factors) int64; None where there are none.
        split: that they are of.
        of: what a column of `mean` belongs to, "latent" or "channel".
        classes: what class i of the labels is called; empty where classes have no names.
    """

    mean: Tensor
    thumbnails: Tensor
    rows: Tensor
    labels: Tensor | None = None
    split: str = "test"
    of: str = LATENT
    classes: tuple[str, ...] = field(default=())


class FirstLatents(Float64Metric):
    """Collects the latents of the first images of a split, of whatever rank they are.

    Each rank fills in the rows that it has, and all the others are 0: their sum is the whole.

    Args:
        n: images, at most as many as the split has.
        width: latents, or channels of a map.
        thumbnail: (c, h, w) of one.
        of: what each of the `width` is, "latent" or "channel".
    """

    mean: Tensor
    thumbnails: Tensor

    def __init__(self, n: int, width: int, thumbnail: tuple[int, int, int], of: str = LATENT) -> None:
        super().__init__()
        self._n, self._of = n, of
        self.add_state("mean", torch.zeros(n, width, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("thumbnails", torch.zeros(n, *thumbnail, dtype=torch.uint8), dist_reduce_fx="sum")

    @classmethod
    def of(cls, model: Autoencoder, data: ImageDataModule, split: str, n: int) -> FirstLatents:
        """For at most `n` images of a split of `data`."""
        channels, *sides = data.shape
        height, width = (max(1, round(side * min(1, SIDE / max(sides)))) for side in sides)
        of = CHANNEL if len(model.latent_shape) > 1 else LATENT
        return cls(min(n, len(data.images(split))), model.latent_shape[0], (channels, height, width), of)

    def update(self, batch: Batch, posterior: Posterior) -> None:
        """Keep what there is to be kept of a batch of the split in its order."""
        rows = slice(batch.start, min(batch.start + len(batch), self._n))
        if (wanted := rows.stop - rows.start) <= 0:
            return
        mean = posterior.mean[:wanted]
        self.mean[rows] = mean.flatten(2).mean(2).float() if mean.ndim > 2 else mean.float()
        height, width = self.thumbnails.shape[2:]
        pixels = F.adaptive_avg_pool2d(batch.images[:wanted].float(), (height, width))
        self.thumbnails[rows] = pixels.clamp(0, 1).mul(255).round().to(torch.uint8)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Means (n, d) float32 and thumbnails (n, c, h, w) uint8 of all ranks, which all of them must ask for."""
        return self.mean, self.thumbnails.to(torch.uint8)  # a sum of several ranks is wider

    def found(self, data: ImageDataModule, split: str) -> Latents | None:
        """What was collected, over all ranks, which all of them must ask for, with the labels of these images.

        None where nothing was to be.
        """
        if not self._n:
            return None
        mean, thumbnails = (part.cpu() for part in self.compute())
        labels = data.images(split).labels
        return Latents(
            mean,
            thumbnails,
            torch.arange(self._n),
            None if labels is None else labels[: self._n].clone(),
            split,
            self._of,
            tuple(data.classes),
        )


def write_latents(folder: Path, latents: Latents | None, model: str | None) -> None:
    """Write `latents.safetensors` into `folder`, `posterior/` of the run, of the trained model of this id.

    Without latents that of a model that is no more is removed.
    """
    if latents is None:
        (folder / LATENTS).unlink(missing_ok=True)
        return
    tensors = {"mean": latents.mean, "thumbnails": latents.thumbnails, "rows": latents.rows}
    if latents.labels is not None:
        tensors["labels"] = latents.labels
    about = {"split": latents.split, "of": latents.of}
    if latents.classes:
        about["classes"] = json.dumps(latents.classes)
    write_tensors(folder / LATENTS, tensors, model, about)
