"""The spectrum of latents beside that of images: high frequencies which a diffusion model would have to learn.

After Skorokhodov et al. 2025 and Spectrum Matching (arXiv 2603.14645). The images are averaged over each cell, so that
both have one size, and channels are standardised, so that neither their scale nor their means count. By the discrete
cosine transform, which does not see an edge where opposite borders meet, as a Fourier transform does.

Shapes: n maps, c channels, h w height and width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.errors import DataError
from lehr.evaluation.image_errors import dct
from lehr.evaluation.probes.chart import chart
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs, lacks_map

HIGH = 0.25
"""Cycles a cell, half of the highest frequency along an axis."""
MOST_EXCESS = 6.0
"""dB: latents have four times the share of high frequencies that images of their size have."""
LEAST_SHARE = 0.05
"""And so much of the power of latents: of images that have next to no high frequencies any latents have more."""
_BINS = 16
_LEAST_SIDE = 8
_NOTHING = 1e-12  # of the power of all coefficients: what rounding makes of maps that are constant each
_ROUNDING = 1e-6  # of a channel's mean: less is what float32 makes of a constant


@dataclass(frozen=True)
class Spectrum:
    """Of maps whose channels are standardised.

    Attributes:
        frequency: cycles a cell, the mean of each ring, up to 0.5.
        power: the mean over the ring's coefficients, channels and maps.
        slope: of ln power on ln frequency: 0 of white noise, about -2 of photographs.
        high_share: of the power of all coefficients but the mean's, that beyond `HIGH`.
    """

    frequency: list[float]
    power: list[float]
    slope: float
    high_share: float


def spectrum(maps: Tensor) -> Spectrum:
    """The spectrum of maps (n, c, h, w); channels that are the same everywhere are left out.

    Raises:
        ValueError: if there is none that is not.
    """
    x = maps.double()
    std, mean = torch.std_mean(x, (0, 2, 3), correction=0, keepdim=True)
    varies = (std > _ROUNDING * mean.abs()).flatten()
    if not varies.any():
        raise ValueError("all channels are the same everywhere")
    x = ((x - mean) / std)[:, varies]
    height, width = x.shape[2:]
    power = (dct(height).to(x) @ x @ dct(width).to(x).T).square().mean((0, 1))
    u, v = (torch.arange(side, dtype=torch.float64, device=x.device) / (2 * side) for side in (height, width))
    frequency = torch.hypot(u.view(-1, 1), v)
    total = power.sum() - power[0, 0]
    bins = max(4, min(_BINS, min(height, width) // 2))
    ring = (frequency * 2 * bins).ceil().long()  # 1 to bins up to 0.5, 0 the mean, more in the corner
    found = [(frequency[ring == k].mean(), power[ring == k].mean()) for k in range(1, bins + 1) if (ring == k).any()]
    points = torch.tensor(found, dtype=torch.float64)
    logs = points.clamp(min=1e-300).log()
    f, p = logs[:, 0] - logs[:, 0].mean(), logs[:, 1] - logs[:, 1].mean()
    slope = float((f * p).sum() / f.square().sum())
    share = float(power[frequency > HIGH].sum() / total) if total > _NOTHING * power.sum() else 0.0
    return Spectrum(points[:, 0].tolist(), points[:, 1].tolist(), slope, share)


def _spectrum(inputs: ProbeInputs) -> Probed:
    latents = [posterior.mean for posterior in inputs.posteriors]
    of_first = [(x, z) for x, z in zip(inputs.images, latents, strict=True) if z.shape[2:] == latents[0].shape[2:]]
    images = [F.adaptive_avg_pool2d(x, (z.shape[2], z.shape[3])) for x, z in of_first]
    try:
        ours, theirs = spectrum(torch.cat([z for _, z in of_first])), spectrum(torch.cat(images))
    except ValueError as error:
        raise DataError(f"latents or images: {error}") from error
    excess = 10 * math.log10(max(ours.high_share, 1e-12) / max(theirs.high_share, 1e-12))
    values = {
        "excess": excess,
        "slope": ours.slope,
        "slope_of_images": theirs.slope,
        "high_share": ours.high_share,
        "high_share_of_images": theirs.high_share,
    }
    sentence = (
        f"{ours.high_share:.0%} of the power of latents lies beyond {HIGH:g} cycles a cell, of images of their size "
        f"{theirs.high_share:.0%}; it falls as f^{ours.slope:.1f}, that of images as f^{theirs.slope:.1f}"
    )
    curves = {
        name: [(math.log10(f), math.log10(max(p, 1e-12))) for f, p in zip(s.frequency, s.power, strict=True)]
        for name, s in (("latents", ours), ("images", theirs))
    }
    fault = excess > MOST_EXCESS and ours.high_share > LEAST_SHARE
    return Probed(values, sentence, fault, chart(curves, "log10 cycles a cell", "log10 power"))


def _lacks(inputs: ProbeInputs) -> str | None:
    if (reason := lacks_map(inputs)) is not None:
        return reason
    side = min(inputs.posteriors[0].mean.shape[2:])
    return None if side >= _LEAST_SIDE else f"needs latent maps of {_LEAST_SIDE} cells along each side, here {side}"


SPECTRUM = Probe("spectrum", _spectrum, _lacks, cheap=True)
