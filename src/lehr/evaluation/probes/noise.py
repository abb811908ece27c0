"""Noise of q(z|x) that does nothing: a KL weight of 1e-6 leaves standard deviations of a hundredth of the means.

Then a sample decodes to what the mean does, latents are a deterministic code whatever the KL term says, and half
precision rounds the noise away. Diffusion models are trained on such latents all the same; what is lost is smoothness:
the decoder has not learnt to bear errors that are larger than this noise.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import ConfigError
from lehr.evaluation.pictures import error_images, image_grid
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs
from lehr.evaluation.reconstruction import mse, psnr
from lehr.objective.terms.laplacian import pyramid
from lehr.posterior.rounding import HALVES, lost_share

ROUNDING = 10 * math.log10(12 * 255**2)
"""58.9 dB, the PSNR of an image to its rounding to 8 bits: what is nearer than that is the same picture."""
MOST_LOST = 0.5
"""Half of the noise: more often than not a sample in bfloat16 is the mean."""
_SHOWN = 8
_IMAGES = 16  # that are looked at by LPIPS, which costs more than a small model


def _measure(inputs: ProbeInputs) -> Probed:
    sampled = _sampled(inputs)
    perceptual, distance = _perceptual(inputs)
    between: list[Tensor] = []
    to_images: dict[str, list[Tensor]] = {"mean": [], "sample": []}
    far: list[Tensor] = []
    for x, at_mean, at_sample in zip(inputs.images, inputs.reconstructions, sampled, strict=True):
        a, b = at_mean.clamp(0, 1).double(), at_sample.clamp(0, 1).double()
        between.append(mse(a, b))
        if (left := _IMAGES - sum(map(len, far))) > 0:
            far.append(distance(a[:left].float(), b[:left].float()).double())
        to_images["mean"].append(mse(x.double(), a))
        to_images["sample"].append(mse(x.double(), b))
    # of the mean error, not a mean of decibels, which a single image that is met exactly makes infinite
    decibels = {name: float(psnr(torch.cat(errors).mean())) for name, errors in to_images.items()}
    found = float(psnr(torch.cat(between).mean()))
    variances = torch.cat([q.var.double().flatten(1) for q in inputs.posteriors if _is_like_first(inputs, q)])
    means = torch.cat([q.mean.double().flatten(1) for q in inputs.posteriors if _is_like_first(inputs, q)])
    share = math.sqrt(float(variances.mean()) / max(float(means.var(0, correction=0).mean()), 1e-300))
    lost = {name: float(lost_share(means, variances.sqrt(), dtype).mean()) for name, dtype in HALVES.items()}
    values: dict[str, Any] = {
        "psnr": found,
        perceptual: float(torch.cat(far).mean()),
        "psnr_mean": decibels["mean"],
        "psnr_sample": decibels["sample"],
        "std_share": share,
        "lost_bfloat16": lost["bfloat16"],
        "lost_float16": lost["float16"],
    }
    is_fault = found > ROUNDING or lost["bfloat16"] > MOST_LOST
    sentence = (
        f"decoding a sample is {found:.1f} dB from decoding the mean ({values[perceptual]:.4f} by "
        f"{'LPIPS' if perceptual == 'lpips' else 'the Laplacian pyramid'}); the noise has {share:.4f} of the standard "
        f"deviation of the means, and bfloat16 rounds {lost['bfloat16']:.0%} of it away, float16 {lost['float16']:.0%}"
    )
    a, b = inputs.reconstructions[0][:_SHOWN], sampled[0][:_SHOWN]
    return Probed(values, sentence, is_fault, image_grid(torch.cat([a, b, error_images(a.clamp(0, 1), b)]), len(a)))


def _is_like_first(inputs: ProbeInputs, q: Any) -> bool:
    return q.latent_shape == inputs.posteriors[0].latent_shape


def _sampled(inputs: ProbeInputs) -> list[Tensor]:
    """E[x|z] at one sample of each image; the noise is a function of the seed and the image's place."""
    found, start = [], 0
    for q in inputs.posteriors:
        noise = randomness.rows("normal", inputs.seed, "probe/noise", start, start + len(q), q.noise_shape, "cpu")
        found.append(inputs.decode(q.sample(noise)))
        start += len(q)
    return found


def _perceptual(inputs: ProbeInputs) -> tuple[str, Any]:
    """A distance (b,) of two batches and its name: LPIPS where its weights are at hand, else that of pyramids."""
    from lehr.objective.terms.lpips import LPIPS

    try:
        network = LPIPS(inputs.model.image_shape).network
    except ConfigError:
        return "laplacian", _laplacian
    return "lpips", network


def _laplacian(x: Tensor, y: Tensor) -> Tensor:
    """Sum over levels of the mean absolute difference, pixels in [-1, 1], as of terms=laplacian."""
    return torch.stack([part.abs().flatten(1).mean(1) for part in pyramid(2 * (x - y), 5)]).sum(0)


def _lacks(inputs: ProbeInputs) -> str | None:
    if all(float(q.var.max()) == 0 for q in inputs.posteriors):
        return "the posterior is a point: there is no noise"
    return None


NOISE = Probe("noise", _measure, _lacks, cheap=True)
