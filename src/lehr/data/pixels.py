"""Arrays of numbers as images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lehr.data.numpy_file import Stored
from lehr.errors import DataError

Layout = Literal["auto", "nhw", "nhwc", "nchw"]
_CHANNELS = (1, 3, 4)
_RGBA = 4
_BACKGROUNDS = {"white": 1, "black": 0}


def as_images(
    stored: Stored, layout: str, path: Path | str, *, hidden_white: bool = True, background: str | None = None
) -> Tensor:
    """An array as images (n c h w), uint8 or float32 in [0, 1].

    With `hidden_white` the fourth channel is opacity, and a colour that nothing is seen of is white: what was left
    there is arbitrary, and must not become part of the data. With a `background`, "white" or "black", images with
    opacity are put on it, and have three channels then.

    Raises:
        DataError: if its axes, its type or its values are not those of images, or they have no opacity.
    """
    axes = _axes(stored.shape, layout, path)
    pixels = _pixels(stored.shape, stored.dtype, path)
    shape = tuple(stored.shape[axis] if axis >= 0 else 1 for axis in axes)
    if background and shape[1] != _RGBA:
        raise DataError(
            f"data.background={background}: {path} has {shape[1]} channels, and no opacity, the fourth; say "
            "data.background=null"
        )
    images = np.empty(shape, pixels.dtype)
    # the same memory, with the axes in the order of the file
    as_stored = images.transpose([axes.index(axis) for axis in sorted(axes)])
    stored.copy_into(as_stored[0] if -1 in axes else as_stored, pixels.convert)
    pixels.finish(images)
    if background:
        images = _put_on(images, _BACKGROUNDS[background])
    elif hidden_white and shape[1] == _RGBA:
        for part in _parts(images):
            np.copyto(part[:, :3], pixels.white, where=part[:, 3:] == 0)
    return torch.from_numpy(images)


def _put_on(images: np.ndarray, level: int) -> np.ndarray:
    """Images (n, 4, h, w) with opacity as (n, 3, h, w) before a background of `level`, 0 or 1, in the same type."""
    made = np.empty((len(images), 3, *images.shape[2:]), images.dtype)
    for part, into in zip(_parts(images), _parts(made, of=images), strict=True):
        colour, opacity = part[:, :3], part[:, 3:]
        if images.dtype == np.uint8:  # to the nearest level
            seen = opacity.astype(np.uint32)
            into[:] = (colour * seen + 255 * level * (255 - seen) + 127) // 255
        else:
            into[:] = colour * opacity + level * (1 - opacity)
    return made


def images_of(array: np.ndarray, layout: str, name: str, *, hidden_white: bool = True) -> Tensor:
    """An array in memory as images, see `as_images`: its own memory where its numbers are those already.

    Args:
        array: the images.
        layout: the order of its axes.
        name: what it is called in a message.
        hidden_white: see `as_images`.

    Raises:
        DataError: as of `as_images`.
    """
    axes = _axes(array.shape, layout, name)
    images = array.transpose([axis for axis in axes if axis >= 0])
    images = images[:, None] if -1 in axes else images
    pixels = _pixels(array.shape, array.dtype, name)
    whitens = hidden_white and images.shape[1] == _RGBA
    if whitens or array.dtype != pixels.dtype or not images.flags.c_contiguous:
        return as_images(Stored.of(array), layout, name, hidden_white=hidden_white)
    for part in _parts(images):
        pixels.convert(part)
    pixels.finish(images)
    with warnings.catch_warnings():  # of an array that cannot be written to; images never are
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(images)


def _pixels(shape: tuple[int, ...], dtype: np.dtype, path: Path | str) -> _Levels | _Bools | _Floats:
    """What pixels of this type are and have to be."""
    if 0 in shape:
        raise DataError(f"{path} holds no image: its shape is {shape}")
    check = _CHECKS.get(dtype.kind if dtype != np.uint8 else "uint8")
    if check is None:
        raise DataError(f"{path} holds {dtype}, expected uint8 in 0..255, bool, or float in [0, 1]")
    return check(path)


class _Levels:
    """Pixels of uint8."""

    dtype, white = np.dtype(np.uint8), 255

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._high = 0

    def convert(self, block: np.ndarray) -> np.ndarray:
        self._high = max(self._high, int(block.max()))
        return block

    def finish(self, images: np.ndarray) -> None:
        """Raise a DataError if these cannot have been pixels."""
        if self._high == 1:
            raise DataError(
                f"{self.path} holds only 0 and 1 as uint8, which means 0 and 1/255: save binary images as bool or float"
            )


class _Bools:
    """Pixels of bool, whatever bytes they are stored as."""

    dtype, white = np.dtype(np.float32), 1

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def convert(self, block: np.ndarray) -> np.ndarray:
        return block.view(np.uint8) != 0

    def finish(self, images: np.ndarray) -> None:
        """Nothing can be wrong."""


class _Floats:
    """Pixels of floating point."""

    dtype, white = np.dtype(np.float32), 1

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._low, self._high = math.inf, -math.inf
        self._finite = True

    def convert(self, block: np.ndarray) -> np.ndarray:
        low, high = float(block.min()), float(block.max())
        self._finite = self._finite and math.isfinite(low) and math.isfinite(high)
        self._low, self._high = min(self._low, low), max(self._high, high)
        with np.errstate(over="ignore"):  # refused when all is read
            return block.astype(np.float32, copy=False)

    def finish(self, images: np.ndarray) -> None:
        """Raise a DataError if these cannot have been pixels."""
        if not self._finite:
            wrong = np.concatenate([~np.isfinite(part).reshape(len(part), -1).all(1) for part in _parts(images)])
            raise DataError(
                f"{self.path} holds NaN or infinity in {wrong.sum()} of {len(images)} images, "
                f"first in image {wrong.argmax()}"
            )
        if self._low < 0 or self._high > 1:
            advice = ": x / 255, if they are levels of 8 bits" if 2 < self._high <= 255 else ""
            raise DataError(
                f"{self.path} has values from {self._low:g} to {self._high:g}, expected floats in [0, 1]{advice}"
            )


_CHECKS: dict[str, type[_Levels] | type[_Bools] | type[_Floats]] = {"uint8": _Levels, "b": _Bools, "f": _Floats}


def _parts(images: np.ndarray, of: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Views of some images each, so that what is computed of one takes little memory; as many as those `of` others."""
    n = max(1, 2**22 // max(1, (images if of is None else of)[0].nbytes))
    return (images[start : start + n] for start in range(0, len(images), n))


def _axes(shape: tuple[int, ...], layout: str, path: Path | str) -> tuple[int, int, int, int]:
    """Where in an array of this shape n, c, h and w are; -1 if it has no such axis."""
    if layout == "auto":
        layout = _layout(shape, path)
    if len(shape) != len(layout):
        raise DataError(f"{path} has shape {shape}, data.layout={layout} wants {len(layout)} axes")
    n, c, h, w = (layout.find(axis) for axis in "nchw")
    return n, c, h, w


def _layout(shape: tuple[int, ...], path: Path | str) -> str:
    if len(shape) == 3:
        return "nhw"
    if len(shape) != 4:
        raise DataError(f"{path} has shape {shape}, expected (n h w), (n h w c) or (n c h w)")
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        raise DataError(f"{path} has shape {shape}: which axis is channels? Set data.layout to nhwc or nchw")
    return "nhwc" if last else "nchw"
