"""Images that several models are measured on: the same ones, in the same order, each time they are passed through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.data.module import ImageDataModule
from lehr.data.splits import IN_WORDS

ALL = "all"
"""In place of a split: all images there are, those that a training would see among them."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one split of a data set, or of all of them.

    Attributes:
        data: the data set, read.
        split: "train", "val", "test" or "all".
        limit: at most so many, chosen at random; None for all of them.
    """

    data: ImageDataModule
    split: str
    limit: int | None = None

    @property
    def _parts(self) -> dict[str, int | None]:
        """The splits that are passed through, and at most how many images of each: in proportion."""
        if self.split != ALL:
            return {self.split: self.limit}
        there = ("train", "val", "test") if self.data.n_test else ("train", "val")
        sizes = {split: len(self.data.images(split)) for split in there}
        total = sum(sizes.values())
        if self.limit is None or self.limit >= total:
            return dict.fromkeys(there)
        found: dict[str, int | None] = {}
        before = done = 0
        for split, size in sizes.items():
            before += size
            share = self.limit * before // total - done
            done += share
            if share:
                found[split] = share
        return found

    def __len__(self) -> int:
        return sum(len(self.data.part(split, limit)) for split, limit in self._parts.items())

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        return self.data.shape

    @property
    def in_words(self) -> str:
        """Which images these are."""
        return "all" if self.split == ALL else IN_WORDS[self.split]

    @property
    def names(self) -> list[str] | None:
        """What the images are called within the data set, where they are files."""
        found: list[str] = []
        for split, limit in self._parts.items():
            names = getattr(self.data.part(split, limit), "names", None)
            if names is None:
                return None
            found += names
        return found

    def batches(self, device: torch.device) -> Iterator[Tensor]:
        """Batches (b, c, h, w), float32 in [0, 1], as a model sees them."""
        for split, limit in self._parts.items():
            for batch in self.data.evaluation_loader(split, device, limit=limit):
                yield batch.images

    def rows(self, rows: Sequence[int], device: torch.device) -> Tensor:
        """Some of the images, (k, c, h, w), in the order of `rows`."""
        wanted, start = set(rows), 0
        found: dict[int, Tensor] = {}
        for images in self.batches(device):
            found |= {row: images[row - start] for row in wanted if start <= row < start + len(images)}
            start += len(images)
            if len(found) == len(wanted):
                break
        return torch.stack([found[row] for row in rows])
