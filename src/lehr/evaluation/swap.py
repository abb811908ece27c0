"""Encode with one autoencoder, decode with another of the same latent space, as people swap VAEs.

Shapes: n images, c h w image, `*latent` latent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.evaluation.autoencoding import decoded
from lehr.evaluation.image_errors import ImageErrors
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Likelihood

Convention = tuple[tuple[float, ...], tuple[float, ...]]
"""(scales, shifts), one of each or one for each channel: a diffusion model sees (z - shift) * scale."""


@dataclass(frozen=True)
class Swap:
    """Mean PSNR in dB over the same images, of every encoder with every decoder.

    Attributes:
        names: of the models.
        psnr: encoder -> decoder -> dB, latents handed on as they are.
        scaled: the same of latents that are scaled by the encoder's convention and back by the decoder's, as by who
            swaps the VAE of a diffusion pipeline; None where that is not another number, or not known.
        note: on the conventions, in a line.
    """

    names: list[str]
    psnr: dict[str, dict[str, float]]
    scaled: dict[str, dict[str, float]] | None
    note: str


def latent_problems(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A line for each model whose latents the first cannot decode."""
    (first, expected), *others = shapes.items()
    return [
        f"swap=true: latents of {name} are {_shown(shape)}, and those of {first} {_shown(expected)}: not the same space"
        for name, shape in others
        if shape != expected
    ]


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@torch.inference_mode()
def swap(
    models: Mapping[str, tuple[Autoencoder, Likelihood]],
    means: Mapping[str, Tensor],
    batches: Callable[[], Iterable[Tensor]],
    conventions: Mapping[str, Convention | None],
) -> Swap:
    """Decode the latents of each encoder by each decoder.

    Args:
        models: in evaluation mode, where the images are.
        means: name -> (n, *latent) E[z|x] of the images, of one shape.
        batches: gives the images (b, c, h, w) in the order of `means`.
        conventions: name -> what its latents are scaled by; None where nobody says.
    """
    known = {name: convention for name, convention in conventions.items() if convention is not None}
    scaled = len(known) == len(conventions) and len(set(known.values())) > 1
    psnr = _matrix(models, means, batches, None)
    lines = [f"{name} {_range(scales)} and {_range(shifts)}" for name, (scales, shifts) in known.items()]
    note = f"scaling and shift factor: {'; '.join(lines)}" if lines else "no scaling factor is known of either"
    return Swap(list(models), psnr, _matrix(models, means, batches, known) if scaled else None, note)


def _matrix(
    models: Mapping[str, tuple[Autoencoder, Likelihood]],
    means: Mapping[str, Tensor],
    batches: Callable[[], Iterable[Tensor]],
    conventions: Mapping[str, Convention] | None,
) -> dict[str, dict[str, float]]:
    parts: dict[str, dict[str, list[ImageErrors]]] = {e: {d: [] for d in models} for e in models}
    start = 0
    for images in batches():
        sides = (int(images.shape[2]), int(images.shape[3]))
        for encoder in models:
            z = means[encoder][start : start + len(images)].to(images.device)
            for decoder, (model, likelihood) in models.items():
                handed = z if conventions is None else _rescaled(z, conventions[encoder], conventions[decoder])
                images_of_it = decoded(model, likelihood, handed, sides)
                parts[encoder][decoder].append(ImageErrors.of(images, images_of_it))
        start += len(images)
    return {e: {d: ImageErrors.cat(found).means()["psnr"] for d, found in row.items()} for e, row in parts.items()}


def _rescaled(z: Tensor, own: Convention, other: Convention) -> Tensor:
    """What the other decodes in place of `z`, where both are scaled to the same."""
    (own_scale, own_shift), (scale, shift) = ([_of_channels(part, z) for part in one] for one in (own, other))
    return (z - own_shift) * own_scale / scale + shift


def _of_channels(values: tuple[float, ...], z: Tensor) -> Tensor:
    """As numbers that `z` (n, zc, ...) is multiplied by."""
    return torch.tensor(values, dtype=z.dtype, device=z.device).view(-1, *(1 for _ in z.shape[2:]))


def _range(values: tuple[float, ...]) -> str:
    low, high = min(values), max(values)
    return f"{low:.4g}" if len(values) == 1 else f"{low:.4g} to {high:.4g} by channel"
