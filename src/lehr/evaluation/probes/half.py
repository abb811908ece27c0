"""Activations that are infinite in float16, as those of the autoencoder of SDXL are."""

from __future__ import annotations

import math

from lehr.evaluation.half import Half, measure_half
from lehr.evaluation.probes.chart import chart
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs

LEAST_HEADROOM = 1.0
"""Bits: other images may well have activations twice as large, and what is closer to the limit overflows there."""
_HIGHEST = 2.0**24  # of the picture, for what is infinite too
_IMAGES = 4
"""The largest there are: it is large images that have large activations."""
_EMULATED = "float32, each result rounded to float16"


def _half(inputs: ProbeInputs) -> Probed:
    largest = sorted(inputs.images, key=lambda batch: -batch.shape[2] * batch.shape[3])
    images = largest[0][:_IMAGES].to(inputs.device)
    found = measure_half(inputs.model, [images], inputs.likelihood.mean)
    values = {
        "headroom": found.headroom,
        "largest": found.largest[found.worst],
        "layer": found.worst,
        "first_over": found.first_over,
        "broken_share": found.broken_share,
        "psnr": found.psnr,
        "computed_in": None if found.broken_share is None else _EMULATED if found.is_emulated else "float16",
    }
    fault = found.headroom < LEAST_HEADROOM or bool(found.broken_share)
    points = [(i, _height(value)) for i, value in enumerate(found.largest.values())]
    picture = chart({"largest |activation|": points}, "layers, in order", "log2", level=16.0)
    return Probed(values, _sentence(found), fault, picture)


def _height(largest: float) -> float:
    """In the picture: within what numbers of float32 have."""
    return math.log2(min(max(largest, 2.0**-10), _HIGHEST)) if largest == largest else math.log2(_HIGHEST)


def _sentence(found: Half) -> str:
    most = found.largest[found.worst]
    if found.first_over is not None:
        text = f"activations overflow float16 from {found.first_over} on, the largest is {most:,.0f} ({found.worst})"
    else:
        room = f"{found.headroom:.1f} bits below the 65,504 of float16"
        text = f"the largest activation is {most:,.4g} ({found.worst}), {room}"
    how = f" ({_EMULATED})" if found.is_emulated else ""
    if found.broken_share:
        begins = f", from {found.broken} on" if found.broken != found.first_over else ""
        return f"{text}; in float16{how} {found.broken_share:.0%} of the pixel values are not finite{begins}"
    if found.psnr is not None:
        return f"{text}; images in float16{how} are within {found.psnr:.0f} dB of those in float32"
    return f"{text}; it does not compute in float16 here" if found.broken_share is None else text


def _lacks(inputs: ProbeInputs) -> str | None:
    return None if any(inputs.model.children()) else "the model has no modules whose activations one could look at"


HALF = Probe("fp16", _half, _lacks)
