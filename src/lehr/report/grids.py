"""Grids of images that a run has drawn, taken apart again into their tiles, which are taken to be square."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.evaluation.pictures import GAP
from lehr.run.png import UNREADABLE, read_png

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Grid:
    """A grid of images, see `lehr.evaluation.pictures.image_grid`.

    Attributes:
        picture: of all of it, grey or RGB.
        pitch: pixels from one tile to the next, across and down.
    """

    picture: Image.Image
    pitch: int

    @property
    def rows(self) -> int:
        """How many rows of tiles there are."""
        return max(1, (self.picture.height - GAP) // self.pitch)

    def part(self, column: int, row: int, across: int = 1, down: int = 1) -> Image.Image:
        """So many tiles from that in this column and row, with the gaps around them."""
        left, top = column * self.pitch, row * self.pitch
        return self.picture.crop((left, top, left + across * self.pitch + GAP, top + down * self.pitch + GAP))


def read_grid(path: Path, columns: int) -> Grid | None:
    """The grid in a PNG; None where there is none to be read, or it has not so many columns."""
    from PIL import Image

    with suppress(*UNREADABLE), Image.open(io.BytesIO(read_png(path)), formats=["PNG"]) as image:
        pitch, rest = divmod(image.width - GAP, columns)
        if not rest and pitch > GAP:
            return Grid(image.convert("L" if image.mode == "L" else "RGB"), pitch)
    return None
