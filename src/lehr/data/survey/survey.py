"""A data set before anyone trains on it: what it holds, what is odd, and what likelihood it asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from lehr.data.checks import as_text
from lehr.data.module import ImageDataModule
from lehr.data.survey.equal import EqualImages, equal_images
from lehr.data.survey.files import FileSurvey
from lehr.data.survey.finding import Finding
from lehr.data.survey.gallery import Strip
from lehr.data.survey.labels import Factor, factors_of
from lehr.data.survey.pixels import EIGHT_BITS, PixelStatistics, PixelSums
from lehr.data.survey.suggestion import Suggestion, suggest
from lehr.data.survey.whole import Whole
from lehr.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_NUMBERS = 2**20
"""Of a batch that is looked at: 4 MB of pixels."""
_MOST_ROWS = 256


class Progress(Protocol):
    """What shows how far a survey is."""

    def advance(self, steps: int = 1) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, repr=False)
class Survey:
    """What a data set holds. `str()` is a table, `picture` an image, `plain()` what JSON has.

    Attributes:
        name: of the data set.
        shape: (c, h, w) of an image, as a model is given it.
        levels: grey levels of the pixels as they are stored, evenly spaced from 0 to 1; 2: binary; None: not known.
        pixels: of each split, "train", "val" and perhaps "test", see `PixelStatistics`: as stored, not binarised.
        factors: the classes, or the factors; empty where there are no labels.
        equal: which images are equal.
        findings: what is odd, and what was left out.
        files: where the images are files.
        binarize: what the configuration says: "none", "threshold" or "dynamic".
        suggestion: the likelihood to train with.
        strips: the images in the picture.
    """

    name: str
    shape: tuple[int, int, int]
    levels: int | None
    pixels: Mapping[str, PixelStatistics]
    factors: tuple[Factor, ...]
    equal: EqualImages
    findings: tuple[Finding, ...]
    files: FileSurvey | None
    binarize: str
    suggestion: Suggestion
    strips: tuple[Strip, ...]

    @property
    def n(self) -> dict[str, int]:
        """How many images each split has."""
        return {split: one.n for split, one in self.pixels.items()}

    @property
    def train(self) -> PixelStatistics:
        """Of the training split."""
        return self.pixels["train"]

    def finding(self, kind: str) -> Finding | None:
        """What was found of a kind, or None."""
        return next((one for one in self.findings if one.kind == kind), None)

    @cached_property
    def picture(self) -> Image.Image:
        """Examples, mean image, histogram, what binarize and crop make, equal and odd images."""
        from lehr.data.survey.picture import draw

        return draw(self)

    def plain(self) -> dict[str, Any]:
        """All numbers and names, in plain containers."""
        from lehr.data.survey.plain import plain

        return plain(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{split} {n:,}" for split, n in self.n.items())
        return f"<Survey {self.name}: {counts} images of {' x '.join(map(str, self.shape))}; print() it>"

    def __str__(self) -> str:
        from lehr.data.survey.table import table

        return table(self)

    def _repr_html_(self) -> str:
        """The picture, and the table below it: for a notebook."""
        from lehr.data.survey.picture import in_html

        return in_html(self)


def survey(data: ImageDataModule, progress: Callable[[str, int], Progress] | None = None) -> Survey:
    """Look at all of a data set. What is damaged is listed, whatever the configuration says of it.

    Args:
        data: that need not have been read; they are left as they are.
        progress: gives what shows the progress of a part of the work: its name, and how many images it has.

    Raises:
        ConfigError, DataError: as training would for the same data, but for damaged files; also where pixels of a
            class of one's own are NaN or outside [0, 1].
    """
    seen = data.for_survey()
    try:
        return _survey(seen, data.refuses_damaged, progress)
    finally:
        seen.close()


def _survey(data: ImageDataModule, refuses: bool, progress: Callable[[str, int], Progress] | None) -> Survey:
    data.prepare_data()
    data.setup()
    splits = ["train", "val", *(["test"] if data.n_test else [])]
    labels = {split: data.images(split).labels for split in splits}
    pixels = _look_at(data, splits, progress)
    factors = factors_of(labels, [as_text(name) for name in data.classes])
    equal = equal_images({split: one.digests for split, one in pixels.items()}, labels)
    whole = Whole(data, pixels, factors, equal, refuses)
    return Survey(
        name=str(data.name),
        shape=data.shape,
        levels=data.images("train").levels,
        pixels=pixels,
        factors=factors,
        equal=equal,
        findings=tuple(whole.findings()),
        files=whole.files(),
        binarize=data.binarize,
        suggestion=suggest(
            pixels["train"],
            data.images("train").levels,
            data.shape[0],
            all_grey=whole.all_grey,
            can_be_grey=hasattr(data, "channels"),
        ),
        strips=tuple(whole.strips()),
    )


def _look_at(
    data: ImageDataModule, splits: Sequence[str], progress: Callable[[str, int], Progress] | None
) -> dict[str, PixelStatistics]:
    """The statistics of each split; every image is fetched once."""
    rows = max(1, min(_MOST_ROWS, _NUMBERS // math.prod(data.shape)))
    found, problems = {}, []
    for split in splits:
        images = data.images(split)
        sums = PixelSums(data.shape, eight_bits=images.levels in (2, EIGHT_BITS))
        batches = torch.arange(len(images)).split(rows)
        with progress(f"looking at {split}", len(images)) if progress else nullcontext() as line:
            for batch in images.fetch(batches, epoch=None, device="cpu"):
                sums.add(batch)
                if line:
                    line.advance(len(batch))
        if sums.wrong:
            problems.append(
                f"{data.name}: {sums.wrong:,} of {len(images):,} {split} images have pixels that are NaN or not in "
                "[0, 1], which a data set must not give"
            )
        else:
            found[split] = sums.result()
    if problems:
        raise DataError(*problems)
    return found
