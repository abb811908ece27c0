"""Data sets of encoded pictures, wherever these lie: all that follows once a source of them is known."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from lehr.data.augmentation import Augmentation
from lehr.data.buckets import bucket_problems
from lehr.data.checks import as_text
from lehr.data.crop import Form
from lehr.data.decode import Decoder, Inspection
from lehr.data.module import ImageDataModule
from lehr.data.picture_images import PictureImages
from lehr.data.sources import Source
from lehr.data.splits import Splits, with_test_held_out
from lehr.data.walk import FURTHER
from lehr.errors import DataError
from lehr.limits import FractionOrNone, NonNegativeInt, PositiveFloat, PositiveInt

SMALL = "smaller than what is cut"
"""Why a picture is left out: see `PictureDataModule`, `small`."""


class PictureDataModule(ImageDataModule):
    """Encoded pictures, brought to one size. A subclass says in `read` where they come from, by `splits_of`.

    Args:
        test_fraction: the part held out for testing where there is no test split, chosen by `split_seed` alone.
        size: height and width in pixels of what a model is given.
        channels: 1 for grey, 3 for colour, 4 for colour and opacity; without opacity pictures are put on white.
        resize: what the short side is resized to, of which `size` is cut then; None for `size`.
        crop: what is cut in training: "centre"; "random", a square anywhere; "random_resized", a box of random area
            and ratio anywhere in the picture, resized to the square. Evaluation cuts the centre.
        scale: the least and the largest part of the area that such a box has.
        ratio: the least and the largest ratio of width to height that it has.
        flip: how training turns a picture over half of the time: true or "horizontal" exchanges left and right,
            "vertical" top and bottom, "both" each of them by itself.
        buckets: heights and widths that a batch of training may have in place of `size`: each picture is in batches of
            the one whose shape is nearest to its own. Evaluation is of `size`.
        small: what to do with a picture whose short side has fewer pixels than are to be cut: "enlarge" it, "error"
            refuses to train, "skip" leaves it out.
        workers: processes that decode; 0 decodes in the training process.
        on_corrupt: what to do with a picture that cannot be decoded: "error" refuses to train, "skip" leaves it out,
            for which every picture is decoded once before training.
        verify: whether every picture is decoded once before training in any case.
        **common: see `ImageDataModule`.
    """

    evaluation_crop = "centre"

    def __init__(
        self,
        *,
        test_fraction: FractionOrNone = 0.1,
        size: PositiveInt = 64,
        channels: Literal[1, 3, 4] = 3,
        resize: PositiveInt | None = None,
        crop: Literal["centre", "random", "random_resized"] = "centre",
        scale: tuple[PositiveFloat, PositiveFloat] = (0.25, 1.0),
        ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.3333333333333333),
        flip: bool | Literal["horizontal", "vertical", "both"] = False,
        buckets: list[list[PositiveInt]] | None = None,
        small: Literal["enlarge", "error", "skip"] = "enlarge",
        workers: NonNegativeInt = 2,
        on_corrupt: Literal["error", "skip"] = "error",
        verify: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.test_fraction = test_fraction
        self.size = size
        self.channels = channels
        self.resize = resize
        self.crop = crop
        self.scale = list(scale)
        self.ratio = list(ratio)
        self.flip = flip
        self.buckets = buckets
        self.small = small
        self.workers = workers
        self.on_corrupt = on_corrupt
        self.verify = verify
        self._decoder: Decoder | None = None
        self._known: dict[str, bytes] = {}  # digests of pictures that were decoded, by their keys
        self._is_surveyed = False

    def check(self) -> list[str]:
        problems = super().check()
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if low > high:
                problems.append(f"data.{name}=[{low:g},{high:g}]: the first must be at most the second")
        if self.scale[1] > 1:
            problems.append(f"data.scale: {self.scale[1]:g} of a picture's area is more than all of it, which is 1")
        if self.resize is not None and self.resize < self.size:
            problems.append(f"data.resize={self.resize} is less than data.size={self.size}, which is cut of it")
        return problems + (bucket_problems(self.buckets, self.crop, self.resize) if self.buckets else [])

    def splits_of(self, name: str, train: Source, test: Source | None = None, val: Source | None = None) -> Splits:
        """The splits of these sources; without a test source a part of the training examples is held out.

        Raises:
            DataError: if none of the pictures of a source can be used.
        """
        sources = [source for source in (train, test, val) if source is not None]
        rows = [self._usable(source) for source in sources]
        values = [source.values(of.tolist()) for source, of in zip(sources, rows, strict=True)]
        # The same name is the same class everywhere, and a class that one source lacks shifts no other.
        names = sorted({one for found in values for one in found or () if isinstance(one, str)})
        self.classes = names or train.class_names
        number = {name: i for i, name in enumerate(names)}
        augmentation = Augmentation(
            self.crop, self.flip in (True, "horizontal", "both"), self.flip in ("vertical", "both"), self.seed
        )
        made = iter(
            [
                PictureImages(source, of, _labels(found, number), self._decodes(), augmentation, self._known)
                for source, of, found in zip(sources, rows, values, strict=True)
            ]
        )
        images = next(made)
        if self.buckets:
            images.assign_buckets(self.buckets)
        tested, validated = (None if source is None else next(made) for source in (test, val))
        if tested is None:
            splits = with_test_held_out(name, images, self.test_fraction, self.split_seed)
            return Splits(name, splits.train, splits.test, validated)
        return Splits(name, images, tested, validated)

    @property
    def refuses_damaged(self) -> bool:
        return self.on_corrupt == "error"

    def for_survey(self) -> Self:
        """A copy that leaves out what is damaged, and remembers what each picture is."""
        found = copy.copy(self)
        found.on_corrupt, found._is_surveyed = "skip", True
        if self.small == "error":
            found.small = "enlarge"  # they are listed
        found.skipped, found.left_out, found.file_facts, found.other_files = [], {}, {}, {}
        found._splits, found._decoder, found._known = {}, None, {}
        for made_of_them in ("fingerprint", "equal_examples", "_digests"):
            vars(found).pop(made_of_them, None)
        return found

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def require_readable(self) -> None:
        """Decode every picture of all splits once, where that is asked for and was not done when they were read.

        Raises:
            DataError: if one cannot be decoded, or is too small.
        """
        if self._decodes_first or not self.verify:
            return
        rows: dict[int, tuple[Source, list[Tensor]]] = {}
        for images in self._splits.values():
            if isinstance(images, PictureImages):
                rows.setdefault(id(images.source), (images.source, []))[1].append(images.rows)
        self._refuse(
            [
                one
                for source, parts in rows.values()
                for _, one in self._inspected(source, torch.cat(parts).sort().values)
                if one.problem
            ]
        )

    @property
    def _decodes_first(self) -> bool:
        """Whether every picture is decoded when the data are read."""
        return "skip" in (self.on_corrupt, self.small)

    def _decodes(self) -> Decoder:
        if self._decoder is None:
            (smallest, largest), (narrow, wide) = self.scale, self.ratio
            self._decoder = Decoder(
                Form(
                    size=self.size,
                    channels=self.channels,
                    resize=self.resize,
                    scale=(smallest, largest),
                    ratio=(narrow, wide),
                    least=0 if self.small == "enlarge" else self.size,
                ),
                self.workers,
            )
        return self._decoder

    def _usable(self, source: Source) -> Tensor:
        """The rows of a source that are used: all, but for those that are to be skipped."""
        rows = torch.arange(len(source))
        if not self._decodes_first:
            return rows
        left, refused, lines = [], [], []
        for row, one in self._inspected(source, rows):
            if one.problem is None:
                left.append(row)
            elif one.small and self.small == "skip":
                self.leave_out(SMALL, [source.name(row)])
            elif self.on_corrupt == "skip" and not one.small:
                lines.append(one.problem.removeprefix(f"{as_text(source.title)}/"))
            else:
                refused.append(one)
        self._refuse(refused)
        if not left:
            raise DataError(f"{source.title}: none of {len(source)} files can be read as an image")
        self.skipped += lines
        return torch.tensor(left)

    def _refuse(self, refused: list[Inspection]) -> None:
        """Raise a DataError if there is something in the way of training, of which the damaged pictures come first."""
        if not refused:
            return
        self.close()  # no more is decoded
        first = min(refused, key=lambda one: one.small)
        rest = f" (and {len(refused) - 1:,} more)" if len(refused) > 1 else ""
        advice = (
            "choose a smaller data.size, or say data.small=enlarge or skip"
            if first.small
            else "repair it, or leave such files out with data.on_corrupt=skip"
        )
        raise DataError(f"{first.problem}{rest}; {advice}")

    def _inspected(self, source: Source, rows: Tensor) -> Iterator[tuple[int, Inspection]]:
        """What is found in each picture of these rows. All are read, and their digests known then."""
        from tqdm import tqdm

        numbers = rows.tolist()
        inspections = tqdm(
            self._decodes().inspections(map(source.picture, numbers)),
            total=len(numbers),
            desc=f"checking {Path(source.title).name}",
            disable=None,
        )
        for row, one in zip(numbers, inspections, strict=True):
            key = source.key(row)
            if one.problem is None:
                self._known[key] = one.digest
                if self._is_surveyed and one.facts:
                    self.file_facts[key] = one.facts
            if one.facts and one.facts.several:
                self.leave_out(FURTHER, [source.name(row)])
            yield row, one

    def leave_out(self, reason: str, names: Iterable[str]) -> None:
        """Say of pictures that lie there why they are not read."""
        self.left_out.setdefault(reason, []).extend(names)


def _labels(values: Sequence[str | int] | None, number: Mapping[str, int]) -> Tensor | None:
    """As int64 (n,): numbers as they are, classes by their numbers."""
    if values is None:
        return None
    return torch.tensor([one if isinstance(one, int) else number[one] for one in values])
