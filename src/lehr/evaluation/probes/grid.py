"""A grid: what the decoder draws at each cell of its own accord, as transposed convolutions do (Odena et al. 2016).

A constant latent is decoded. Its border is left out, whose padding is seen; what is left ought to be constant, or
change slowly. What repeats with each cell is the mean over cells of a cell's pixels, less the mean of all: its energy
is that at the frequencies k / stride, and the checkerboard is the part at half the sampling rate.

Shapes: b batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lehr.evaluation.probes.pictures import beside, heat
from lehr.evaluation.probes.probe import LEVEL, Probe, Probed, ProbeInputs, lacks_map

LEAST_RMS = LEVEL / 2
"""Half a grey level of 8 bits: what is less is rounded away where an area is of one colour."""
_CELLS = 24  # a side of the map, where the model takes any
_LEAST_CELLS = 4


def _measure(inputs: ProbeInputs) -> Probed:
    y = _decoded_constant(inputs)
    factor = inputs.factor
    inner = _inner(y, factor)
    rest = inner - inner.mean((-2, -1), keepdim=True)
    cell = repeating(inner, factor)
    board = repeating(inner, 2)
    energy = float(rest.square().mean())
    rms, of_board = float(cell.square().mean().sqrt()), float(board.square().mean().sqrt())
    values: dict[str, Any] = {
        "rms": rms,
        "checkerboard_rms": of_board,
        "inside_std": energy**0.5,
        "share_at_stride": float(cell.square().mean()) / energy if energy > 0 else 0.0,
        "share_of_all": energy / max(float((y - y.mean((-2, -1), keepdim=True)).square().mean()), 1e-300),
        "residual_rms": _of_residuals(inputs),
    }
    sentence = (
        f"where the latent is constant each cell of {factor} x {factor} pixels has a pattern of {rms / LEVEL:.3f} "
        f"levels of 255 (root mean square), the checkerboard {of_board / LEVEL:.3f}; all that changes there is "
        f"{energy**0.5 / LEVEL:.2f}"
    )
    return Probed(values, sentence, rms > LEAST_RMS, _picture(inner[0].mean(0)))


def _decoded_constant(inputs: ProbeInputs) -> Tensor:
    """(1, c, h, w) float64: the mean latent of all images and places, everywhere."""
    means = torch.cat([q.mean.double().mean((2, 3)) for q in inputs.posteriors]).mean(0)
    sides = (_CELLS, _CELLS) if inputs.model.any_size else inputs.model.latent_shape[1:]
    return inputs.decode(means.float().view(1, -1, 1, 1).expand(1, -1, *sides)).double()


def _inner(y: Tensor, factor: int) -> Tensor:
    """Without a quarter of the cells on each side."""
    rows, columns = (side // factor // 4 * factor for side in y.shape[2:])
    height, width = (side // factor * factor for side in y.shape[2:])
    return y[..., rows : height - rows, columns : width - columns]


def repeating(y: Tensor, period: int) -> Tensor:
    """(b, c, period, period) of (b, c, h, w): what all blocks of so many pixels have in common, less its mean.

    A slope over the whole is in all blocks alike, and no pattern: each row and column loses its line first.
    """
    y = y - y.mean((-2, -1), keepdim=True)
    for dim in (-2, -1):
        n = y.shape[dim] // period * period
        y = y.narrow(dim, 0, n)
        place = torch.arange(n, dtype=y.dtype) - (n - 1) / 2
        shaped = place.view(-1, 1) if dim == -2 else place
        slope = (y * shaped).mean((-2, -1), keepdim=True) / place.square().mean()
        y = y - slope * shaped
    b, c, h, w = y.shape
    blocks = y.view(b, c, h // period, period, w // period, period).mean((2, 4))
    return blocks - blocks.mean((-2, -1), keepdim=True)


def _of_residuals(inputs: ProbeInputs) -> float:
    """Of the mean error of reconstructions: also holds what images themselves have at fixed places of a cell."""
    total: Tensor | float = 0.0
    for x, y in zip(inputs.images, inputs.reconstructions, strict=True):
        if min(x.shape[2:]) >= inputs.factor:
            total = total + repeating(y.double() - x.double(), inputs.factor).sum(0)
    return float(torch.as_tensor(total / len(inputs)).square().mean().sqrt())


def _picture(inner: Tensor) -> Tensor:
    """The constant, its middle 48 pixels at full contrast, and its spectrum, the zero frequency in the middle."""
    part = inner[:48, :48]
    spread = max(2 * LEVEL, float((part - part.mean()).abs().max()))
    middle = float(part.mean())
    spectrum = torch.fft.fftshift(torch.fft.fft2(inner - inner.mean()).abs().square()) / inner.numel() ** 2
    power = spectrum.clamp(min=1e-30).log10()
    return beside([heat(part, middle - spread, middle + spread), heat(power, -12.0, -4.0)])


def _lacks(inputs: ProbeInputs) -> str | None:
    if reason := lacks_map(inputs):
        return reason
    if inputs.factor == 1:
        return "a cell is a pixel: there is nothing to repeat"
    cells = min(inputs.model.latent_shape[1:])
    if inputs.model.any_size or cells >= _LEAST_CELLS:
        return None
    return f"a latent map of {cells} cells is all border"


GRID = Probe("grid", _measure, _lacks, cheap=True)
