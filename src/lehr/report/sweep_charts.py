"""What charts of a sweep have in common. Each hangs on the metric that is chosen, their parameter `metric`.

A group is a combination of the swept values but for the seed. In the data of a chart `m` has numbers by metric, for
their names have characters in them that a field of Vega must not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lehr.report.document import Spec
from lehr.report.layout import Ints, Layout, numbers_of, spread
from lehr.report.numbers import described, significant
from lehr.report.vega import field
from lehr.report.words import Words, count

Rows = list[dict[str, Any]]
PLACE = "(datum.high > datum.low ? (datum.value - datum.low) / (datum.high - datum.low) : 0.5)"
VALUE: Spec = {"calculate": "isValid(datum.m[metric]) ? datum.m[metric] : null", "as": "value"}
"""The number of a row by the metric that is chosen, as `value`."""
HAS_VALUE: Spec = {"filter": "isValid(datum.value)"}
TITLED: Spec = {"axis": {"title": {"expr": "titles[metric]"}}}
"""An axis that is called what the metric that is chosen is."""
LEGEND: Spec = {"title": {"signal": "titles[metric]"}}
"""The same of a legend, whose `expr` Vega-Lite leaves as it is in layers."""
_RATIO = 30  # of positive numbers that span more the axis is logarithmic


@dataclass(frozen=True, eq=False)
class Drawn:
    """What charts of a sweep are made of.

    Attributes:
        layout: of the sweep.
        metrics: that may be chosen, the first before anything is.
        links: where a click on a run leads, by its name.
        words: what keys are called.
    """

    layout: Layout
    metrics: tuple[str, ...]
    links: Mapping[str, str]
    words: Words

    @cached_property
    def rows_of(self) -> dict[str, int]:
        """Name of a run -> where it stands in the layout."""
        return {run.name: row for row, run in enumerate(self.layout.runs)}

    def params(self) -> list[Spec]:
        """The metric that is chosen, and what each is called."""
        titles = {name: ", ".join(filter(None, described(name))) for name in self.metrics}
        return [{"name": "metric", "value": self.metrics[0]}, {"name": "titles", "value": titles}]

    def means(self, names: Iterable[str]) -> dict[str, float | None]:
        """The mean over these runs of each metric that some of them have; none where it is of unlike things."""
        rows = np.array([self.rows_of[name] for name in names], np.int64)
        return {metric: mean for metric in self.metrics if (mean := self._mean(rows, metric)) is not None}

    def _mean(self, rows: Ints, metric: str) -> float | None:
        numbers = numbers_of(self.layout, metric)
        there = rows[~np.isnan(numbers.values[rows])]
        if not len(there) or len(set(numbers.condition[there].tolist())) > 1:
            return None
        return significant(spread(numbers.values[there]).mean)

    def group(self, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """What a point for these runs is called, and where a click on it leads."""
        called = self.words.combination(values) or "the one configuration"
        return {"name": f"{called} ({count(len(names), 'run')})", "href": self.links[names[0]] if names else ""}

    def run_rows(self) -> Rows:
        """A row of data for each run that has one of the metrics: its name, link and numbers."""
        found = []
        values = {metric: numbers_of(self.layout, metric).values for metric in self.metrics}
        for row, run in enumerate(self.layout.runs):
            own = {metric: significant(x[row]) for metric, x in values.items() if not np.isnan(x[row])}
            if own:
                found.append({"row": row, "name": run.name, "href": self.links[run.name], "m": own})
        return found

    def level(self, key: str, row: int) -> Any:
        """The value of a key that a run has."""
        return self.layout.levels[key][self.layout.codes[row, self.layout.keys.index(key)]]

    def is_numeric(self, key: str) -> bool:
        """Whether all values of a key are numbers."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.layout.levels[key])

    def text(self, key: str, value: Any) -> str:
        """A swept value in a chart."""
        return self.words.value(key, value, unit=False)


def tooltip(*others: Spec) -> list[Spec]:
    """What is said of a point: what it is called, and the number of the metric chosen."""
    return [field("name", title="run"), field("value:Q", title="the metric", format=".5~g"), *others]


def scaled(name: str, **channel: Any) -> Spec:
    """A number on an axis that need not begin at 0."""
    return field(f"{name}:Q", scale={"zero": False}, **channel)


def spans(values: Sequence[Any]) -> bool:
    """Whether numbers are all positive and so far apart that their logarithms are what one wants to see."""
    return min(values) > 0 and max(values) > _RATIO * min(values)


def conditions(where: Mapping[str, str], words: Words) -> str:
    """A condition that numbers were measured under, in words."""
    return ", ".join(f"{words.label(name)} {value}" for name, value in where.items())
