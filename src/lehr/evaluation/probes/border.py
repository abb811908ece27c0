"""Borders that are reconstructed worse than what lies within, because of what convolutions are padded with.

Borders of pictures also hold other things than their centres. So where a model takes images of any size, the same
pixels are compared: at the border of a part of an image, and within the whole of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lehr.evaluation.defects import border_mse
from lehr.evaluation.pictures import error_images, image_grid
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs

MOST_RATIO = 2.0
"""Twice the squared error at the same pixels, 3 dB: what one sees as a frame. An encoder that pads has some of it."""
MOST_RATIO_OF_OTHERS = 4.0
"""Where border and centre are of other pixels, whose contents alone can make a difference of twice or more."""
_LEAST_CELLS = 6  # of a part, whose border is a cell wide: with fewer all of it is near to a border
_SHOWN = 8


def _border(inputs: ProbeInputs) -> Probed:
    plain = [border_mse(x.double(), y.double()) for x, y in zip(inputs.images, inputs.reconstructions, strict=True)]
    border, centre = (
        sum(float(part.sum()) for pair in plain if (part := pair[i]) is not None) / len(inputs) for i in (0, 1)
    )
    ratio = border / centre if centre > 0 else 1.0
    values = {"ratio": ratio, "border_mse": border, "centre_mse": centre}
    picture = image_grid(
        torch.cat([inputs.images[0][:_SHOWN], error_images(inputs.images[0], inputs.reconstructions[0])[:_SHOWN]]),
        columns=len(inputs.images[0][:_SHOWN]),
    )
    if (same := _of_same_pixels(inputs)) is None:
        sentence = f"the squared error at the border is {ratio:.2f} times that of the rest, which holds other things"
        return Probed(values, sentence, ratio > MOST_RATIO_OF_OTHERS, picture)
    sentence = f"at the border the squared error is {same:.2f} times what the same pixels have further within"
    return Probed({"same_pixels_ratio": same} | values, sentence, same > MOST_RATIO, picture)


def _of_same_pixels(inputs: ProbeInputs) -> float | None:
    """Squared error of the border, a cell wide, of the middle of images, over that in the whole; None of small ones."""
    if not inputs.model.any_size or len(inputs.model.latent_shape) != 3:
        return None
    cell, at_border, within = inputs.factor, 0.0, 0.0
    for x, y in zip(inputs.images, inputs.reconstructions, strict=True):
        rows, columns = (_middle(side // cell) for side in x.shape[2:])
        if min(rows[1] - rows[0], columns[1] - columns[0]) < _LEAST_CELLS:
            return None
        box = (..., slice(rows[0] * cell, rows[1] * cell), slice(columns[0] * cell, columns[1] * cell))
        part = x[box]
        alone = inputs.decode(inputs.encode(part).mean)
        at_border += _frame_error(part, alone, cell)
        within += _frame_error(part, y[box], cell)
    return at_border / within if within > 0 else 1.0


def _middle(cells: int) -> tuple[int, int]:
    """Where the middle of so many cells begins and ends: all but a quarter on each side."""
    return cells // 4, cells - cells // 4


def _frame_error(x: Tensor, y: Tensor, wide: int) -> float:
    """Sum of squared errors of the pixels within `wide` of the border of (b, c, h, w)."""
    square = (x.double() - y.double()).square()
    return float(square.sum() - square[..., wide:-wide, wide:-wide].sum())


def _lacks(inputs: ProbeInputs) -> str | None:
    if all(border_mse(x[:1], x[:1])[0] is not None for x in inputs.images):
        return None
    return "images of this size are all border"


BORDER = Probe("border", _border, _lacks, cheap=True)
