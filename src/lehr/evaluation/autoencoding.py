"""An autoencoder on a set of images: how far off its reconstructions are, and what its latents hold and take.

Images are decoded at the mean of q(z|x). Shapes: n images, b of them in a batch, c h w image, `*latent` latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.evaluation.aggregate import AggregatePosteriorMetric
from lehr.evaluation.features import Features
from lehr.evaluation.image_errors import ImageErrors, Perceptual
from lehr.finite import require_finite_tensors
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.base import FirstStage
from lehr.models.first_stage.fit import fitting_sides
from lehr.objective.likelihood import Likelihood

_HALF = 16  # bits of a latent as caches of latents keep it


@dataclass(frozen=True)
class Latents:
    """What latents come to over some images. Of several channels and positions all are taken together.

    Attributes:
        shape: `*latent` of such an image.
        codes: how many codes there are where latents are codes, else 0.
        mean, std: of q(z); 1 / std is the scaling factor of latent diffusion, and the mean its shift factor.
        noise_std: the root of E[Var(z|x)].
        bits: that the latent of an image takes: 16 a number, or log2 of the number of codes at each position.
        rate_bits: E[KL(q(z|x) || N(0, I))] in bits an image; None where q(z|x) has no density.
        pixels: h * w of an image, which bits can be divided by.
    """

    shape: tuple[int, ...]
    codes: int
    mean: float
    std: float
    noise_std: float
    bits: float
    rate_bits: float | None
    pixels: int

    def numbers(self) -> dict[str, float]:
        """Those that the catalogue knows, by name."""
        found = {
            "latent_mean": self.mean,
            "latent_std": self.std,
            "latent_noise_std": self.noise_std,
            "bits": self.bits,
            "bits_per_pixel": self.bits / self.pixels,
        }
        if self.rate_bits is not None:
            found |= {"rate_bits": self.rate_bits, "rate_bits_per_pixel": self.rate_bits / self.pixels}
        return found


@dataclass(frozen=True)
class Passed:
    """What came of passing images through an autoencoder.

    Attributes:
        errors: of each image.
        latents: of all of them.
        features: (n, f) of the reconstructions; None where none were asked for.
        means: (n, *latent) E[z|x] on the CPU; None likewise.
    """

    errors: ImageErrors
    latents: Latents
    features: Tensor | None = None
    means: Tensor | None = None


def size_problem(model: Autoencoder, image_shape: tuple[int, int, int]) -> str | None:
    """Why a model does not take images (c, h, w), in a line; None if it does."""
    (channels, height, width), (c, h, w) = model.image_shape, image_shape
    if channels != c:
        return f"takes images of {channels} channel{'s' * (channels != 1)}, and these have {c}"
    if not model.any_size and (height, width) != (h, w):
        return f"takes images of {height} x {width} alone, and these are {h} x {w}"
    if isinstance(model, FirstStage):
        try:
            fitting_sides((h, w), model.factor, model.fit)
        except ValueError as error:
            return str(error)
    return None


def decoded(model: Autoencoder, likelihood: Likelihood, z: Tensor, sides: Sequence[int]) -> Tensor:
    """E[x|z], images (b, c, h, w) of these sides, for latents (b, *latent) of images that had them."""
    # images of several sizes have latents of one size, and `decode` takes these for those of the model's own size
    return likelihood.mean(model.decode_to(z, sides) if isinstance(model, FirstStage) else model.decode(z))


@torch.inference_mode()
def pass_through(
    model: Autoencoder,
    likelihood: Likelihood,
    batches: Iterable[Tensor],
    *,
    perceptual: Perceptual | None = None,
    features: Features | None = None,
    keep_means: bool = False,
    advance: Callable[[int], None] = lambda n: None,
) -> Passed:
    """Encode and decode images, once.

    Args:
        model, likelihood: in evaluation mode.
        batches: images (b, c, h, w) in [0, 1], all of one size, where the model is; two images or more.
        perceptual: LPIPS, if it is to be measured.
        features: what reconstructions are to be seen in, for rFID.
        keep_means: whether the means of all latents are wanted.
        advance: is called with the number of images that are done.

    Raises:
        NonFinite: if latents or reconstructions are NaN or infinite.
    """
    errors, seen, means = [], [], []
    metric: AggregatePosteriorMetric | None = None
    codes, sides = 0, (0, 0)
    for images in batches:
        posterior = model.encode(images)
        sides = (int(images.shape[2]), int(images.shape[3]))
        reconstructions = decoded(model, likelihood, posterior.mean, sides)
        where = f"{len(images):,} images"
        require_finite_tensors(where, {"the latents": posterior.mean, "the reconstructions": reconstructions})
        if metric is None:
            codes = 0 if posterior.usage is None else len(posterior.usage)
            metric = AggregatePosteriorMetric(posterior.latent_shape, codes).to(images.device)
        metric.update(posterior)
        errors.append(ImageErrors.of(images, reconstructions, perceptual))
        if features is not None:
            seen.append(features.features(reconstructions))
        if keep_means:
            means.append(posterior.mean.cpu())
        advance(len(images))
    assert metric is not None
    return Passed(
        errors=ImageErrors.cat(errors),
        latents=_summary(metric, posterior.latent_shape, codes, sides[0] * sides[1]),
        features=torch.cat(seen) if seen else None,
        means=torch.cat(means) if means else None,
    )


def _summary(metric: AggregatePosteriorMetric, shape: tuple[int, ...], codes: int, pixels: int) -> Latents:
    aggregate = metric.compute()
    numbers = math.prod(shape)
    positions = numbers // shape[0]
    return Latents(
        shape=shape,
        codes=codes,
        mean=float(aggregate.whole.mean),
        std=float(aggregate.whole.var.sqrt()),
        noise_std=float(aggregate.whole.mean_of_var.sqrt()),
        bits=positions * math.log2(codes) if codes else _HALF * numbers,
        rate_bits=None if aggregate.kl is None else float(aggregate.kl.sum()) / math.log(2),
        pixels=pixels,
    )
