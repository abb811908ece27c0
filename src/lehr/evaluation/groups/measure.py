"""A pass over images: the errors of their reconstructions one by one, and what the images are like.

Shapes: n images, b of them in a batch, c h w image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from lehr.data.batch import Batch
from lehr.evaluation.autoencoding import decoded
from lehr.evaluation.defects import gradient_magnitude
from lehr.evaluation.groups.report import Covariates
from lehr.evaluation.image_errors import ImageErrors, Perceptual
from lehr.evaluation.subject import Progress
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Likelihood

Reconstruct = Callable[[Tensor], Tensor]
"""Images (b, c, h, w) to what a model makes of them."""
_FAINTEST = 1e-6  # of a mean squared gradient: an image of one colour is at -60 dB


def reconstruction_by(model: Autoencoder, likelihood: Likelihood) -> Reconstruct:
    """E[x|z] at the mean of q(z|x)."""

    def reconstruct(images: Tensor) -> Tensor:
        return decoded(model, likelihood, model.encode(images).mean, images.shape[2:])

    return reconstruct


@torch.inference_mode()
def measure(
    batches: Iterable[Batch], models: Sequence[Reconstruct], perceptual: Perceptual | None, line: Progress
) -> tuple[list[ImageErrors], Covariates]:
    """The errors of each of the models, and the covariates of the images; in the order of these.

    Args:
        batches: all images, in order.
        models: at least one.
        perceptual: LPIPS; None without.
        line: is advanced by each image.
    """
    parts: list[list[ImageErrors]] = [[] for _ in models]
    brightness, detail = [], []
    for batch in batches:
        images = batch.images
        for part, reconstruct in zip(parts, models, strict=True):
            part.append(ImageErrors.of(images, reconstruct(images), perceptual))
        pixels = images[:, :3].double().cpu()  # without opacity
        brightness.append(pixels.flatten(1).mean(1))
        detail.append(_detail(pixels))
        line.advance(len(batch))
    return [ImageErrors.cat(part) for part in parts], Covariates(torch.cat(brightness), torch.cat(detail))


def _detail(pixels: Tensor) -> Tensor:
    """Mean squared gradient in dB, (b,)."""
    if min(pixels.shape[2:]) < 2:
        return pixels.new_full((len(pixels),), 0.0)
    energy = gradient_magnitude(pixels).square().flatten(1).mean(1)
    return 10 * energy.clamp(min=_FAINTEST).log10()


@torch.inference_mode()
def pairs_of(
    batches: Iterable[Batch], rows: Iterable[int], reconstruct: Reconstruct
) -> dict[int, tuple[Tensor, Tensor]]:
    """Some of the images (c, h, w) by their row, each with its reconstruction, in [0, 1] on the CPU."""
    wanted = set(rows)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for batch in batches:
        here = [row for row in range(batch.start, batch.start + len(batch)) if row in wanted]
        if here:
            images = batch.images[torch.tensor(here) - batch.start]
            made = reconstruct(images).clamp(0, 1).cpu()
            found |= {row: (images[i].cpu(), made[i]) for i, row in enumerate(here)}
    return found
