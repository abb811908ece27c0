"""A shift of colours, and pixel values that a picture cannot have."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lehr.evaluation.pictures import image_grid
from lehr.evaluation.probes.probe import LEVEL, Probe, Probed, ProbeInputs

LEAST_SHIFT = LEVEL
"""A whole grey level of the mean of all images: less is not seen even where two pictures are laid on each other."""
LEAST_ERRORS = 3.0
"""Standard errors of the mean over images: of few images a mean differs from 0 by chance."""
MOST_CLIPPED = 0.01
"""One value in a hundred. Bright pixels whose value is met but for noise lie above 1 half of the time, so those count
only that are off by more than rounding, and of pixels that are not at the end of the range themselves."""
_SHOWN = 8


def _colour(inputs: ProbeInputs) -> Probed:
    """The mean of reconstruction - image by channel, signed, before clamping: clamped pixels would hide a shift."""
    pairs = zip(inputs.images, inputs.reconstructions, strict=True)
    shifts = torch.cat([(y.double() - x.double()).mean((2, 3)) for x, y in pairs])  # (n, c)
    mean = shifts.mean(0)
    n = len(shifts)
    errors = shifts.std(0) / math.sqrt(n) if n > 1 else torch.full_like(mean, math.inf)
    faulty = (mean.abs() > LEAST_SHIFT) & (mean.abs() > LEAST_ERRORS * errors)
    fault = bool(faulty.any())
    worst = int((mean.abs() * faulty if fault else mean.abs()).argmax())
    shift = float(mean[worst])
    way = "brighter" if shift > 0 else "darker"
    sentence = (
        f"channel {worst} of reconstructions is {way} by {abs(shift) / LEVEL:.2f} levels of 255 on average"
        f" (standard error {float(errors[worst]) / LEVEL:.2f})"
    )
    values = {"shift": shift, "standard_error": float(errors[worst]), "per_channel": mean.tolist()}
    return Probed(values, sentence, fault)


def _saturation(inputs: ProbeInputs) -> Probed:
    """Values out of [0, 1] where the image's are within: they are cut off in every picture."""
    out = within = 0
    most = 0.0
    for x, y in zip(inputs.images, inputs.reconstructions, strict=True):
        over, inside = _over(x, y), _inside(x)
        out += int((over > 0).sum())
        within += int(inside.sum())
        most = max(most, float(over.max()))
    share = out / max(1, within)
    sentence = (
        f"{share:.2%} of values that are within the range in the image are out of it in the reconstruction, by up to "
        f"{most / LEVEL:.1f} levels of 255"
    )
    picture = _overshoot_picture(inputs) if out else None
    return Probed({"clipped_share": share, "largest": most}, sentence, share > MOST_CLIPPED, picture)


def _inside(x: Tensor) -> Tensor:
    return (x >= LEVEL) & (x <= 1 - LEVEL)


def _over(x: Tensor, y: Tensor) -> Tensor:
    """How far values of `y` lie out of [0, 1], 0 where that is rounded away or x is at an end of the range itself."""
    over = torch.maximum(-y, y - 1)
    return over.masked_fill(~_inside(x) | (over < LEVEL / 2), 0.0)


def _overshoot_picture(inputs: ProbeInputs) -> Tensor:
    """Images, below them where their reconstructions leave the range (white: at least 8 levels)."""
    x, y = inputs.images[0][:_SHOWN], inputs.reconstructions[0][:_SHOWN]
    shown = (_over(x, y) / (8 * LEVEL)).clamp(0, 1)
    return image_grid(torch.cat([x, shown]), columns=len(x))


COLOUR = Probe("colour", _colour, cheap=True)
SATURATION = Probe("saturation", _saturation, cheap=True)
