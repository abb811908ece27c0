"""What is said of a data set as a whole, once every image was looked at: what is odd in it, and what is shown of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import numpy as np

from lehr.data.file_facts import FileFacts
from lehr.data.module import ImageDataModule
from lehr.data.survey.equal import EqualImages, Place
from lehr.data.survey.files import FileSurvey, NamedFile, file_findings, other_findings, survey_files
from lehr.data.survey.finding import MOST_NAMES, Finding
from lehr.data.survey.gallery import Gallery, Strip
from lehr.data.survey.labels import UNEVEN, Factor
from lehr.data.survey.pixels import PixelStatistics

ONE_COLOUR = 8 / 255 + 1e-6
"""An image none of whose channels ranges over more than this is of nearly one colour."""
GREY = 2 / 255 + 1e-6
"""An image whose red, green and blue are nowhere further apart than this has no colour."""

_TOGETHER = 6
"""Of equal images so many are named."""


class Whole:
    """A data set with the statistics of each split.

    Args:
        data: that were read.
        pixels: of each split.
        factors: its labels.
        equal: which images are equal.
        refuses: whether training would refuse what was left out as damaged.
    """

    def __init__(
        self,
        data: ImageDataModule,
        pixels: Mapping[str, PixelStatistics],
        factors: tuple[Factor, ...],
        equal: EqualImages,
        refuses: bool,
    ) -> None:
        self._data = data
        self._pixels = pixels
        self._factors = factors
        self._equal = equal
        self._refuses = refuses

    def findings(self) -> Iterator[Finding]:
        """Everything that is odd; what stops training first, what was left out last."""
        advice = "training refuses them: repair them, or say data.on_corrupt=skip" if self._refuses else "left out"
        yield from Finding.of("damaged", self._data.skipped, advice)
        yield from self._across_splits()
        yield from self._of_pixels()
        yield from self._of_labels()
        if self._facts:
            yield from file_findings(self._named_files(), self._data.shape[-1], self._data.shape[0])
        for reason, names in self._data.left_out.items():
            yield from Finding.of(reason, names, "left out")
        yield from other_findings(self._data.other_files)

    def files(self) -> FileSurvey | None:
        """Where the images are files."""
        if not self._facts:
            return None
        random = getattr(self._data, "crop", "centre") != "centre"
        return survey_files(list(self._facts.values()), self._data.shape[-1], random)

    def strips(self) -> Iterator[Strip]:
        """What the picture shows."""
        gallery = Gallery(self._data, list(self._pixels), self._name)
        yield from gallery.examples(self._factors)
        if self._data.shape[0] == 1 and self._pixels["train"].between:
            yield from gallery.binarized()
        if self._facts:
            yield from gallery.cropped({place: one.share_cut() for place, one in self._facts.items()})
        yield from gallery.equal(self._equal)
        yield from gallery.odd("Of one colour, or nearly", self.flat)
        if not self.all_grey:
            yield from gallery.odd("Without colour", self.grey)

    @cached_property
    def flat(self) -> list[Place]:
        """The images of one colour, or nearly."""
        return self._where(lambda one: one.contrast <= ONE_COLOUR)

    @cached_property
    def grey(self) -> list[Place]:
        """The images without colour, where others could have some; but for those of one colour."""
        if self._data.shape[0] < 3:
            return []
        return self._where(lambda one: (one.colour <= GREY) & (one.contrast > ONE_COLOUR))

    @cached_property
    def all_grey(self) -> bool:
        """Whether no image has colour."""
        return all(bool((one.colour <= GREY).all()) for one in self._pixels.values())

    def _where(self, which: Callable[[PixelStatistics], np.ndarray]) -> list[Place]:
        return [(split, row) for split, one in self._pixels.items() for row in which(one).nonzero()[0].tolist()]

    def _of_pixels(self) -> Iterator[Finding]:
        constant = self._where(lambda one: one.contrast == 0)
        yield from self._at("constant", constant, "all pixels are the same")
        nearly = self._where(lambda one: (one.contrast > 0) & (one.contrast <= ONE_COLOUR))
        yield from self._at("nearly constant", nearly, "no channel ranges over more than 8 of 255 levels")
        if self.all_grey and self._data.shape[0] >= 3:
            n = sum(one.n for one in self._pixels.values())
            yield Finding("grey", n, "no image has colour")
        else:
            yield from self._at("grey among colours", self.grey, "red, green and blue are the same")

    def _across_splits(self) -> Iterator[Finding]:
        equal = self._equal
        for (one, other), n in equal.across().items():
            pairs = [g for g in equal.groups if {one, other} <= {split for split, _ in g}]
            what = f"{other} images in {one} too"
            yield from Finding.of(what, [self._together(group) for group in pairs], _LEAKS.get((one, other), ""), n)
        for split in self._pixels:
            groups = [[p for p in group if p[0] == split] for group in equal.groups]
            names = [self._together(tuple(group)) for group in groups if len(group) > 1]
            yield from Finding.of(f"repeated in {split}", names, "equal to an earlier image", equal.within(split))
        yield from Finding.of("equal with other labels", [], "groups of equal images", equal.contradicting)

    def _of_labels(self) -> Iterator[Finding]:
        for factor in self._factors:
            for split, titles in factor.missing.items():
                about = f"{factor.name}: no image of {split} has these"
                yield from Finding.of(f"values absent from {split}", titles, about)
            if (ratio := factor.imbalance) is not None and ratio > UNEVEN:
                (least, few), (most, many) = factor.extremes()
                about = f"{factor.name}: {most} has {many:,} training images, {least} has {few:,}"
                yield Finding("uneven labels", len(factor.values), f"{about}; {ratio:.1f} times as many")

    def _at(self, kind: str, places: list[Place], about: str) -> list[Finding]:
        return Finding.of(kind, [self._name(place) for place in places[:MOST_NAMES]], about, len(places))

    def _together(self, group: tuple[Place, ...]) -> str:
        more = f" and {len(group) - _TOGETHER:,} more" if len(group) > _TOGETHER else ""
        return " = ".join(self._name(place) for place in group[:_TOGETHER]) + more

    def _name(self, place: Place) -> str:
        """What an image is called: its file, or its row of a split; with the split, where a name could be another's."""
        split, row = place
        names = self._names[split]
        if names is None:
            return f"{split} {row:,}"
        return f"{split}: {names[row]}" if self._several_roots else names[row]

    @cached_property
    def _names(self) -> dict[str, list[str] | None]:
        return {split: getattr(self._data.images(split), "names", None) for split in self._pixels}

    @cached_property
    def _several_roots(self) -> bool:
        return len({getattr(self._data.images(split), "root", None) for split in self._pixels}) > 1

    @cached_property
    def _paths(self) -> dict[Place, str]:
        """The files of the images, if they are files."""
        found = {split: getattr(self._data.images(split), "files", ()) for split in self._pixels}
        return {(split, row): path for split, paths in found.items() for row, path in enumerate(paths)}

    @cached_property
    def _facts(self) -> dict[Place, FileFacts]:
        known = self._data.file_facts
        return {place: known[path] for place, path in self._paths.items() if path in known}

    def _named_files(self) -> list[NamedFile]:
        return [(self._name(place), facts) for place, facts in self._facts.items()]


_LEAKS = {
    ("train", "test"): "what is tested on was trained on",
    ("train", "val"): "what is validated on was trained on",
    ("val", "test"): "what is tested on was validated on",
}
