"""Groups as a picture: the gap of each with its interval, and images of the worst with their errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lehr.data.survey.canvas import WIDTH, Canvas, enlarged, fitting, font
from lehr.evaluation.groups.grouping import Grouping
from lehr.evaluation.groups.report import Gap, Group, GroupReport
from lehr.evaluation.intervals import Interval
from lehr.evaluation.pictures import ERROR_SCALE, error_images

_WORST = 3
_SIDE = 112
_ROW, _LABEL, _MARGIN = 20, 210, 20
_WORSE, _BETTER, _NOT_JUDGED, _PALE, _INK = (
    (200, 50, 50),
    (40, 110, 190),
    (190, 190, 190),
    (150, 150, 150),
    (25, 25, 25),
)
_MOST_ROWS = 24


@dataclass(frozen=True)
class Example:
    """An image that stands for its group: its row among all, and what it is there ("worst", "median")."""

    row: int
    what: str
    psnr: float


def examples_of(report: GroupReport, grouping: Grouping, psnr: Tensor) -> list[tuple[Group, list[Example]]]:
    """The worst groups and the best one, each with its two worst images and the median one.

    Args:
        report: of the groups.
        grouping: of the images.
        psnr: (n,) of each image.
    """
    groups = report.judged or list(report.groups)
    chosen = [*groups[: min(_WORST, len(groups) - 1)], groups[-1]]
    return [(group, _examples(grouping, group.title, psnr)) for group in chosen]


def _examples(grouping: Grouping, title: str, psnr: Tensor) -> list[Example]:
    rows = (grouping.codes == grouping.titles.index(title)).nonzero()[:, 0]
    order = rows[psnr[rows].argsort(stable=True)].tolist()
    places = {"worst": 0, "second worst": 1, "median": (len(order) - 1) // 2}
    found: dict[int, str] = {}
    for what, place in places.items():
        if place < len(order):
            found.setdefault(order[place], what)
    return [Example(row, what, float(psnr[row])) for row, what in found.items()]


def draw_groups(
    title: str,
    parts: Sequence[tuple[GroupReport, str, Sequence[tuple[Group, Sequence[Example]]]]],
    pairs: Mapping[int, tuple[Tensor, Tensor]],
) -> Tensor:
    """One picture (3, H, W) uint8.

    Args:
        title: what all of it is of.
        parts: of each grouping what was found, in numbers, in words and as examples.
        pairs: row -> image and reconstruction (c, h, w).
    """
    canvas = Canvas()
    canvas.title(title, 22)
    for report, words, examples in parts:
        canvas.title(f"by {report.name}: PSNR of each group less that of the other images, in dB, 95% intervals")
        canvas.side_by_side([(_chart(report), "")])
        for line in _lines(words):
            canvas.text(line)
        for group, of in examples:
            n, mean = f"{group.n:,} images", group.means["psnr"]
            canvas.text(f"{group.title}: {n}, {mean:.2f} dB", 15, _INK)
            canvas.side_by_side([(_triple(*pairs[one.row]), f"{one.what}, {one.psnr:.1f} dB") for one in of])
    canvas.text(f"Image, reconstruction, error: {ERROR_SCALE}")
    return torch.from_numpy(np.array(canvas.image())).permute(2, 0, 1)


def _lines(words: str) -> Iterable[str]:
    line = ""
    for word in words.split():
        if font(13).getlength(f"{line} {word}") > WIDTH - 3 * _MARGIN:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def _triple(image: Tensor, reconstruction: Tensor) -> Image.Image:
    """Image, reconstruction and error beside each other."""
    error = error_images(image[None], reconstruction[None])[0]
    shown = [one if one.shape[0] in (1, 3, 4) else one[:1] for one in (image, reconstruction, error)]
    tiles = [enlarged(_pixels(one), _SIDE) for one in shown]
    strip = Image.new("RGB", (sum(tile.width + 2 for tile in tiles), max(tile.height for tile in tiles)), "white")
    x = 0
    for tile in tiles:
        strip.paste(tile, (x, 0))
        x += tile.width + 2
    return strip


def _pixels(image: Tensor) -> np.ndarray:
    found: np.ndarray = image.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return found


def _chart(report: GroupReport) -> Image.Image:
    """The gap of each group with its interval; red, blue and black what is judged, grey what is not."""
    shown = _most(report)
    gaps = [(group, gap) for group in shown if (gap := group.gaps.get("psnr")) is not None]
    width, height = WIDTH - 2 * _MARGIN - 20, _ROW * (len(gaps) + 1) + 4
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    reach = 1.05 * max([_finite_reach(gap.interval) for _, gap in gaps], default=1.0) or 1.0
    middle, half = (_LABEL + width) / 2, (width - _LABEL) / 2 - 4

    def place(value: float) -> float:
        return middle + half * max(-1.0, min(1.0, value / reach))

    step = _step(reach)
    for k in range(-int(reach / step), int(reach / step) + 1):
        draw.line((place(k * step), 0, place(k * step), height - _ROW), (120, 120, 120) if k == 0 else (230, 230, 230))
        text = f"{k * step:+g}" if k else "0"
        draw.text((place(k * step) - font(11).getlength(text) / 2, height - _ROW + 3), text, _PALE, font=font(11))
    for i, (group, gap) in enumerate(gaps):
        y, interval = i * _ROW + _ROW // 2, gap.interval
        colour = _colour(gap)
        draw.text((0, y - 8), fitting(f"{group.title} ({group.n:,})", 13, _LABEL - 10), _INK, font=font(13))
        draw.line((place(interval.low), y, place(interval.high), y), colour, width=2)
        x = place(interval.estimate)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
    return image


def _colour(gap: Gap) -> tuple[int, int, int]:
    if gap.p is None:
        return _NOT_JUDGED
    if not gap.is_real:
        return _INK
    return _WORSE if gap.interval.estimate < 0 else _BETTER


def _most(report: GroupReport) -> Sequence[Group]:
    """Of many groups the worst and the best."""
    groups = report.groups
    return groups if len(groups) <= _MOST_ROWS else (*groups[: _MOST_ROWS // 2], *groups[-_MOST_ROWS // 2 :])


def _finite_reach(interval: Interval) -> float:
    """How far from 0 an interval reaches; one that is far wider than its estimate is cut."""
    return min(max(abs(interval.low), abs(interval.high)), 5 * abs(interval.estimate) + 3.0)


def _step(reach: float) -> float:
    """Between lines of a chart: three to seven of them on each side."""
    size = 10.0 ** np.floor(np.log10(reach / 3))
    return float(next((size * k for k in (1, 2, 5) if reach / (size * k) <= 7), size * 10))
