"""What a swept key does to a metric: differences of runs that agree in all else, and their spread over seeds.

A difference is paired: of two runs that have the same seed and the same values of all other keys. Seeds are what is
drawn at random, so the differences are first averaged over the combinations of the other keys, seed by seed, and what
is said of chance is Student's interval of these. Averages are over a block in which every seed has every combination:
with runs missing they would be of other combinations for each seed, and a large effect of another key would look like
one of chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from lehr.evaluation.intervals import LEVEL, Interval, holm, mean_interval
from lehr.report.blocks import Block, block_of
from lehr.report.interactions import Interaction, interaction_of
from lehr.report.layout import Flags, Floats, Ints, Layout, Numbers, numbers_of

CHANCE = 1 - LEVEL
"""An adjusted p below it is said to be beyond chance."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Level:
    """A metric at one value of a key: a point of an effect plot with its band.

    Attributes:
        value: of the key.
        mean: over the seeds of the means over the matched combinations.
        low, high: Student's 95% interval over the seeds; None where one seed, or one number, cannot tell.
        n: seeds.
        matched: whether all values of the key are averaged over the same combinations and seeds.
    """

    value: Any
    mean: float
    low: float | None
    high: float | None
    n: int
    matched: bool


@dataclass(frozen=True)
class Contrast:
    """A metric at one value of a key, less that at another, paired.

    Attributes:
        value, against: what is compared: metric(value) - metric(against).
        kind: "ends" (largest and smallest number), "neighbours", or "reference" (any value with one that all are
            compared with).
        estimate: the mean difference.
        interval: Student's at 95% over the seeds; None of one seed.
        per_seed: the difference of each seed, averaged over the combinations.
        combinations: of the other keys that it is averaged over.
        means: of the metric at `value` and at `against`, over the same runs.
        p_adjusted: of "it is 0", adjusted by Holm for all comparisons of the metric; NaN where there is no spread.
        comparisons: how many these are.
        interaction: whether it depends on the other keys; None where that cannot be told.
    """

    value: Any
    against: Any
    kind: str
    estimate: float
    interval: Interval | None
    per_seed: tuple[float, ...]
    combinations: int
    means: tuple[float, float]
    p_adjusted: float = math.nan
    comparisons: int = 1
    interaction: Interaction | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest difference of a seed."""
        return min(self.per_seed), max(self.per_seed)

    @property
    def std(self) -> float | None:
        """The standard deviation of the differences of the seeds."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else None

    @property
    def constant(self) -> bool:
        """Whether several seeds all have the same difference, so that nothing is known of chance."""
        return self.interval is not None and self.interval.low == self.interval.high

    @property
    def shown(self) -> bool:
        """Whether the interval is free of 0, of this comparison alone."""
        return self.interval is not None and not self.constant and not self.interval.covers(0.0)

    @property
    def beyond_chance(self) -> bool:
        """Whether it is so among all comparisons that were made."""
        return self.shown and self.p_adjusted < CHANCE


@dataclass(frozen=True)
class Effect:
    """What a key does to a metric, among runs whose numbers compare.

    Attributes:
        key, metric: their names.
        where: the condition that the numbers were measured under, name -> value as text, where there are several.
        numeric: whether the values are numbers, so that they have an order.
        levels: the metric at each value; those that no run has a number of are left out.
        contrasts: that some runs could be paired for; of numbers the ends first, then neighbours.
        alone: runs without a partner that differs in this key alone.
    """

    key: str
    metric: str
    where: Mapping[str, str]
    numeric: bool
    levels: tuple[Level, ...]
    contrasts: tuple[Contrast, ...]
    alone: int

    @cached_property
    def headlines(self) -> tuple[Contrast, ...]:
        """What is said first: of numbers the largest against the smallest, of others all."""
        ends = tuple(contrast for contrast in self.contrasts if contrast.kind == "ends")
        return ends or tuple(self.contrasts)


def effects(layout: Layout, metric: str) -> list[Effect]:
    """The effect of every swept key on `metric`, one for each condition that its numbers were measured under.

    Left out is a key of which there is one value, or every value is another condition (`incomparable`). p-values are
    adjusted over all that is returned.
    """
    numbers = numbers_of(layout, metric)
    found = []
    for which, where in enumerate(numbers.where):
        rows = np.flatnonzero(~np.isnan(numbers.values) & (numbers.condition == which))
        for place, key in enumerate(layout.keys):
            if len(np.unique(layout.codes[rows, place])) > 1:
                found.append(_effect(layout, numbers, rows, key, where))
    contrasts = iter(adjusted([contrast for effect in found for contrast in effect.contrasts]))
    return [replace(effect, contrasts=tuple(next(contrasts) for _ in effect.contrasts)) for effect in found]


def incomparable(layout: Layout, metric: str) -> list[str]:
    """Keys that make of `metric` another quantity at each of their values, such as the weight of a KL in a loss."""
    numbers = numbers_of(layout, metric)
    rows = np.flatnonzero(~np.isnan(numbers.values))
    found = []
    for place, key in enumerate(layout.keys):
        both = np.unique(np.stack([layout.codes[rows, place], numbers.condition[rows]], 1), axis=0)
        if len(np.unique(both[:, 0])) > 1 and len(both) == len(np.unique(both[:, 1])):
            found.append(key)
    return found


def compared(
    layout: Layout, numbers: Numbers, rows: Ints, key: str, pairs: Sequence[tuple[int, int, str]]
) -> list[Contrast]:
    """The contrasts of `pairs` (level, level against it, kind) of a key among `rows` that have any partner.

    Args:
        layout: of the sweep.
        numbers: of a metric; finite at `rows`, and of one condition.
        rows: (r,) runs.
        key: that is compared.
        pairs: places in `layout.levels[key]`.
    """
    level = layout.codes[rows, layout.keys.index(key)]
    rest, combinations = layout.rest(rows, key)
    cell = rest * len(layout.seed_values) + layout.seeds[rows]
    order = np.lexsort((cell, level))
    bounds = np.searchsorted(level[order], np.arange(len(layout.levels[key]) + 1))
    found = []
    for value, against, kind in pairs:
        a, b = order[bounds[value] : bounds[value + 1]], order[bounds[against] : bounds[against + 1]]
        common, in_a, in_b = np.intersect1d(cell[a], cell[b], return_indices=True)
        if not len(common):
            continue
        seeds, combos = common % len(layout.seed_values), common // len(layout.seed_values)
        first, second = numbers.values[rows[a[in_a]]], numbers.values[rows[b[in_b]]]
        difference = first - second
        difference[np.abs(difference) <= _ROUNDING * np.abs(first)] = 0.0
        block = block_of(combos, seeds, difference)
        names = layout.levels[key]
        found.append(_contrast(names[value], names[against], kind, block, first, second, combinations))
    return found


def _contrast(
    value: Any, against: Any, kind: str, block: Block, first: Floats, second: Floats, combinations: Sequence[Any]
) -> Contrast:
    per_seed = block.per_seed
    interval = mean_interval(per_seed) if len(per_seed) > 1 else None
    return Contrast(
        value=value,
        against=against,
        kind=kind,
        estimate=float(per_seed.mean()),
        interval=interval,
        per_seed=tuple(per_seed.tolist()),
        combinations=len(block.rows),
        means=(float(first[block.kept].mean()), float(second[block.kept].mean())),
        interaction=interaction_of(block.table, [combinations[row] for row in block.rows]),
    )


def _effect(layout: Layout, numbers: Numbers, rows: Ints, key: str, where: Mapping[str, str]) -> Effect:
    level = layout.codes[rows, layout.keys.index(key)]
    present, counts = np.unique(level, return_counts=True)
    values = layout.levels[key]
    numeric = all(isinstance(values[i], int | float) and not isinstance(values[i], bool) for i in present)
    pairs = list(_pairs(present, counts, numeric))
    rest, _ = layout.rest(rows, key)
    cell = rest * len(layout.seed_values) + layout.seeds[rows]
    _, which, partners = np.unique(cell, return_inverse=True, return_counts=True)
    return Effect(
        key=key,
        metric=numbers.metric,
        where=where,
        numeric=numeric,
        levels=tuple(_levels(layout, numbers, rows, key, rest, partners[which] == len(present))),
        contrasts=tuple(compared(layout, numbers, rows, key, pairs)),
        alone=int((partners == 1).sum()),
    )


def _pairs(present: Ints, counts: Ints, numeric: bool) -> Iterator[tuple[int, int, str]]:
    """Which values are compared: numbers with their neighbours, others with the most common (of equals the first)."""
    if numeric:
        yield int(present[-1]), int(present[0]), "ends"
        if len(present) > 2:
            yield from ((int(b), int(a), "neighbours") for a, b in pairwise(present))
        return
    reference = int(present[counts.argmax()])
    yield from ((int(value), reference, "reference") for value in present if value != reference)


def _levels(layout: Layout, numbers: Numbers, rows: Ints, key: str, rest: Ints, everywhere: Flags) -> Iterator[Level]:
    """The metric at each value, over the combinations and seeds that all values have, or if there are none over all."""
    matched = bool(everywhere.any())
    used = np.flatnonzero(everywhere) if matched else np.arange(len(rows))
    level = layout.codes[rows, layout.keys.index(key)][used]
    order = np.argsort(level, kind="stable")
    present, starts = np.unique(level[order], return_index=True)
    for value, part in zip(present, np.split(order, starts[1:]), strict=True):
        at = used[part]
        name, seeds = layout.levels[key][value], layout.seeds[rows[at]]
        if not matched:
            yield Level(name, float(numbers.values[rows[at]].mean()), None, None, len(np.unique(seeds)), False)
            continue
        # all values have the same cells here, and so the same block
        per_seed = block_of(rest[at], seeds, numbers.values[rows[at]]).per_seed
        band = mean_interval(per_seed) if len(per_seed) > 1 else None
        low, high = (band.low, band.high) if band else (None, None)
        yield Level(name, float(per_seed.mean()), low, high, len(per_seed), True)


def adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values that hold for all of them together (Holm), and how many they are."""
    p = holm([math.nan if c.interval is None or c.constant else c.interval.p for c in contrasts])
    depends = holm([c.interaction.p if c.interaction else math.nan for c in contrasts])
    return [
        replace(
            contrast,
            p_adjusted=own,
            comparisons=len(contrasts),
            interaction=replace(contrast.interaction, p_adjusted=of_rest) if contrast.interaction else None,
        )
        for contrast, own, of_rest in zip(contrasts, p, depends, strict=True)
    ]
