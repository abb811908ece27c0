"""The rate-distortion plane of a sweep (Alemi et al. 2018): a curve of KL weights for each combination of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from lehr.evaluation.catalogue import final_split
from lehr.report.layout import Floats, Ints, Layout, numbers_of, spread
from lehr.sweeps.results import natural

WEIGHT = "kl.weight"


@dataclass(frozen=True)
class PlanePoint:
    """A combination of the keys but the seed, in the plane.

    Attributes:
        values: of the keys.
        weight: its KL weight; None where that was not swept.
        rate, distortion: means over its seeds, in nats per example.
        rate_std, distortion_std: over the seeds; None of one.
        n: seeds.
        runs: names of their directories.
        on_front: whether no other point has both less rate and less distortion.
        on_hull: whether it is a corner of the convex hull below all points: best at some KL weight.
        is_best: whether it has the highest ELBO, the least rate + distortion.
    """

    values: Mapping[str, Any]
    weight: Any
    rate: float
    distortion: float
    rate_std: float | None
    distortion_std: float | None
    n: int
    runs: tuple[str, ...]
    on_front: bool = False
    on_hull: bool = False
    is_best: bool = False


@dataclass(frozen=True)
class Curve:
    """Points that agree in all keys but the KL weight and the seed, by weight."""

    values: Mapping[str, Any]
    points: tuple[PlanePoint, ...]


@dataclass(frozen=True)
class Plane:
    """Points whose distortions compare.

    Attributes:
        where: the condition that they were measured under, name -> value as text, where there are several.
        split: val or test.
        curves: in the natural order of their values.
    """

    where: Mapping[str, str]
    split: str
    curves: tuple[Curve, ...]

    @property
    def points(self) -> tuple[PlanePoint, ...]:
        """Those of all curves."""
        return tuple(point for curve in self.curves for point in curve.points)


def rate_distortion(layout: Layout) -> list[Plane]:
    """The plane of each condition that distortions were measured under; empty where no run has both numbers."""
    split = final_split(layout.results.metrics)
    distortion, rate = numbers_of(layout, f"{split}/distortion"), numbers_of(layout, f"{split}/rate")
    both = ~np.isnan(distortion.values) & ~np.isnan(rate.values)
    planes = []
    for which, where in enumerate(distortion.where):
        rows = np.flatnonzero(both & (distortion.condition == which))
        if len(rows):
            points = _marked(_points(layout, rate.values, distortion.values, rows))
            planes.append(Plane(where, split, _curves(points)))
    return planes


def _points(layout: Layout, rate: Floats, distortion: Floats, rows: Ints) -> list[PlanePoint]:
    order = rows[np.argsort(layout.group[rows], kind="stable")]
    _, starts = np.unique(layout.group[order], return_index=True)
    points = []
    for group in np.split(order, starts[1:]):
        values = layout.values(int(layout.group[group[0]]))
        x, y = spread(rate[group]), spread(distortion[group])
        runs = tuple(layout.runs[row].name for row in group)
        points.append(PlanePoint(values, values.get(WEIGHT), x.mean, y.mean, x.std, y.std, len(group), runs))
    return points


def _marked(points: Sequence[PlanePoint]) -> list[PlanePoint]:
    """With front, hull and best said of each."""
    order = sorted(range(len(points)), key=lambda i: (points[i].rate, points[i].distortion))
    front: list[int] = []
    hull: list[int] = []
    for i in order:
        if front and points[i].distortion >= points[front[-1]].distortion:
            continue
        front.append(i)
        while len(hull) > 1 and _is_above(points[hull[-2]], points[hull[-1]], points[i]):
            hull.pop()
        hull.append(i)
    best = min(range(len(points)), key=lambda i: points[i].rate + points[i].distortion)
    at = set(front), set(hull)
    return [replace(p, on_front=i in at[0], on_hull=i in at[1], is_best=i == best) for i, p in enumerate(points)]


def _is_above(a: PlanePoint, b: PlanePoint, c: PlanePoint) -> bool:
    """Whether `b` lies on or above the line from `a` to `c`."""
    across = (b.rate - a.rate) * (c.distortion - a.distortion) - (b.distortion - a.distortion) * (c.rate - a.rate)
    return across <= 0


def _curves(points: Sequence[PlanePoint]) -> tuple[Curve, ...]:
    def others(point: PlanePoint) -> list[Any]:
        return [natural(value) for key, value in point.values.items() if key != WEIGHT]

    curves = []
    for _, group in groupby(sorted(points, key=others), key=others):
        along = sorted(group, key=lambda point: natural(point.weight))
        curves.append(Curve({k: v for k, v in along[0].values.items() if k != WEIGHT}, tuple(along)))
    return tuple(curves)
