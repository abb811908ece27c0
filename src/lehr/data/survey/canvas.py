"""A picture that grows downwards: titles, rows of tiles, charts. Pillow, with the font that it carries."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from lehr.data.survey.gallery import Tile

WIDTH = 1120
_MARGIN = 20
_LABEL = 110
_GAP = 6
_TILE = 76
"""Height and width of most tiles, in pixels: small images are enlarged by whole factors, large ones made smaller."""
_INK, _PALE, _LINE = (25, 25, 25), (110, 110, 110), (205, 205, 205)
_KEPT = (220, 40, 40)
CHANNEL_COLOURS = ((200, 60, 60), (60, 150, 60), (60, 90, 200), (120, 120, 120))
_CHECKERS = (255, 215)  # what is behind a transparent pixel


class Canvas:
    """Draws from the top to the bottom; `image` cuts it to what was drawn."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH, 400), "white")
        self._y = _MARGIN

    def image(self) -> Image.Image:
        return self._image.crop((0, 0, WIDTH, self._y + _MARGIN))

    def title(self, text: str, size: int = 17) -> None:
        """A line of large text, with some room above it."""
        self._y += 10
        self.text(text, size, _INK)
        self._y += 4

    def text(self, text: str, size: int = 13, colour: tuple[int, int, int] = _PALE) -> None:
        """A line of text, cut where the picture ends."""
        self._reserve(size + 8)
        draw = ImageDraw.Draw(self._image)
        draw.text((_MARGIN, self._y), fitting(text, size, WIDTH - 2 * _MARGIN), colour, font=font(size))
        self._y += size + 6

    def tiles(self, tiles: Sequence[Tile], label: str = "") -> None:
        """Tiles in as many rows as are needed, a label on the left."""
        made = [(_sized(tile), tile.caption) for tile in tiles]
        if label:
            self._reserve(_TILE)
            words = fitting(label, 13, _LABEL - 8)
            ImageDraw.Draw(self._image).text((_MARGIN, self._y + 4), words, _INK, font=font(13))
        x, height = _MARGIN + _LABEL, 0
        for picture, caption in made:
            if x + picture.width > WIDTH - _MARGIN and height:
                x, self._y, height = _MARGIN + _LABEL, self._y + height + _GAP, 0
            self._reserve(picture.height + 20)
            self._image.paste(picture, (x, self._y))
            below = 0
            if caption:
                words = fitting(caption, 10, max(picture.width, _TILE), keep_end=True)
                ImageDraw.Draw(self._image).text((x, self._y + picture.height + 1), words, _PALE, font=font(10))
                below = 15
            x += max(picture.width, _TILE if caption else 0) + _GAP
            height = max(height, picture.height + below)
        self._y += height + _GAP

    def side_by_side(self, pictures: Sequence[tuple[Image.Image, str]]) -> None:
        """Pictures of any size beside each other, each with a title above it."""
        self._reserve(max(picture.height for picture, _ in pictures) + 30)
        draw, x = ImageDraw.Draw(self._image), _MARGIN
        for picture, title in pictures:
            draw.text((x, self._y), title, _INK, font=font(13))
            self._image.paste(picture, (x, self._y + 20))
            x += max(picture.width, round(font(13).getlength(title))) + 3 * _GAP
        self._y += max(picture.height for picture, _ in pictures) + 20 + _GAP

    def _reserve(self, height: int) -> None:
        needed = self._y + height + _MARGIN
        if needed > self._image.height:
            larger = Image.new("RGB", (WIDTH, max(needed, 2 * self._image.height)), "white")
            larger.paste(self._image, (0, 0))
            self._image = larger


def enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """An array (h, w, c) uint8 as a picture whose longer side is about `side`, what is transparent on chequers."""
    image = _picture(pixels)
    longest = max(image.size)
    if longest < side:
        factor = max(1, side // longest)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def bars(histogram: np.ndarray, width: int, height: int) -> Image.Image:
    """A chart of counts (c, bins): a bar a bin of each channel, on a logarithmic scale, with 0 and 1 below its ends."""
    image = Image.new("RGB", (width, height), "white")
    foot = height - 16
    scaled = np.log1p(histogram) / max(1e-9, float(np.log1p(histogram).max()))
    columns = np.arange(width - 2) * histogram.shape[1] // (width - 2)
    base = np.asarray(image).astype(np.float32)
    colours = [_PALE] if len(histogram) == 1 else CHANNEL_COLOURS
    rows = np.arange(foot)[:, None]
    for heights, colour in zip(scaled, colours, strict=False):
        top = foot - np.round(heights[columns] * (foot - 2))
        opacity = np.where(rows >= top + 2, 0.55 if len(scaled) == 1 else 0.08, np.where(rows >= top, 0.85, 0.0))
        part = base[:foot, 1 : width - 1]
        base[:foot, 1 : width - 1] = part + opacity[..., None] * (np.array(colour) - part)
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.line((0, foot, width - 1, foot), _LINE)
    draw.text((0, foot + 1), "0", _PALE, font=font(11))
    draw.text((width - 8, foot + 1), "1", _PALE, font=font(11))
    return image


def _sized(tile: Tile) -> Image.Image:
    if tile.kept is None:
        return _framed(enlarged(tile.pixels, _TILE))
    picture = _picture(tile.pixels)
    left, top, right, bottom = tile.kept
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=_KEPT, width=2)
    return picture


def _framed(picture: Image.Image) -> Image.Image:
    """With a thin line around it: else nobody sees where a white image ends."""
    framed = Image.new("RGB", (picture.width + 2, picture.height + 2), _LINE)
    framed.paste(picture, (1, 1))
    return framed


def _picture(pixels: np.ndarray) -> Image.Image:
    if pixels.shape[-1] == 1:
        return Image.fromarray(pixels[..., 0]).convert("RGB")
    if pixels.shape[-1] == 3:
        return Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    across, down = np.arange(width) * 4 // width, np.arange(height)[:, None] * 4 // height
    ground = np.where((across + down) % 2, *_CHECKERS).astype(np.uint8)
    behind = Image.fromarray(ground).convert("RGBA")
    return Image.alpha_composite(behind, Image.fromarray(pixels)).convert("RGB")


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def fitting(text: str, size: int, width: int, keep_end: bool = False) -> str:
    """The text in characters that the font has, letters without their accents, shortened to `width` pixels."""
    letters = (one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    text = "".join(letters).encode("ascii", "replace").decode()
    drawn = font(size)
    if drawn.getlength(text) <= width:
        return text
    while text and drawn.getlength(f"...{text}") > width:
        text = text[1:] if keep_end else text[:-1]
    return f"...{text}" if keep_end else f"{text}..."
