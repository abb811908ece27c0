"""What attention does: it is taken out, and images, latents, time and weights are compared.

At the lowest resolution it makes the cost of a pass quadratic in the number of cells. Whether a trained model needs it
only a comparison can tell; one that is trained without it is another model (model.mid_attention=false).
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from lehr.evaluation.pictures import error_images, image_grid
from lehr.evaluation.probes.frozen import attentions_of
from lehr.evaluation.probes.noise import ROUNDING
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs
from lehr.evaluation.reconstruction import mse, psnr
from lehr.models.autoencoder import Autoencoder

_REPEATS = 3
_IMAGES = 16
_SHOWN = 8
_LARGEST = 1024  # pixels a side, of what is timed


class _Nothing(nn.Module):
    """In place of a block that adds something to its input."""

    def forward(self, x: Tensor, *others: Any, **options: Any) -> Tensor:
        return x


def without_attention(model: Autoencoder) -> Autoencoder:
    """A copy of the model whose blocks of attention add nothing."""
    copied = copy.deepcopy(model)
    inside = {id(part) for part in attentions_of(copied)}
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if id(child) in inside:
                setattr(parent, name, _Nothing())
    return copied


def _measure(inputs: ProbeInputs) -> Probed:
    few = inputs.images[0][:_IMAGES]
    whole = replace(inputs, images=(few,))
    without = replace(whole, model=without_attention(inputs.model))
    a, b = whole.reconstructions[0].clamp(0, 1).double(), without.reconstructions[0].clamp(0, 1).double()
    between = float(psnr(mse(a, b).mean()))
    to_images = [float(psnr(mse(few.double(), y).mean())) for y in (a, b)]
    z, other = whole.posteriors[0].mean.double(), without.posteriors[0].mean.double()
    parameters = sum(p.numel() for part in attentions_of(inputs.model) for p in part.parameters())
    of_all = parameters / sum(p.numel() for p in inputs.model.parameters())
    sizes = [size for size in inputs.sizes if size <= _LARGEST] or [min(few.shape[2:])]
    seconds = [(_seconds(whole, size), _seconds(without, size)) for size in sizes]
    saved = [1 - less / more for more, less in seconds]
    values: dict[str, Any] = {
        "psnr": between,
        "psnr_with": to_images[0],
        "psnr_without": to_images[1],
        "latents_change": float((z - other).norm() / z.norm().clamp(min=1e-300)),
        "parameters": parameters,
        "parameters_share": of_all,
        "size": sizes,
        "seconds_with": [more for more, _ in seconds],
        "seconds_without": [less for _, less in seconds],
        "time_saved": saved,
    }
    does = "does nothing that a picture shows" if between > ROUNDING else f"changes images by {between:.1f} dB"
    times = ", ".join(f"{max(share, 0):.0%} of the time at {size}" for share, size in zip(saved, sizes, strict=True))
    sentence = (
        f"the attention {does}: {to_images[0]:.2f} dB to the images with it, {to_images[1]:.2f} without; latents "
        f"change by {values['latents_change']:.1%}; it is {parameters:,} weights ({of_all:.1%}), and {times}"
    )
    shown = [image[:_SHOWN].float() for image in (a, b)]
    picture = image_grid(torch.cat([*shown, error_images(*shown)]), columns=len(shown[0]))
    return Probed(values, sentence, between > ROUNDING, picture)


def _seconds(inputs: ProbeInputs, size: int) -> float:
    """To encode and decode one image of this size: the median of a few, after one that is not counted."""
    c, h, w = inputs.model.image_shape
    sides = [round(side * size / min(h, w)) for side in (h, w)]
    x = torch.full((1, c, *sides), 0.5, device=inputs.device)
    found = []
    for _ in range(1 + _REPEATS):
        _wait(inputs.device)
        start = time.perf_counter()
        inputs.model.decode(inputs.model.encode(x).mean)
        _wait(inputs.device)
        found.append(time.perf_counter() - start)
    return median(found[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _lacks(inputs: ProbeInputs) -> str | None:
    return None if attentions_of(inputs.model) else "the model has no attention"


ATTENTION = Probe("attention", _measure, _lacks)
