"""Models side by side as one picture: images in rows, models in columns, the error of each beside it.

Shapes: n images, c h w image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.evaluation.pictures import ERROR_SCALE, error_images

if TYPE_CHECKING:
    from PIL import Image

CROP = 128
"""Pixels to each side that are shown of a larger image: where the error of all models together is the largest."""
_TILE = 128
_GAP, _HEAD, _CAPTION, _NOTE, _LABEL = 6, 22, 16, 22, 112
_INK, _PALE = (25, 25, 25), (110, 110, 110)


@dataclass(frozen=True)
class Row:
    """An image, and what models make of it.

    Attributes:
        label: what it is called, and what it is there for, a line each.
        image: (c, h, w) in [0, 1].
        reconstructions: name of the model -> (c, h, w).
        captions: name of the model -> what stands below its reconstruction.
    """

    label: Sequence[str]
    image: Tensor
    reconstructions: Mapping[str, Tensor]
    captions: Mapping[str, str]


def draw(rows: Sequence[Row]) -> Image.Image:
    """The picture, with the names of the models above, and the scale of the errors below."""
    from PIL import Image, ImageDraw

    from lehr.data.survey.canvas import fitting, font

    names = list(rows[0].reconstructions)
    tile = max(_side(row) for row in rows)
    columns = ["image", *(word for name in names for word in (name, "error"))]
    width = _LABEL + len(columns) * (tile + _GAP) + _GAP
    picture = Image.new("RGB", (width, _HEAD + len(rows) * (tile + _CAPTION + _GAP) + _NOTE), "white")
    pen = ImageDraw.Draw(picture)

    def write(x: int, y: int, text: str, room: int, size: int = 12, colour: tuple[int, int, int] = _INK) -> None:
        pen.text((x, y), fitting(text, size, room, keep_end=True), colour, font=font(size))

    for i, word in enumerate(columns):
        write(_LABEL + i * (tile + _GAP), 5, word, tile, colour=_PALE if word == "error" else _INK)
    for number, row in enumerate(rows):
        top = _HEAD + number * (tile + _CAPTION + _GAP)
        for line, text in enumerate(row.label):
            write(_GAP, top + 2 + 15 * line, text, _LABEL - 2 * _GAP, 11, _PALE if line else _INK)
        for i, pixels in enumerate(_tiles(row)):
            picture.paste(_enlarged(pixels, tile), (_LABEL + i * (tile + _GAP), top))
        for i, name in enumerate(names):
            write(_LABEL + (1 + 2 * i) * (tile + _GAP), top + tile + 1, row.captions[name], tile, 11, _PALE)
    write(_GAP, picture.height - _NOTE + 4, f"error: {ERROR_SCALE}", width - 2 * _GAP, 11, _PALE)
    return picture


def _side(row: Row) -> int:
    """Of a tile: the crop's longer side, small ones enlarged by a whole factor."""
    side = min(CROP, max(row.image.shape[1:]))
    return side * max(1, _TILE // side)


def _tiles(row: Row) -> list[Tensor]:
    """The crop of the image, and of each model its reconstruction and its error, (c, h, w) in [0, 1]."""
    image = row.image.float().cpu()
    others = [reconstruction.float().cpu().clamp(0, 1) for reconstruction in row.reconstructions.values()]
    errors = [error_images(image[None], one[None])[0] for one in others]
    top, left = worst_place(image, others, CROP)
    parts = [image, *(part for pair in zip(others, errors, strict=True) for part in pair)]
    return [part[:, top : top + CROP, left : left + CROP] for part in parts]


def worst_place(image: Tensor, reconstructions: Sequence[Tensor], side: int) -> tuple[int, int]:
    """Top and left of the square of this side in which the squared errors of all add up to the most; the first such."""
    height, width = min(side, image.shape[1]), min(side, image.shape[2])
    error = torch.stack([(one - image).square().mean(0) for one in reconstructions]).sum(0)
    sums = F.avg_pool2d(error.double()[None], (height, width), stride=1)[0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return row, column


def _enlarged(pixels: Tensor, side: int) -> Image.Image:
    from PIL import Image

    if pixels.shape[0] not in (1, 3, 4):
        pixels = pixels[:1]
    levels = pixels.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).convert("RGB")
    factor = max(1, side // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
