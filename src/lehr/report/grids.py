"""Grids of images that a run has drawn, taken apart again into their tiles."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.evaluation.pictures import GAP
from lehr.reading import read_fields
from lehr.run.directory import RunDirectory
from lehr.run.png import UNREADABLE, read_png

if TYPE_CHECKING:
    from PIL import Image

Sides = tuple[int, int]
"""Height and width."""
_SQUARE = (1, 1)


@dataclass(frozen=True)
class Grid:
    """A grid of images, see `lehr.evaluation.pictures.image_grid`.

    Attributes:
        picture: of all of it, grey or RGB.
        tile: pixels that each image of it is high and wide, without the gaps.
    """

    picture: Image.Image
    tile: Sides

    @property
    def pitch(self) -> Sides:
        """Pixels from one tile to the next, down and across."""
        return self.tile[0] + GAP, self.tile[1] + GAP

    @property
    def rows(self) -> int:
        """How many rows of tiles there are."""
        return (self.picture.height - GAP) // self.pitch[0]

    def part(self, column: int, row: int, across: int = 1, down: int = 1) -> Image.Image:
        """So many tiles from that in this column and row, with the gaps around them."""
        high, wide = self.pitch
        left, top = column * wide, row * high
        return self.picture.crop((left, top, left + across * wide + GAP, top + down * high + GAP))


def sides_of(run: Path) -> Sides:
    """Of the images of a run, as its model says; where that is not known they are taken to be square."""
    shape = read_fields(RunDirectory(run).model / "config.json").get("image_shape")
    if isinstance(shape, list) and len(shape) == 3 and all(type(side) is int and side > 0 for side in shape):
        return shape[1], shape[2]
    return _SQUARE


def read_grid(path: Path, columns: int, sides: Sides) -> Grid | None:
    """The grid in a PNG; None where there is none to be read, or it is none of so many columns of such images.

    Args:
        path: of the PNG.
        columns: of tiles.
        sides: of the images, which may be enlarged.
    """
    from PIL import Image

    with suppress(*UNREADABLE), Image.open(io.BytesIO(read_png(path)), formats=["PNG"]) as image:
        wide, rest = divmod(image.width - GAP, columns)
        enlarged, more = divmod(wide - GAP, sides[1])
        high = enlarged * sides[0] + GAP
        if not rest and not more and enlarged > 0 and image.height > GAP and (image.height - GAP) % high == 0:
            return Grid(image.convert("L" if image.mode == "L" else "RGB"), (high - GAP, wide - GAP))
    return None
