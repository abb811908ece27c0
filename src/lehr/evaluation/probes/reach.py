"""How far one latent reaches: it is changed in float64, and the energy of the change counted by distance.

A network of convolutions alone reaches no further than its receptive field. Attention and, less well known, group norms
over the whole map make every pixel depend on every latent: so tiles have seams even without attention. Both are held
still (see `frozen`) to tell them apart from what is local.

Shapes: c h w image, zc zh zw latent map.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.evaluation.probes.frozen import Recorder, attentions_of, norms_of, receptive
from lehr.evaluation.probes.pictures import beside, heat
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs, lacks_map

FAR = 4
"""Cells: 32 pixels at f8, which is where the local change of a random decoder of latent diffusion has ended."""
MOST_FAR = 0.5
"""More of the energy of a change far away than near: the latent is no longer of its place. Random decoders have less
than a tenth (KL-f8, 0.077 with attention and group norms, 1e-4 with both held)."""
_CELLS = 24  # a side of the map at least, where the model takes images of any size: else all of it is near
_LEAST_CELLS = 2 * FAR + 4
_STEP = 1.0  # of the change, in standard deviations of each channel over the map
_CHANGED = 1e-11  # of the largest change of a pixel: float64 has 1e-16, and sums of it err by 1e-13


def _measure(inputs: ProbeInputs) -> Probed:
    model = copy.deepcopy(inputs.model).double()
    if getattr(model, "tile", None):
        model.tile = None  # type: ignore[assignment]  # of a first stage
    z = _latent(inputs)
    row, column = z.shape[2] // 2, z.shape[3] // 2
    norms, attentions = norms_of(model), attentions_of(model)
    recorder = {"norms_held": Recorder(norms), "attention_held": Recorder(attentions)}
    with recorder["norms_held"].recording(), recorder["attention_held"].recording():
        before = model.decode(z.to(inputs.device))
    changed = z.clone()
    changed[:, :, row, column] += _STEP * z.std((2, 3)).clamp(min=1e-6)
    maps: dict[str, Tensor] = {}
    for name, held in (("", ()), *((one, (one,)) for one in recorder), ("both_held", tuple(recorder))):
        with ExitStack() as stack:
            for one in held:
                stack.enter_context(recorder[one].held())
            maps[name] = receptive(before, model.decode(changed.to(inputs.device))).cpu()
    distance = _distance(maps[""].shape, row, column, inputs.factor)
    values: dict[str, float] = {}
    for name, energy in maps.items():
        after = f"_{name}" if name else ""
        values[f"far{after}"] = float(energy[distance > FAR * inputs.factor].sum() / energy.sum().clamp(min=1e-300))
        values[f"changed{after}"] = float((energy > (_CHANGED**2) * energy.max()).double().mean())
    local = maps["both_held"]
    values["local_reach"] = float(distance[local > (_CHANGED**2) * local.max()].max()) if local.max() > 0 else 0.0
    at_least = "at least " if values["local_reach"] >= float(distance.max()) else ""
    there = f"{len(norms)} norms over the whole map, {len(attentions)} blocks of attention"
    sentence = (
        f"of the change by one latent {values['far']:.2%} lies more than {FAR * inputs.factor} pixels away, and "
        f"{values['changed']:.0%} of pixels change; {values['far_attention_held']:.2%} with the attention held still, "
        f"{values['far_norms_held']:.2%} with the norms, {values['far_both_held']:.2%} with both ({there}), when it "
        f"reaches {at_least}{values['local_reach']:.0f} pixels"
    )
    picture = beside([_logarithmic(maps[""]), _logarithmic(local)])
    return Probed(values, sentence, values["far"] > MOST_FAR, picture)


def _latent(inputs: ProbeInputs) -> Tensor:
    """(1, zc, zh, zw) of an image, float64; a larger map of it where that is small and may be."""
    z = inputs.posteriors[0].mean[:1].double()
    least = min(z.shape[2:])
    if least >= _CELLS or not inputs.model.any_size:
        return z
    return F.interpolate(z, [side * _CELLS // least for side in z.shape[2:]], mode="bilinear", align_corners=False)


def _distance(shape: torch.Size, row: int, column: int, factor: int) -> Tensor:
    """(h, w) pixels from the cell at row and column: the larger of both directions, 0 within it."""
    ways = []
    for side, cell in zip(shape, (row, column), strict=True):
        place = torch.arange(side)
        first, last = cell * factor, (cell + 1) * factor - 1
        ways.append(torch.maximum(first - place, place - last).clamp(min=0))
    return torch.maximum(ways[0][:, None], ways[1])


def _logarithmic(energy: Tensor) -> Tensor:
    """Black at 1e-12 of the largest energy and below."""
    return heat((energy / energy.max().clamp(min=1e-300)).clamp(min=1e-30).log10(), -12.0, 0.0)


def _lacks(inputs: ProbeInputs) -> str | None:
    if reason := lacks_map(inputs):
        return reason
    if inputs.device.type == "mps":
        return "this device has no float64"
    cells = min(inputs.posteriors[0].mean.shape[2:])
    if inputs.model.any_size or cells >= _LEAST_CELLS:
        return None
    return f"in a latent map of {cells} cells nothing is far"


REACH = Probe("reach", _measure, _lacks)
