"""Grids of samples from N(agg_mean, agg_var), from the prior, along lines between latents, and of reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lehr.data.module import ImageDataModule
from lehr.evaluation.pictures import image_grid, save_png
from lehr.models.components import Components
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity, Normal
from lehr.posterior.interpolation import interpolate
from lehr.run.contents import GRIDS
from lehr.run.execution import Execution

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
    """Each grid as (c, H, W) uint8: aggregate, prior, interpolation, reconstruction.

    Images are the means of p(x|z). Reconstructions and interpolations are of the first validation images and use
    the mean of q(z|x). Without statistics of q(z) there is none of the aggregate posterior.
    """
    model, pictures = components.model, {}
    images = _first_validation_images(data, max(grids.n // 2, 2 * grids.interpolations), execution.device)
    with execution.evaluating(components):
        means = model.encode(images).mean
        if aggregate is not None:
            pictures["aggregate"] = _samples(components, Normal.of(aggregate), grids.n, execution.device)
        pictures["prior"] = _samples(components, components.prior.density(model.encode), grids.n, execution.device)
        if pairs := min(grids.interpolations, len(means) // 2):
            lines = interpolate(means[:pairs], means[pairs : 2 * pairs], grids.steps)  # (steps, pairs, *latent)
            pictures["interpolation"] = _decode(components, lines.transpose(0, 1).flatten(0, 1), grids.steps)
        pictures["reconstruction"] = _reconstruct(components, images[: max(grids.n // 2, 1)], means)
    return pictures


def write_grids(folder: Path, pictures: Mapping[str, Tensor], model: str | None = None) -> None:
    """Write `NAME.png` for each of the `pictures` (c, H, W) of the trained model of this id.

    Those of `GRIDS` that there are none of are removed, as pictures of a model that is no more.
    """
    for name, picture in pictures.items():
        save_png(folder / f"{name}.png", picture, model)
    for name in GRIDS:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)


def _reconstruct(components: Components, images: Tensor, means: Tensor) -> Tensor:
    """Rows of images, each above the row of their reconstructions; whole rows only."""
    columns = min(8, len(images))
    whole = len(images) // columns * columns
    reconstructed = components.likelihood.mean(components.model.decode(means[:whole]))
    rows = zip(images[:whole].split(columns), reconstructed.split(columns), strict=True)
    return image_grid(torch.cat([row for pair in rows for row in pair]), columns)


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
