"""One split of a data set: the protocol, and images that are one array in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lehr.data.digests import digests_of_rows

_PART = 2**22
"""Numbers that are looked at at once."""


class Images(Protocol):
    """One split, whatever it is stored in.

    It may have `digests() -> ndarray | None` too, (n, 16) uint8: what tells the content of one example from that of
    another, where that is cheaper than to fetch all of them, or None where nothing does; and `names`, where these are
    files.

    Attributes:
        shape: (c, h, w) of one image.
        labels: int64, (n,) classes or (n, f) factors, on the CPU; None where there are none.
    """

    shape: tuple[int, int, int]
    labels: Tensor | None

    def __len__(self) -> int: ...

    @property
    def levels(self) -> int | None:
        """How many grey levels, evenly spaced from 0 to 1, pixels are of: 2 where all are 0 or 1; None: not known."""
        ...

    def subset(self, rows: Tensor) -> Images:
        """The images with these row numbers, (m,) int64, without reading or copying any."""
        ...

    def fetch(self, batches: Iterable[Tensor], *, epoch: int | None, device: torch.device | str) -> Iterator[Tensor]:
        """For each batch of row numbers (b,) its images (b c h w), float32 in [0, 1] on `device`.

        `epoch` is None in evaluation: nothing is augmented then.
        """
        ...


def to_pixels(images: Tensor) -> Tensor:
    """Stored images as pixels: 8-bit levels are divided by 255, float32 stays as it is."""
    if images.dtype != torch.uint8:
        return images
    if torch.get_default_dtype() == torch.float32:
        return images / 255  # in one pass, the same as in two
    return images.to(torch.float32).div_(255)


class ArrayImages:
    """Images (n c h w), uint8 or float32 in [0, 1], that live on the device as a whole.

    A batch is one gather there; nothing is done example by example. `levels` are the grey levels of float32 images,
    where they are known. With `enlarge` each pixel becomes so many on each side, once its batch is fetched.
    """

    def __init__(
        self, array: Tensor, labels: Tensor | None = None, levels: int | None = None, enlarge: int = 1
    ) -> None:
        self.shape = (array.shape[1], array.shape[2] * enlarge, array.shape[3] * enlarge)
        self._enlarge = enlarge
        self.labels = labels
        self._store = _Store(array, levels)
        self._rows = torch.arange(len(array))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def levels(self) -> int | None:
        return self._store.levels

    def subset(self, rows: Tensor) -> ArrayImages:
        part = ArrayImages.__new__(ArrayImages)
        part.shape, part._store, part._rows = self.shape, self._store, self._rows[rows]
        part._enlarge = self._enlarge
        part.labels = None if self.labels is None else self.labels[rows]
        return part

    def digests(self) -> np.ndarray:
        """Of the pixels of each image as it is stored, (n, 16) uint8."""
        return self._store.digests[self._rows.numpy()]

    def fetch(self, batches: Iterable[Tensor], *, epoch: int | None, device: torch.device | str) -> Iterator[Tensor]:
        array = self._store.on(device)
        for batch in batches:
            found = array.index_select(0, self._rows.index_select(0, batch).to(array.device))
            if self._enlarge > 1:
                found = found.repeat_interleave(self._enlarge, 2).repeat_interleave(self._enlarge, 3)
            yield to_pixels(found)


class _Store:
    """An array shared by all splits cut from it, with its copy on the device that was asked for last."""

    def __init__(self, array: Tensor, levels: int | None) -> None:
        self.array = array
        self._resident = array
        self._levels = levels

    @cached_property
    def levels(self) -> int | None:
        is_8_bit = self.array.dtype == torch.uint8
        top = 255 if is_8_bit else 1
        # by parts: what is computed of the whole takes three times the memory of the images
        parts = self.array.split(max(1, _PART // max(1, self.array[:1].numel())))
        if all(bool(((part == 0) | (part == top)).all()) for part in parts):
            return 2
        return 256 if is_8_bit else self._levels

    @cached_property
    def digests(self) -> np.ndarray:
        return digests_of_rows(self.array)

    def on(self, device: torch.device | str) -> Tensor:
        device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0", which is what tensors say
        if self._resident.device != device:
            self._resident = self.array.to(device)
        return self._resident
