"""A metric over two swept numbers: the map of where latents collapse, KL weight by warm-up, and any other like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lehr.report.layout import Ints, Layout, Numbers, numbers_of, spread

_PREFERRED = ("kl.weight", "kl.warmup")
_MOST = 60
"""Values of a key that a map has: a search has as many as runs, and no map."""


@dataclass(frozen=True)
class MapCell:
    """Where a row and a column of a map meet.

    Attributes:
        mean, std: over the seeds; None where no run has the metric, or one alone.
        n: seeds that have it.
        runs: names of all runs there, whatever became of them.
    """

    mean: float | None
    std: float | None
    n: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Map:
    """A metric over two keys, at one combination of all others: nothing unlike is averaged.

    Attributes:
        metric: its name.
        row, column: the keys.
        rows, columns: their values.
        cells: (rows, columns).
        rest: values of the other keys.
        where: the condition that the numbers were measured under, name -> value as text, where there are several.
    """

    metric: str
    row: str
    column: str
    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    cells: tuple[tuple[MapCell, ...], ...]
    rest: Mapping[str, Any]
    where: Mapping[str, str]

    @property
    def missing(self) -> int:
        """Cells without a number."""
        return sum(cell.mean is None for row in self.cells for cell in row)


def map_keys(layout: Layout) -> tuple[str, str] | None:
    """The two keys with several numbers each that a map is over, KL weight and warm-up first; None without two."""
    found = [key for key in layout.keys if 2 <= len(layout.levels[key]) <= _MOST and _is_numeric(layout, key)]
    found.sort(key=lambda key: _PREFERRED.index(key) if key in _PREFERRED else len(_PREFERRED))
    return (found[0], found[1]) if len(found) > 1 else None


def maps(layout: Layout, metric: str, row: str | None = None, column: str | None = None) -> list[Map]:
    """The maps of a metric, one for each combination of the other keys and each condition that has a number.

    Args:
        layout: of the sweep.
        metric: its name.
        row, column: swept keys; None for those of `map_keys`.
    """
    if row is None or column is None:
        if (keys := map_keys(layout)) is None:
            return []
        row, column = keys
    numbers = numbers_of(layout, metric)
    others = [i for i, key in enumerate(layout.keys) if key not in (row, column)]
    codes, which = np.unique(layout.codes[:, others], axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(which.reshape(-1)[order])) + 1)
    found = []
    for code, rows in zip(codes, parts, strict=True):
        rest = {layout.keys[i]: layout.levels[layout.keys[i]][c] for i, c in zip(others, code, strict=True)}
        there = rows[~np.isnan(numbers.values[rows])]
        for condition in np.unique(numbers.condition[there]):
            # what has no number belongs to every map
            own = rows[np.isnan(numbers.values[rows]) | (numbers.condition[rows] == condition)]
            found.append(_map(layout, numbers, own, (row, column), rest, numbers.where[condition]))
    return found


def _map(
    layout: Layout,
    numbers: Numbers,
    own: Ints,
    keys: tuple[str, str],
    rest: Mapping[str, Any],
    where: Mapping[str, str],
) -> Map:
    i, j = (layout.keys.index(key) for key in keys)
    rows, columns = (layout.levels[key] for key in keys)
    at: dict[tuple[int, int], list[int]] = {}
    for run in own.tolist():
        at.setdefault((int(layout.codes[run, i]), int(layout.codes[run, j])), []).append(run)
    cells = tuple(
        tuple(_cell(layout, numbers, at.get((r, c), [])) for c in range(len(columns))) for r in range(len(rows))
    )
    return Map(numbers.metric, *keys, rows, columns, cells, rest, where)


def _cell(layout: Layout, numbers: Numbers, runs: list[int]) -> MapCell:
    values = numbers.values[runs] if runs else np.zeros(0)
    values = values[~np.isnan(values)]
    names = tuple(layout.runs[run].name for run in runs)
    if not len(values):
        return MapCell(None, None, 0, names)
    found = spread(values)
    return MapCell(found.mean, found.std, found.n, names)


def _is_numeric(layout: Layout, key: str) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in layout.levels[key])
