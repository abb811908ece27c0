"""A survey as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lehr.data.survey.finding import Finding
from lehr.data.survey.labels import UNEVEN, Factor
from lehr.data.survey.pixels import EIGHT_BITS

if TYPE_CHECKING:
    from lehr.data.survey.survey import Survey

_WIDTH = 100
_LABEL = 16
_MOST_CLASSES = 20
_SHOWN = 3
_EVEN = 1.05
_ALL_SHOWN = ("damaged",)
"""Kinds of findings of which every name is shown."""


def table(survey: Survey) -> str:
    """What people look at first; `Survey.plain` has everything."""
    sections = [
        _images(survey),
        [line for i, factor in enumerate(survey.factors) for line in _labels(factor, "" if i else "labels")]
        or _row("labels", "none"),
        list(_binarized(survey)),
        list(_files(survey)),
        list(_odd(survey)),
        list(_suggested(survey)),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _row(label: str, text: str) -> list[str]:
    """A label and a text behind it, wrapped."""
    margin = " " * (_LABEL + 2)
    lines = textwrap.wrap(text, _WIDTH, initial_indent=f"  {label:<{_LABEL}}", subsequent_indent=margin)
    return lines or [f"  {label}"]


def _images(survey: Survey) -> list[str]:
    channels, height, width = survey.shape
    train = survey.train
    shape = f"{channels} channel{'s' * (channels > 1)}, {height} x {width} pixels"
    spread = f"from {train.low:.3g} to {train.high:.3g}, mean {train.overall_mean:.3f}, std {train.overall_std:.3f}"
    return [
        f"  {survey.name}",
        "",
        *_row("images", "   ".join(f"{split} {n:,}" for split, n in survey.n.items())),
        *_row("shape", shape),
        *_row("pixels", f"{levels_in_words(survey)}; {spread}"),
        *(_row("opacity", _opacity(survey)) if channels == 4 else []),
    ]


def levels_in_words(survey: Survey) -> str:
    """What values the pixels of the training split have."""
    values, levels = survey.train.values, survey.levels
    if levels == 2 or survey.train.grid == 2:
        return "binary, 0 or 1"
    if values is None:
        return "real numbers"
    if levels is None:
        even = f", of {survey.train.grid} evenly spaced levels" if survey.train.grid else ""
        return f"real numbers, {len(values):,} distinct ones{even}; the data set does not say its levels"
    some = "" if len(values) == levels else f", of which {len(values):,} occur"
    return f"{levels} levels{' (8 bits)' if levels == EIGHT_BITS else ''}{some}"


def _opacity(survey: Survey) -> str:
    counts = survey.train.histogram[3]
    hidden, seen = counts[0] / counts.sum(), counts[-1] / counts.sum()
    return f"the fourth channel: {hidden:.1%} of pixels are wholly transparent, {1 - hidden - seen:.1%} partly"


def _labels(factor: Factor, label: str) -> Iterator[str]:
    if not factor.counts:
        yield from _row(label, f"{factor.name}: {factor.n_values:,} values, which are no classes")
        return
    (least, few), (most, many) = factor.extremes()
    ratio = factor.imbalance or math.nan
    judged = (
        f"{ratio:.1f} times as many" if ratio > UNEVEN else "even" if ratio < 1.05 else f"{ratio:.2f} times as many"
    )
    spread = f"{few:,} ({least}) to {many:,} ({most})" if few < many else f"{few:,}"
    spread = f"{spread} training images each, {judged}"
    yield from _row(label, f"{factor.name}: {factor.n_values:,} values; {spread}")
    if factor.name == "class" and len(factor.values) <= _MOST_CLASSES:
        width = max(_LABEL - 2, *map(len, factor.titles)) if max(map(len, factor.titles)) <= 40 else 40
        yield "    " + " " * width + "".join(f"{split:>9}" for split in factor.counts)
        for i, title in enumerate(factor.titles):
            counts = "".join(f"{numbers[i]:>9,}" for numbers in factor.counts.values())
            yield f"    {textwrap.shorten(title, width, placeholder='...'):<{width}}{counts}"


def _binarized(survey: Survey) -> Iterator[str]:
    train = survey.train
    if survey.shape[0] != 1 and survey.binarize == "none":
        return
    if not train.between:
        yield from _row("binarize", f"changes nothing: all pixels are 0 or 1; {train.on:.1%} are 1")
        return
    bits = train.drawing / math.log(2)
    yield from _row("binarize", f"data.binarize={survey.binarize} is what is configured")
    grey = f"{train.between:.1%} of pixels lie between 0 and 1"
    yield from _row("  none", f"{grey}; they stay as they are")
    yield from _row("  threshold", f"{train.on:.1%} of pixels are above 0.5, and become 1")
    drawn = f"drawing alone adds {train.drawing:.1f} nats ({bits:.1f} bits) an image, which no model can save"
    yield from _row("  dynamic", f"{train.overall_mean:.1%} of pixels become 1 on average; {drawn}")


def _files(survey: Survey) -> Iterator[str]:
    files = survey.files
    if files is None:
        return
    yield from _row("files", f"{_counted(files.formats)}; pixels {_counted(files.modes)}")
    several = f"{files.sizes:,} size{'s' * (files.sizes > 1)}"
    yield from _row("  sizes", f"{several}: {_span(files.width)} wide, {_span(files.height)} high")
    crop = files.crop
    where = "anywhere along the long side in training, the centre in evaluation" if crop.random else "the centre"
    cut = f"{crop.mean_cut:.1%} of a picture is cut off on average, {crop.most_cut:.1%} at most"
    larger = f"{crop.enlarged:,} enlarged, up to {crop.most_enlarged:.1f} times" if crop.enlarged else "none enlarged"
    smaller = f"the others made {crop.reduced:.1f} times smaller (median)"
    yield from _row("  crop", f"{where}, to {crop.size} x {crop.size}: {cut}; {larger}; {smaller}")


def _span(values: tuple[int, int, int]) -> str:
    """The smallest, the median and the largest of numbers."""
    low, median, high = values
    return f"{low} to {high} (median {median})" if low < high else f"{low}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _odd(survey: Survey) -> Iterator[str]:
    if not survey.findings:
        yield from _row("odd", "nothing was found")
        return
    yield "  odd"
    for one in survey.findings:
        yield from _finding(one)


def _finding(one: Finding) -> Iterator[str]:
    about = f": {one.about}" if one.about else ""
    yield from textwrap.wrap(f"{one.n:,} {one.kind}{about}", _WIDTH, initial_indent="    ", subsequent_indent="      ")
    shown = len(one.names) if one.kind in _ALL_SHOWN else _SHOWN
    yield from (f"      {name}" for name in one.names[:shown])
    if one.names and (more := one.n - min(shown, len(one.names))) > 0:
        yield f"      and {more:,} more"


def _suggested(survey: Survey) -> Iterator[str]:
    found = survey.suggestion
    yield from _row("suggested", " ".join(found.words))
    yield from _row("  because", found.reason)
    if found.otherwise:
        yield from _row("  or", found.otherwise)
