"""The images that a survey shows: strips of tiles, each strip with a title. What is shown is decided here, not how."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lehr.data import binarize
from lehr.data.encoded import Encoded
from lehr.data.module import ImageDataModule
from lehr.data.picture import opened, to_eight_bits
from lehr.data.picture_images import PictureImages
from lehr.data.survey.equal import EqualImages, Place
from lehr.data.survey.labels import Factor

_COLUMNS = 12
_MOST_CLASSES = 12
_PAIRS = 6
_ODD = 12
_LONG_SIDE = 160
"""Of a picture that is shown as it was before the crop."""


@dataclass(frozen=True)
class Tile:
    """One image: (h, w, c) uint8, c 1, 3 or 4; and what stands below it.

    `kept` is the part, (left, top, right, bottom), that a crop keeps.
    """

    pixels: np.ndarray
    caption: str = ""
    kept: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Strip:
    """Images in a row, or in several, below a title; `label` stands left of them."""

    tiles: tuple[Tile, ...]
    title: str = ""
    label: str = ""


class Gallery:
    """Makes strips of the images of a data set that has been read."""

    def __init__(self, data: ImageDataModule, splits: Sequence[str], name: Callable[[Place], str]) -> None:
        self._data = data
        self._splits = splits
        self._name = name

    def examples(self, factors: Sequence[Factor]) -> Iterator[Strip]:
        """Some of each class, or of each split where there are no classes or too many."""
        title = "Examples"
        classes = "Training images of each class"
        if len(factors) == 1 and len(factors[0].values) <= _MOST_CLASSES:
            labels = self._data.images("train").labels
            assert labels is not None
            for value, name in zip(factors[0].values, factors[0].titles, strict=True):
                rows = (labels == value).nonzero().flatten()
                if len(rows):
                    yield Strip(self._tiles("train", _spread(rows)), classes, name)
                    classes = ""
        for split in self._splits:
            rows = torch.arange(len(self._data.images(split)))
            yield Strip(self._tiles(split, _spread(rows)), title, split)
            title = ""

    def binarized(self) -> Iterator[Strip]:
        """The same images as they are stored, above a threshold, and drawn."""
        pixels = self._fetch("train", _spread(torch.arange(len(self._data.images("train")))))
        yield Strip(_tiles(pixels), "What binarize makes of them", "as stored")
        for kind in ("threshold", "dynamic"):
            made = binarize.for_evaluation(pixels, kind, self._data.seed, "train", 0)
            yield Strip(_tiles(made), "", kind)

    def cropped(self, shares: Mapping[Place, float]) -> Iterator[Strip]:
        """The pictures of which most is cut, as they are in their files, and what is left."""
        most = sorted(shares, key=lambda place: -shares[place])[: _COLUMNS // 2]
        most = [place for place in most if shares[place] > 0]
        if most:
            pairs = [(self._whole(place, f"{shares[place]:.0%} cut"), *self._at(place)) for place in most]
            title = "What crop makes of those of which most is cut: as they are in the file, and as they are read"
            yield Strip(tuple(tile for pair in pairs for tile in pair), title)

    def equal(self, found: EqualImages) -> Iterator[Strip]:
        """The first groups of equal images, two of each."""
        tiles: list[Tile] = []
        for group in found.groups[:_PAIRS]:
            for place in (group[0], group[-1]):
                tiles += self._named(place)
        if tiles:
            yield Strip(tuple(tiles), "Equal images, two by two")

    def odd(self, title: str, places: Sequence[Place]) -> Iterator[Strip]:
        """Images at these places."""
        tiles = [tile for place in places[:_ODD] for tile in self._named(place)]
        if tiles:
            yield Strip(tuple(tiles), title)

    def _named(self, place: Place) -> tuple[Tile, ...]:
        return self._at(place, self._name(place).rpartition("/")[2])

    def _at(self, place: Place, caption: str = "") -> tuple[Tile, ...]:
        return _tiles(self._fetch(place[0], torch.tensor([place[1]])), caption)

    def _tiles(self, split: str, rows: Tensor) -> tuple[Tile, ...]:
        return _tiles(self._fetch(split, rows))

    def _whole(self, place: Place, caption: str) -> Tile:
        images = self._data.images(place[0])
        assert isinstance(images, PictureImages)
        return _whole(images.picture(place[1]), caption)

    def _fetch(self, split: str, rows: Tensor) -> Tensor:
        return next(iter(self._data.images(split).fetch([rows], epoch=None, device="cpu")))


def as_tile(pixels: Tensor) -> np.ndarray:
    """Pixels (c h w) in [0, 1] as (h, w, c) uint8; of another number of channels than 1, 3 or 4 the first."""
    if pixels.shape[0] not in (1, 3, 4):
        pixels = pixels[:1]
    return pixels.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _tiles(pixels: Tensor, caption: str = "") -> tuple[Tile, ...]:
    return tuple(Tile(as_tile(one), caption) for one in pixels)


def _spread(rows: Tensor) -> Tensor:
    """A row of them, evenly spread: neighbours in a data set are often alike."""
    n = min(_COLUMNS, len(rows))
    return rows[torch.arange(n) * len(rows) // n]


def _whole(picture: Encoded, caption: str) -> Tile:
    """A picture as it is in its file, made small, with the square that the centre of is kept."""
    with opened(picture) as file:
        image = to_eight_bits(file).convert("RGB")
    image.thumbnail((_LONG_SIDE, _LONG_SIDE))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return Tile(np.asarray(image), caption, (left, top, left + side, top + side))
