"""A chart of a few curves, drawn by Pillow alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

_SIZE, _LEFT, _EDGE = (480, 300), 56, 28
_COLOURS = ((31, 119, 180), (214, 92, 0), (44, 140, 60), (130, 80, 170))
_GREY = (150, 150, 150)
_TICKS = 4

Curve = Sequence[tuple[float, float]]


def chart(curves: Mapping[str, Curve], x_label: str, y_label: str, level: float | None = None) -> Tensor:
    """A picture (3, H, W) uint8 of curves by name, with linear axes; a dashed line at the height `level`."""
    from PIL import Image, ImageDraw

    xs = [x for curve in curves.values() for x, _ in curve]
    ys = [y for curve in curves.values() for _, y in curve] + ([] if level is None else [level])
    (left, right), (low, high) = _range(xs), _range(ys)
    width, height = _SIZE

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / (right - left), (y - low) / (high - low)
        return _LEFT + across * (width - _LEFT - _EDGE), height - _EDGE - up * (height - 2 * _EDGE)

    image = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(image)
    for i in range(_TICKS + 1):
        x, y = (a + (b - a) * i / _TICKS for a, b in ((left, right), (low, high)))
        draw.line([at(left, y), at(right, y)], fill=(225, 225, 225))
        draw.text((4, at(left, y)[1] - 6), f"{y:.3g}", fill="black")
        draw.text((at(x, low)[0] - 8, height - _EDGE + 3), f"{x:.3g}", fill="black")
    draw.text((4, 4), y_label, fill="black")
    draw.text((width - 8 - draw.textlength(x_label), height - 13), x_label, fill="black")
    if level is not None:
        (start, y), (end, _) = at(left, level), at(right, level)
        for x in range(int(start), int(end), 8):
            draw.line([(x, y), (x + 4, y)], fill=_GREY)
    for i, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        draw.line([at(*point) for point in curve], fill=colour, width=2)
        draw.text((width - _EDGE - 150, _EDGE + 4 + 13 * i), name, fill=colour)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1, high + 1)
