"""A survey as one picture."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from lehr.data.survey.canvas import Canvas, bars, enlarged
from lehr.data.survey.gallery import as_tile
from lehr.data.survey.plain import MADE_BY
from lehr.data.survey.table import levels_in_words
from lehr.files import replacing

if TYPE_CHECKING:
    from lehr.data.survey.survey import Survey

_SIDE = 200
_SOFTWARE = "Software"
"""The text of a PNG that says what has made it."""


def draw(survey: Survey) -> Image.Image:
    """Examples, mean and standard deviation of each pixel, histogram, and whatever strips the survey has."""
    canvas = Canvas()
    channels, height, width = survey.shape
    canvas.title(survey.name, 24)
    splits = ", ".join(f"{split} {n:,}" for split, n in survey.n.items())
    canvas.text(f"{splits} images of {channels} x {height} x {width}; {levels_in_words(survey)}")
    canvas.text(f"suggested: {' '.join(survey.suggestion.words)}")
    canvas.title("Training images")
    mean, std = survey.train.mean, survey.train.std
    canvas.side_by_side(
        [
            (enlarged(_shown(mean), _SIDE), f"mean ({survey.train.overall_mean:.3f})"),
            (enlarged(_shown(_stretched(std)), _SIDE), f"std (white: {float(std.max()):.3f})"),
            (bars(survey.train.histogram, 560, _SIDE), "how many pixels have each level (logarithmic)"),
        ]
    )
    for strip in survey.strips:
        if strip.title:
            canvas.title(strip.title)
        canvas.tiles(strip.tiles, strip.label)
    return canvas.image()


def save(picture: Image.Image, path: Path) -> None:
    """Write it as PNG, whole or not at all, so that `is_own` knows it."""
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text(_SOFTWARE, MADE_BY)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=about)


def in_html(survey: Survey) -> str:
    """The picture and the table, in one piece that needs no other file."""
    stream = io.BytesIO()
    survey.picture.save(stream, format="PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}"/><pre>{html.escape(str(survey))}</pre>'


def is_own(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a picture that `save` has written."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.info.get(_SOFTWARE) == MADE_BY
    except Exception:  # whatever it is that Pillow finds wrong with it, it is somebody else's
        return False


def _shown(pixels: Tensor) -> np.ndarray:
    return as_tile(pixels[:3] if pixels.shape[0] == 4 else pixels)


def _stretched(std: Tensor) -> Tensor:
    return std / std.max().clamp(min=1e-12)
