"""A bright spot: a place of the latent map whose numbers are far larger than those around it, whatever the image is.

Networks with group norms can make one to tell the whole image something (the VAE of Stable Diffusion 1 has it, and so
had StyleGAN as droplets, Karras et al. 2020). Diffusion models then have to learn it, and an edit there changes all.

What all images have at one place is looked at, the median over images: what single images hold goes. Of it each place
is compared with the largest and the smallest around it, so that a subject in the middle, on a plain ground, is no spot.
The border is left out: convolutions pad it with zeros, and it differs in every model.

Shapes: b batch, zc zh zw latent map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.errors import NoDensity
from lehr.evaluation.probes.pictures import beside, heat
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs, lacks_map

LEAST_Z = 8.0
"""Robust standard deviations: of 10,000 places of a normal distribution none is at 6; real maps have longer ends."""
LEAST_EXCESS = 0.5
"""And half as large again as what is around it: of a map that hardly varies the slightest thing is many deviations."""
LEAST_LOGVAR = 1.0
"""The same of the log-variance, in nats: the standard deviation differs by a factor of 1.6."""
_BORDER = 2  # cells that the padding of an encoder's last convolutions reaches
_AROUND = 5
_LEAST_CELLS = 2 * _BORDER + _AROUND
_MAD = 1.4826  # of a normal distribution the standard deviation over the median absolute deviation
_LEAST_SCALE = 1e-3  # of the map's median: below it differences are rounding
_LEAST_IMAGES = 8
_IMAGES = 16  # at other sizes than their own


def _measure(inputs: ProbeInputs) -> Probed:
    found = [_at_size(inputs, size) for size in _sizes(inputs)]
    worst = max(found, key=lambda one: one["z"])
    spots = [one for one in found if one["is_spot"]]
    values: dict[str, Any] = {
        "z": worst["z"],
        "excess": worst["excess"],
        "logvar_z": max((one["logvar_z"] for one in found if one["logvar_z"] is not None), default=None),
        "border_to_centre": found[0]["border"],
        "size": [one["size"] for one in found],
        "z_by_size": [one["z"] for one in found],
        "row": [one["row"] for one in found],
        "column": [one["column"] for one in found],
    }
    if spots:
        sentence = "; ".join(_words(one) for one in spots)
    else:
        sentence = f"no place stands out: at most {worst['z']:.1f} robust standard deviations, of {len(found)} sizes"
    sentence += f"; at the border, which is padded, |z| is {found[0]['border']:.2f} times that within"
    picture = beside([heat(one["map"], 0.0, float(one["map"].max())) for one in found])
    return Probed(values, sentence, bool(spots), picture)


def _words(one: dict[str, Any]) -> str:
    where = f"at {one['size']} pixels, row {one['row']} column {one['column']} of {one['rows']} x {one['columns']}"
    if one["is_norm"]:
        how = f"by {one['excess']:+.1f} times the median, {one['z']:.0f} robust deviations"
        return f"{where} |z| lies beyond all around it {how}"
    return f"{where} the log-variance differs by {one['logvar_by']:+.1f} nats from that around it"


def _sizes(inputs: ProbeInputs) -> list[int | None]:
    """Shorter sides, None for images as they are, which come first."""
    own = {min(batch.shape[2:]) for batch in inputs.images}
    return [None, *(size for size in inputs.sizes if size not in own and size >= _LEAST_CELLS * inputs.factor)]


def _at_size(inputs: ProbeInputs, size: int | None) -> dict[str, Any]:
    norms, logvars = _maps(inputs, size)
    z, by, row, column = outlier(norms)
    level = float(norms.median())
    excess = by / max(level, 1e-30)
    is_norm = z > LEAST_Z and abs(excess) > LEAST_EXCESS
    inside = norms[_BORDER:-_BORDER, _BORDER:-_BORDER]
    border = (norms.sum() - inside.sum()) / max(1, norms.numel() - inside.numel()) / max(float(inside.mean()), 1e-30)
    logvar_z, logvar_by, is_logvar = None, 0.0, False
    if logvars is not None:
        logvar_z, logvar_by, *place = outlier(logvars)
        is_logvar = logvar_z > LEAST_Z and abs(logvar_by) > LEAST_LOGVAR
        if is_logvar and not is_norm:
            row, column = place
    return {
        "map": norms, "z": z, "excess": excess, "is_norm": is_norm, "logvar_z": logvar_z, "logvar_by": logvar_by,
        "is_spot": is_norm or is_logvar, "row": row, "column": column, "rows": norms.shape[0],
        "columns": norms.shape[1], "border": float(border), "size": size or min(inputs.images[0].shape[2:]),
    }  # fmt: skip


def _maps(inputs: ProbeInputs, size: int | None) -> tuple[Tensor, Tensor | None]:
    """Median over images of |E[z|x]| and of the mean log-variance over channels, (zh, zw) each, float64.

    Of images of several sizes those are taken that are as the first are. No log-variance where it is fixed or none.
    """
    shape = inputs.images[0].shape[2:]
    if size is None:
        posteriors = [q for x, q in zip(inputs.images, inputs.posteriors, strict=True) if x.shape[2:] == shape]
    else:
        chosen = [x for x in inputs.images if x.shape[2:] == shape]
        sides = [round(side * size / min(shape)) for side in shape]
        few = torch.cat(chosen)[:_IMAGES].split(max(1, len(chosen[0]) * min(shape) ** 2 // size**2))
        posteriors = [
            inputs.encode(F.interpolate(x, sides, mode="bilinear", antialias=True, align_corners=False)) for x in few
        ]
    norms = torch.cat([q.mean.double().norm(dim=1) for q in posteriors])
    try:
        logvars = torch.cat([q.normal().logvar.double().mean(1) for q in posteriors])
    except NoDensity:
        return norms.median(0).values, None
    return norms.median(0).values, logvars.median(0).values if float(logvars.std()) > 0 else None


def outlier(values: Tensor) -> tuple[float, float, int, int]:
    """Of a map (h, w) the place that lies furthest beyond all that is around it: robust z, by how much, row, column.

    What is around a place are the 16 at a distance of two, so a spot may be three cells wide, and the corner of a
    subject is none. The border, two cells wide, is left out.
    """
    padded = F.pad(values[None, None], (_AROUND // 2,) * 4, mode="replicate")
    around = padded.unfold(2, _AROUND, 1).unfold(3, _AROUND, 1).flatten(-2)[0, 0]
    places = torch.arange(_AROUND**2).view(_AROUND, _AROUND)
    ring = around[..., torch.cat([places[0], places[-1], places[1:-1, 0], places[1:-1, -1]])]
    inside = slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER)
    beyond = (values - values.clamp(ring.min(-1).values, ring.max(-1).values))[inside]
    rough = (values - around.median(-1).values)[inside]
    scale = _MAD * float((rough - rough.median()).abs().median())
    scale = max(scale, _LEAST_SCALE * float(values.abs().median()), 1e-12)
    row, column = divmod(int(beyond.abs().argmax()), beyond.shape[1])
    by = float(beyond[row, column])
    return abs(by) / scale, by, row + _BORDER, column + _BORDER


def _lacks(inputs: ProbeInputs) -> str | None:
    if reason := lacks_map(inputs):
        return reason
    if len(inputs) < _LEAST_IMAGES:
        return f"{len(inputs)} images are too few to tell a spot from what they hold, {_LEAST_IMAGES} or more do"
    cells = min(min(batch.shape[2:]) for batch in inputs.images) // inputs.factor
    return None if cells >= _LEAST_CELLS else f"latent maps of {cells} cells are nearly all border"


SPOT = Probe("bright_spot", _measure, _lacks, cheap=True)
