"""Grids of samples from N(agg_mean, agg_var), from the prior, along lines between latents, and of reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lehr.data.module import ImageDataModule
from lehr.evaluation.pictures import ERROR_SCALE, error_images, image_grid, save_png
from lehr.evaluation.reconstruction import mse
from lehr.models.components import Components
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity, Normal
from lehr.posterior.interpolation import interpolate
from lehr.run.contents import GRIDS
from lehr.run.execution import Execution
from lehr.run.measure import has_psnr

_SEED = 0  # of every picture of every run, so that runs can be compared picture by picture


@dataclass(frozen=True)
class Grids:
    """How large the pictures are.

    Attributes:
        n: images in a grid.
        interpolations: rows of the interpolation grid.
        steps: images in a row, from one image to the other.
    """

    n: int = 64
    interpolations: int = 8
    steps: int = 10


def draw_grids(
    components: Components,
    data: ImageDataModule,
    aggregate: AggregatePosterior | None,
    grids: Grids,
    execution: Execution,
) -> dict[str, Tensor]:
    """Each grid as (c, H, W) uint8: aggregate, prior, interpolation, reconstruction, error.

    Images are the means of p(x|z). Reconstructions and interpolations are of the first validation images and use
    the mean of q(z|x). Without statistics of q(z), or where they are of latent maps of several sizes, there is none of
    the aggregate posterior; of binary pixels, whose errors are all or nothing, none of the error.
    """
    model, pictures = components.model, {}
    images = _first_validation_images(data, max(grids.n // 2, 2 * grids.interpolations), execution.device)
    with execution.evaluating(components):
        means = model.encode(images).mean
        if aggregate is not None and aggregate.latent_shape == tuple(model.latent_shape):
            pictures["aggregate"] = _samples(components, Normal.of(aggregate), grids.n, execution.device)
        pictures["prior"] = _samples(components, components.prior.density(model.encode), grids.n, execution.device)
        if pairs := min(grids.interpolations, len(means) // 2):
            lines = interpolate(means[:pairs], means[pairs : 2 * pairs], grids.steps)  # (steps, pairs, *latent)
            pictures["interpolation"] = _decode(components, lines.transpose(0, 1).flatten(0, 1), grids.steps)
        shown = images[: max(grids.n // 2, 1)]
        columns = min(8, len(shown))
        shown = shown[: len(shown) // columns * columns]
        reconstructed = components.likelihood.mean(model.decode(means[: len(shown)]))
        pictures["reconstruction"] = _in_rows((shown, reconstructed), columns)
        if has_psnr(components):
            pictures["error"] = _worst(shown, reconstructed, columns)
    return pictures


def write_grids(folder: Path, pictures: Mapping[str, Tensor], model: str | None = None) -> None:
    """Write `NAME.png` for each of the `pictures` (c, H, W) of the trained model of this id.

    Those of `GRIDS` that there are none of are removed, as pictures of a model that is no more.
    """
    for name, picture in pictures.items():
        save_png(folder / f"{name}.png", picture, model, ERROR_SCALE if name == "error" else None)
    for name in GRIDS:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)


def _worst(images: Tensor, reconstructed: Tensor, columns: int) -> Tensor:
    """Rows of images, below them their reconstructions and their errors; the largest error comes first."""
    order = mse(images, reconstructed).argsort(descending=True, stable=True)
    images, reconstructed = images[order], reconstructed[order]
    return _in_rows((images, reconstructed, error_images(images, reconstructed)), columns)


def _in_rows(kinds: tuple[Tensor, ...], columns: int) -> Tensor:
    """A row of images of the first kind, below it the same of the others; then the next ones."""
    rows = zip(*(images.split(columns) for images in kinds), strict=True)
    return image_grid(torch.cat([row for together in rows for row in together]), columns)


def _samples(components: Components, density: LatentDensity, n: int, device: torch.device) -> Tensor:
    return _decode(components, density.sample(n, _SEED, device, stream="samples"))


def _decode(components: Components, z: Tensor, columns: int | None = None) -> Tensor:
    return image_grid(components.likelihood.mean(components.model.decode(z)), columns)


def _first_validation_images(data: ImageDataModule, n: int, device: torch.device) -> Tensor:
    found: list[Tensor] = []
    for batch in data.evaluation_loader("val", device):
        found.append(batch.images)
        if sum(len(images) for images in found) >= n:
            break
    return torch.cat(found)[:n]
