"""Which run stands where in a sweep: its swept values as small whole numbers, so that runs are matched without search.

Shapes: n runs whose swept values are known, k keys besides the seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.evaluation.catalogue import is_of_execution
from lehr.run.status import DONE
from lehr.sweeps.comparable import condition
from lehr.sweeps.results import SEED, RunResult, SweepResults, natural, shown

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Layout:
    """The runs of a sweep by their swept values.

    Attributes:
        results: what it was made of.
        runs: those whose swept values are known.
        keys: that were swept, without the seed.
        levels: of each key its values, in their natural order.
        codes: (n, k), which of these a run has.
        seeds: (n,), which seed; 0 where the seed was not swept.
        seed_values: the seeds, None where it was not swept.
        group: (n,), which combination of all keys but the seed.
        groups: (g, k) codes of these combinations, in their natural order.
    """

    results: SweepResults
    runs: tuple[RunResult, ...]
    keys: tuple[str, ...]
    levels: Mapping[str, tuple[Any, ...]]
    codes: Ints
    seeds: Ints
    seed_values: tuple[Any, ...]
    group: Ints
    groups: Ints
    _numbers: dict[str, Numbers] = field(default_factory=dict, repr=False)

    def values(self, group: int) -> dict[str, Any]:
        """The values of a combination, by key."""
        return self._named(self.groups[group], range(len(self.keys)))

    def rest(self, rows: Ints, key: str) -> tuple[Ints, list[dict[str, Any]]]:
        """Which combination of the keys but `key` and the seed each of `rows` has, and what each of these is."""
        places = [i for i, name in enumerate(self.keys) if name != key]
        found, which = _distinct(self.codes[rows][:, places])
        return which, [self._named(code, places) for code in found]

    def _named(self, code: Ints, places: Sequence[int]) -> dict[str, Any]:
        return {self.keys[i]: self.levels[self.keys[i]][c] for i, c in zip(places, code, strict=True)}


@dataclass(frozen=True, eq=False)
class Numbers:
    """A metric of the runs of a layout.

    Attributes:
        metric: its name.
        values: (n,), NaN where a run has none.
        condition: (n,), which of the conditions it was measured under; numbers of different ones do not compare.
        where: of each condition what the others differ in, name -> value as text; empty where there is one alone.
    """

    metric: str
    values: Floats
    condition: Ints
    where: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds of a combination.

    Attributes:
        mean: of them.
        std: with n - 1; None of one seed.
        n: how many there are.
    """

    mean: float
    std: float | None
    n: int


def spread(values: Floats) -> Spread:
    """Mean and standard deviation of (n,) numbers, of which there is one at least."""
    return Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


def lay_out(results: SweepResults) -> Layout:
    """The layout of a sweep. Runs whose configuration cannot be read stand nowhere."""
    keys = tuple(key for key in results.keys if key != SEED)
    runs = tuple(run for run in results.runs if run.swept or not results.keys)
    columns = {key: _coded([run.swept.get(key) for run in runs]) for key in keys}
    codes = np.stack([code for _, code in columns.values()], 1) if keys else np.zeros((len(runs), 0), np.int64)
    seeded = SEED in results.keys
    seed_values, seeds = _coded([run.swept.get(SEED) if seeded else None for run in runs])
    groups, group = _distinct(codes)
    levels = {key: values for key, (values, _) in columns.items()}
    return Layout(results, runs, keys, levels, codes, seeds, seed_values, group, groups)


def numbers_of(layout: Layout, metric: str) -> Numbers:
    """What the runs have of `metric`, and which of them are of the same thing; found once."""
    if metric not in layout._numbers:
        layout._numbers[metric] = _numbers_of(layout, metric)
    return layout._numbers[metric]


def _numbers_of(layout: Layout, metric: str) -> Numbers:
    values = np.full(len(layout.runs), np.nan)
    places: dict[tuple[tuple[str, str], ...], int] = {}
    which = np.zeros(len(layout.runs), np.int64)
    for i, run in enumerate(layout.runs):
        value = run.metrics.get(metric) if run.state == DONE else None
        if value is None:
            continue
        values[i] = value
        known = tuple((name, "unknown" if v is None else shown(v)) for name, v in condition(run, metric))
        if is_of_execution(metric):  # a speed is that of its machine
            known += (("host", str(run.host)),)
        which[i] = places.setdefault(known, len(places))
    return Numbers(metric, values, which, _where([dict(known) for known in places]))


def _where(conditions: Sequence[Mapping[str, str]]) -> tuple[Mapping[str, str], ...]:
    """Of each condition what the others differ in."""
    names = dict.fromkeys(name for one in conditions for name in one)
    differing = [name for name in names if len({one.get(name) for one in conditions}) > 1]
    return tuple({name: one.get(name, "unknown") for name in differing} for one in conditions)


def _coded(values: Sequence[Any]) -> tuple[tuple[Any, ...], Ints]:
    """The distinct values in their natural order, and which of them each is."""
    sorted_by = [natural(value) for value in values]
    first: dict[tuple[Any, ...], Any] = {}
    for key, value in zip(sorted_by, values, strict=True):
        first.setdefault(key, value)
    order = sorted(first)
    places = {key: i for i, key in enumerate(order)}
    return tuple(first[key] for key in order), np.array([places[key] for key in sorted_by], np.int64)


def _distinct(codes: Ints) -> tuple[Ints, Ints]:
    """The distinct rows of (n, k), sorted, and which of them each is."""
    if not codes.shape[1]:
        return np.zeros((min(1, len(codes)), 0), np.int64), np.zeros(len(codes), np.int64)
    found, which = np.unique(codes, axis=0, return_inverse=True)
    return found, which.reshape(-1)
