"""Which combination of a sweep is the best, by how much, and whether that is more than the spread over seeds.

The best of many means is in part the luckiest. So it is compared with all others at once, each interval is
Bonferroni's of k - 1 comparisons, and a combination with half the seeds of others or fewer does not compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.intervals import LEVEL, Interval, mean_interval, welch
from lehr.report.layout import Floats, Ints, Layout, Numbers, numbers_of, spread


@dataclass(frozen=True)
class Contender:
    """A combination of the keys but the seed, with its mean.

    Attributes:
        values: of the keys.
        mean, std: over its seeds; std with n - 1, None of one.
        n: seeds that have the metric.
        runs: names of their directories.
    """

    values: Mapping[str, Any]
    mean: float
    std: float | None
    n: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Best:
    """The best combination by a metric, among those whose numbers compare.

    Attributes:
        metric: its name.
        where: the condition that the numbers were measured under, name -> value as text, where there are several.
        best: the combination.
        next: the second best, None where there is one alone.
        behind: how much worse that is, as a positive number; None where there is no second.
        interval: of `behind`, at `level`; None where both have too few seeds.
        paired: whether it is of the same seeds, else Welch's of different ones.
        level: of each interval, so that all k - 1 hold together at 95%.
        groups: k, how many combinations competed.
        left_out: how many had too few seeds to.
        ties: how many others have the very same mean.
        alike: how many others cannot be told apart from the best, for the spread or for want of seeds.
    """

    metric: str
    where: Mapping[str, str]
    best: Contender
    next: Contender | None
    behind: float | None
    interval: Interval | None
    paired: bool
    level: float
    groups: int
    left_out: int
    ties: int
    alike: int

    @property
    def beyond_chance(self) -> bool:
        """Whether the best is better than the next by more than the spread over seeds explains."""
        return self.interval is not None and _is_ahead(self.interval)


def best(layout: Layout, metric: str) -> list[Best]:
    """The best combination by `metric`, of each condition that its numbers were measured under.

    Nothing where it is not known whether more or less of the metric is better, or no run has it.
    """
    known = find_metric(metric)
    if known is None or known.more_is_better is None:
        return []
    numbers = numbers_of(layout, metric)
    found = []
    for which, where in enumerate(numbers.where):
        rows = np.flatnonzero(~np.isnan(numbers.values) & (numbers.condition == which))
        found.append(_best(layout, numbers, rows, where, 1.0 if known.more_is_better else -1.0))
    return found


def _best(layout: Layout, numbers: Numbers, rows: Ints, where: Mapping[str, str], sign: float) -> Best:
    """Among `rows`, all of one condition; `sign` is 1 where more is better, or -1."""
    order = rows[np.lexsort((layout.seeds[rows], layout.group[rows]))]
    _, starts, counts = np.unique(layout.group[order], return_index=True, return_counts=True)
    every = np.split(order, starts[1:])
    groups = [group for group, n in zip(every, counts, strict=True) if 2 * n > counts.max()]
    means = np.array([numbers.values[group].mean() for group in groups])
    first, *others = np.argsort(-sign * means, kind="stable").tolist()
    level = 1 - (1 - LEVEL) / max(1, len(others))
    gaps = [_gap(layout, numbers.values * sign, groups[first], groups[other], level) for other in others]
    interval, paired = gaps[0] if gaps else (None, False)
    behind = None
    if others:
        behind = interval.estimate if interval else sign * float(means[first] - means[others[0]])
    return Best(
        metric=numbers.metric,
        where=where,
        best=_contender(layout, numbers, groups[first]),
        next=_contender(layout, numbers, groups[others[0]]) if others else None,
        behind=behind,
        interval=interval,
        paired=paired,
        level=level,
        groups=len(groups),
        left_out=len(every) - len(groups),
        ties=int((means == means[first]).sum()) - 1,
        alike=sum(found is None or not _is_ahead(found) for found, _ in gaps),
    )


def _gap(layout: Layout, values: Floats, a: Ints, b: Ints, level: float) -> tuple[Interval | None, bool]:
    """How far `a` is ahead of `b`, and whether that is of common seeds."""
    _, in_a, in_b = np.intersect1d(layout.seeds[a], layout.seeds[b], return_indices=True)
    if len(in_a) > 1:
        return mean_interval(values[a[in_a]] - values[b[in_b]], level), True
    if min(len(a), len(b)) > 1:
        return welch(values[a], values[b], level), False
    return None, False


def _is_ahead(interval: Interval) -> bool:
    # of no spread at all nothing is known of chance
    return interval.low > 0 and interval.low < interval.high


def _contender(layout: Layout, numbers: Numbers, rows: Ints) -> Contender:
    found = spread(numbers.values[rows])
    runs = tuple(layout.runs[row].name for row in rows)
    return Contender(layout.values(int(layout.group[rows[0]])), found.mean, found.std, found.n, runs)
