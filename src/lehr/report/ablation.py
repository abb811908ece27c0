"""What a precision costs and gains: paired differences to the most exact one, of quality and of speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lehr.evaluation.catalogue import LOOKED_AT_FIRST, final_split
from lehr.report.effects import Contrast, adjusted, compared
from lehr.report.layout import Ints, Layout, Numbers, numbers_of

PRECISION = "trainer.precision"
SPEED = "time/images_per_second"
_EXACT_FIRST = ("64-true", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true")


@dataclass(frozen=True)
class PrecisionEffect:
    """A metric at one precision, less that at the most exact one, paired.

    Attributes:
        metric: its name.
        where: the condition of its numbers, name -> value as text, where there are several; of speeds the host.
        contrast: the difference; p-values are adjusted for all that are returned together.
        ratio: of speeds, how many times as fast (geometric mean), and the ends of its 95% interval; None of others.
    """

    metric: str
    where: Mapping[str, str]
    contrast: Contrast
    ratio: tuple[float, float | None, float | None] | None = None


def precision(layout: Layout, metrics: Iterable[str] | None = None) -> list[PrecisionEffect]:
    """Each precision against the most exact one that has numbers; empty where precision was not swept.

    Args:
        layout: of the sweep.
        metrics: names; None for what people look at first, and the speed.
    """
    if len(layout.levels.get(PRECISION, ())) < 2:
        return []
    if metrics is None:
        split = final_split(layout.results.metrics)
        metrics = (*(name.replace("SPLIT", split) for name in LOOKED_AT_FIRST), SPEED)
    found = [one for metric in metrics for one in _of(layout, numbers_of(layout, metric))]
    contrasts = adjusted([one.contrast for one in found])
    return [replace(one, contrast=contrast) for one, contrast in zip(found, contrasts, strict=True)]


def _of(layout: Layout, numbers: Numbers) -> Iterator[PrecisionEffect]:
    place = layout.keys.index(PRECISION)
    for which, where in enumerate(numbers.where):
        rows = np.flatnonzero(~np.isnan(numbers.values) & (numbers.condition == which))
        reference, *others = sorted(np.unique(layout.codes[rows, place]).tolist(), key=lambda c: _rank(layout, c))
        pairs = [(other, reference, "reference") for other in others]
        contrasts = compared(layout, numbers, rows, PRECISION, pairs)
        ratios = _ratios(layout, numbers, rows, pairs) if numbers.metric == SPEED else [None] * len(contrasts)
        for contrast, ratio in zip(contrasts, ratios, strict=True):
            yield PrecisionEffect(numbers.metric, where, contrast, ratio)


def _rank(layout: Layout, code: int) -> tuple[int, int]:
    """The most exact first, and after those that are known any other in its order."""
    name = str(layout.levels[PRECISION][code])
    return (_EXACT_FIRST.index(name) if name in _EXACT_FIRST else len(_EXACT_FIRST), code)


def _ratios(
    layout: Layout, numbers: Numbers, rows: Ints, pairs: list[tuple[int, int, str]]
) -> Iterator[tuple[float, float | None, float | None]]:
    """Of positive numbers: differences of logarithms are paired ratios."""
    with np.errstate(divide="ignore"):
        logarithms = replace(numbers, values=np.log(np.maximum(numbers.values, np.finfo(np.float64).tiny)))
    for contrast in compared(layout, logarithms, rows, PRECISION, pairs):
        ends = (contrast.interval.low, contrast.interval.high) if contrast.interval else (None, None)
        low, high = (None if end is None else math.exp(end) for end in ends)
        yield math.exp(contrast.estimate), low, high
