"""The files of a folder of images: sizes, formats, what the crop makes of them, and which are odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from lehr.data.file_facts import SUFFIXES_OF, FileFacts, format_of
from lehr.data.survey.finding import MOST_NAMES, Finding

MUCH_CUT = 1 / 3 + 1e-9
"""A picture that loses more than this part of it to the crop is listed: a third and what rounding adds to it, as 3:2 is
what most cameras take."""
NamedFile = tuple[str, FileFacts]
_USUAL = 0.9
"""The part of the files that must have one size for the others to be odd."""


@dataclass(frozen=True)
class Crop:
    """What becomes of the pictures when a square of their short side is brought to `size` pixels.

    Attributes:
        size: of the square, in pixels.
        random: whether training cuts it anywhere along the long side; evaluation cuts the centre.
        mean_cut: the part of a picture that is cut off, the mean over files, 0 to 1.
        most_cut: the largest.
        much_cut: files that lose more than `MUCH_CUT`.
        enlarged: files whose short side is shorter than `size`.
        most_enlarged: the largest factor by which one is enlarged; 1 where none is.
        reduced: the median factor by which the others are made smaller, at least 1.
    """

    size: int
    random: bool
    mean_cut: float
    most_cut: float
    much_cut: int
    enlarged: int
    most_enlarged: float
    reduced: float


@dataclass(frozen=True)
class FileSurvey:
    """What the files are that can be read.

    Attributes:
        formats, modes: how many there are of each, the commonest first, in Pillow's words.
        width, height: the smallest, the median and the largest, of upright pictures.
        sizes: how many different sizes there are.
        crop: see `Crop`.
    """

    formats: Mapping[str, int]
    modes: Mapping[str, int]
    width: tuple[int, int, int]
    height: tuple[int, int, int]
    sizes: int
    crop: Crop

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "width": list(self.width), "height": list(self.height)}


def survey_files(facts: Sequence[FileFacts], size: int, random: bool) -> FileSurvey:
    """Of all files that are read; there is at least one."""
    width = np.array([one.width for one in facts])
    height = np.array([one.height for one in facts])
    short = np.minimum(width, height)
    cut = 1 - short / np.maximum(width, height)
    factor = size / short
    return FileSurvey(
        formats=dict(Counter(one.format for one in facts).most_common()),
        modes=dict(Counter(one.mode for one in facts).most_common()),
        width=_range(width),
        height=_range(height),
        sizes=len(set(zip(width.tolist(), height.tolist(), strict=True))),
        crop=Crop(
            size=size,
            random=random,
            mean_cut=float(cut.mean()),
            most_cut=float(cut.max()),
            much_cut=int((cut > MUCH_CUT).sum()),
            enlarged=int((short < size).sum()),
            most_enlarged=max(1.0, float(factor.max())),
            reduced=max(1.0, float(np.median(1 / factor[factor <= 1]))) if (factor <= 1).any() else 1.0,
        ),
    )


def file_findings(files: Sequence[NamedFile], size: int, channels: int) -> Iterator[Finding]:
    """What is odd about files, by their names. Pixels say more: grey among colours, and what is constant."""
    wrong = [f"{name} (is {facts.format})" for name, facts in files if facts.named_wrongly(name)]
    yield from Finding.of("wrong extension", wrong, "they are read as what they are")
    small = [(name, one) for name, one in files if min(one.width, one.height) < size]
    yield from Finding.of("smaller than data.size", list(map(_sized, small)), f"they are enlarged to {size} pixels")
    cut = sorted((file for file in files if file[1].share_cut() > MUCH_CUT), key=lambda f: -f[1].share_cut())
    lost = [f"{_sized(file)} loses {file[1].share_cut():.0%}" for file in cut[:MOST_NAMES]]
    yield from Finding.of("much cut", lost, "more than a third of the picture is outside the square", len(cut))
    sizes = Counter((one.width, one.height) for _, one in files)
    usual, n = sizes.most_common(1)[0]
    if n > _USUAL * len(files):
        others = [f for f in files if (f[1].width, f[1].height) != usual]
        yield from Finding.of("another size", list(map(_sized, others)), f"most have {usual[0]}x{usual[1]}")
    yield from _of_colours(files, channels)
    yield from Finding.of("links", [name for name, one in files if one.link], "they are followed")


def _of_colours(named: Sequence[NamedFile], channels: int) -> Iterator[Finding]:
    yield from Finding.of("transparent", [name for name, one in named if one.transparent], "they are put on white")
    deep = [name for name, one in named if one.deep]
    yield from Finding.of("more than 8 bits", deep, "of each channel the upper 8 are taken")
    inks = [name for name, one in named if one.mode == "CMYK"]
    yield from Finding.of("CMYK", inks, "inks are made colours without a colour profile")
    if channels == 1:
        coloured = [name for name, one in named if not one.grey]
        yield from Finding.of("in colour", coloured, "data.channels=1 makes them grey")


def other_findings(others: Mapping[str, str]) -> Iterator[Finding]:
    """What lies among the images and has no image's name: perhaps a picture all the same.

    Args:
        others: path -> name. Only the first `MOST_NAMES` are looked into.
    """
    found = [(name, format_of(path)) for path, name in islice(others.items(), MOST_NAMES)]
    pictures = [f"{name} (is {kind})" for name, kind in found if kind]
    suffixes = ", ".join(SUFFIXES_OF["JPEG"][:1] + SUFFIXES_OF["PNG"][:1])
    yield from Finding.of("pictures without an image's name", pictures, f"they are not read: name them {suffixes}, ...")
    kinds = {name for name, kind in found if kind}
    rest = [name for name in others.values() if name not in kinds]
    yield from Finding.of("no images by their name", rest, "they are not read")


def _sized(file: NamedFile) -> str:
    name, facts = file
    return f"{name} ({facts.width}x{facts.height})"


def _range(values: np.ndarray) -> tuple[int, int, int]:
    return int(values.min()), int(np.median(values)), int(values.max())
