"""Grids of samples from N(agg_mean, agg_var), from the prior, along lines between latents, and of reconstructions.

Shapes: n images (c, h, w), d flat latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lehr.data.module import ImageDataModule
from lehr.evaluation.fidelity import image_psnr
from lehr.evaluation.pictures import ERROR_SCALE, error_images, image_grid, save_png
from lehr.evaluation.reconstruction import mse
from lehr.models.components import Components
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity, Normal
from lehr.posterior.interpolation import interpolate, traverse
from lehr.run.contents import GRIDS
from lehr.run.execution import Execution
from lehr.run.measure import has_psnr

_SEED = 0  # of every picture of every run, so that runs can be compared picture by picture
_ROWS, _STEPS, _WIDTH = 8, 9, 2.5  # of the traversal: latents, images, and standard deviations to each side
_ENDS = 8  # worst reconstructions that are shown, and as many of the best
_LOOKED_AT, _FEWEST = (
    500,
    32,
)  # images that they are the worst and the best of, where they have 28 x 28 pixels; at least


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


@dataclass(frozen=True)
class Drawn:
    """A picture.

    Attributes:
        pixels: (c, H, W) uint8.
        note: what there is to say of it, which its file says too; None for nothing.
    """

    pixels: Tensor
    note: str | None = None


def draw_grids(
    components: Components,
    data: ImageDataModule,
    aggregate: AggregatePosterior | None,
    grids: Grids,
    execution: Execution,
    at_end: bool = True,
) -> dict[str, Drawn]:
    """Each grid by its name: aggregate, prior, interpolation, reconstruction, error, traversal, extremes.

    Images are the means of p(x|z). Reconstructions and interpolations are of the first validation images and use
    the mean of q(z|x). Without statistics of q(z), or where they are of latent maps of several sizes, there is none of
    the aggregate posterior; of binary pixels, whose errors are all or nothing, none of the error. There is a traversal
    of flat latents whose statistics there are. The extremes are drawn `at_end` alone: they take a pass of their own.
    """
    model, pictures = components.model, dict[str, Drawn]()
    images = _first_validation_images(data, max(grids.n // 2, 2 * grids.interpolations), execution.device)
    with execution.evaluating(components):
        means = model.encode(images).mean
        if aggregate is not None and aggregate.latent_shape == tuple(model.latent_shape):
            pictures["aggregate"] = _samples(components, Normal.of(aggregate), grids.n, execution.device)
            if len(aggregate.latent_shape) == 1:
                pictures["traversal"] = _traversal(components, aggregate, means)
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
        if at_end and data.n_val > 1:
            pictures["extremes"] = _extremes(components, data, execution.device)
    return {name: pictures[name] for name in GRIDS if name in pictures}


def write_grids(folder: Path, pictures: Mapping[str, Drawn], model: str | None = None) -> None:
    """Write `NAME.png` for each of the `pictures` of the trained model of this id.

    Those of `GRIDS` that there are none of are removed, as pictures of a model that is no more.
    """
    for name, picture in pictures.items():
        save_png(folder / f"{name}.png", picture.pixels, model, picture.note)
    for name in GRIDS:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)


def _traversal(components: Components, aggregate: AggregatePosterior, like: Tensor) -> Drawn:
    """A row for each of the most active latents, along which it alone moves; in the type of `like`, and where it is."""
    dimensions = aggregate.var_of_mean.argsort(descending=True, stable=True)[:_ROWS]
    z = traverse(aggregate.mean, aggregate.var.sqrt(), dimensions, _STEPS, _WIDTH)
    note = (
        f"rows from above: dimensions {', '.join(map(str, dimensions.tolist()))} of {len(aggregate.mean)} (from 0), by "
        f"Var(E[z|x]); columns: from E[z] - {_WIDTH:g} to E[z] + {_WIDTH:g} standard deviations of q(z)"
    )
    return _decode(components, z.flatten(0, 1).to(like), _STEPS, note)


def _worst(images: Tensor, reconstructed: Tensor, columns: int) -> Drawn:
    """Rows of images, below them their reconstructions and their errors; the largest error comes first."""
    order = mse(images, reconstructed).argsort(descending=True, stable=True)
    images, reconstructed = images[order], reconstructed[order]
    return _in_rows((images, reconstructed, error_images(images, reconstructed)), columns, ERROR_SCALE)


def _extremes(components: Components, data: ImageDataModule, device: torch.device) -> Drawn:
    """The worst reconstructions of validation images and the best, in rows as `_worst` has them, the worst first.

    Of at most `_LOOKED_AT` images, chosen at random, and of large ones fewer: they take no longer then. By PSNR, or of
    binary pixels by the distortion at the mean of q(z|x).
    """
    limit = max(_FEWEST, min(_LOOKED_AT, _LOOKED_AT * 28 * 28 // math.prod(data.shape)))
    n, columns = min(limit, data.n_val), min(_ENDS, limit // 2, data.n_val // 2)
    real, kept = has_psnr(components), None
    for batch in data.evaluation_loader("val", device, limit=limit):
        parameters = components.model.decode(components.model.encode(batch.images).mean)
        reconstructed = components.likelihood.mean(parameters)
        if real:
            goodness = image_psnr(batch.images, reconstructed)
        else:
            goodness = components.likelihood.log_prob(batch.images, parameters)
        found = goodness, batch.images, reconstructed
        together = found if kept is None else tuple(torch.cat(pair) for pair in zip(kept, found, strict=True))
        order = together[0].argsort(stable=True)
        rows = order if len(order) <= 2 * columns else torch.cat([order[:columns], order[-columns:]])
        kept = tuple(part[rows] for part in together)
    assert kept is not None
    goodness, images, reconstructed = kept
    values = [f"{value:.2f}" for value in (goodness if real else -goodness).tolist()]
    note = (
        f"of {n:,} validation images, by {'PSNR in dB' if real else 'distortion in nats'} at the mean of q(z|x), "
        f"the worst: {', '.join(values[:columns])}; the best: {', '.join(values[columns:])}; errors: {ERROR_SCALE}"
    )
    return _in_rows((images, reconstructed, error_images(images, reconstructed)), columns, note)


def _in_rows(kinds: tuple[Tensor, ...], columns: int, note: str | None = None) -> Drawn:
    """A row of images of the first kind, below it the same of the others; then the next ones."""
    rows = zip(*(images.split(columns) for images in kinds), strict=True)
    return Drawn(image_grid(torch.cat([row for together in rows for row in together]), columns), note)


def _samples(components: Components, density: LatentDensity, n: int, device: torch.device) -> Drawn:
    return _decode(components, density.sample(n, _SEED, device, stream="samples"))


def _decode(components: Components, z: Tensor, columns: int | None = None, note: str | None = None) -> Drawn:
    return Drawn(image_grid(components.likelihood.mean(components.model.decode(z)), columns), note)


def _first_validation_images(data: ImageDataModule, n: int, device: torch.device) -> Tensor:
    found: list[Tensor] = []
    for batch in data.evaluation_loader("val", device):
        found.append(batch.images)
        if sum(len(images) for images in found) >= n:
            break
    return torch.cat(found)[:n]
