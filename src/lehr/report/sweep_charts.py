"""Charts of a sweep. Each hangs on the metric that is chosen, the parameter `metric` of its specification.

A group is a combination of the swept values but for the seed. In the data of a chart `k0`, `k1`, ... are the swept
keys, whose own names have dots in them, and `m` has the numbers by metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lehr.report.document import Spec
from lehr.report.numbers import significant
from lehr.report.vega import field
from lehr.report.words import Words
from lehr.sweeps.groups import Answer

Rows = list[dict[str, Any]]
PLACE = "(datum.high > datum.low ? (datum.value - datum.low) / (datum.high - datum.low) : 0.5)"
VALUE = "isValid(datum.m[metric]) ? datum.m[metric] : null"


@dataclass(frozen=True)
class Drawn:
    """What charts of a sweep are made of.

    Attributes:
        groups: means over the runs of each group; the table of the sweep.
        runs: one row a run, the same metrics.
        links: where a click on a run leads, by its name.
        words: what keys are called.
    """

    groups: Answer
    runs: Answer
    links: Mapping[str, str]
    words: Words

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.groups.metrics

    def combination(self, values: Sequence[Any]) -> str:
        """The swept values of a group in words."""
        return self.words.combination(dict(zip(self.groups.by, values, strict=True)))

    def parameter(self) -> Spec:
        """The metric that is chosen."""
        return {"name": "metric", "value": self.metrics[0]}

    def tooltip(self, of: Iterable[str] = ()) -> list[Spec]:
        """What is said of a point: its name, its swept values and the metric."""
        fields = [field(f"k{i}", title=self.words.label(key)) for i, key in enumerate(self.groups.by)]
        return [
            field("name", title="run"),
            *({**field, "type": "nominal"} for field in fields),
            field("value:Q", title="the metric", format=".5~g"),
            *(field(f"{name}:Q", format=".5~g") for name in of),
        ]


def group_rows(drawn: Drawn) -> Rows:
    """A row of data for each group with a number."""
    rows = []
    for row in drawn.groups.rows:
        cells = dict(zip(drawn.metrics, row.cells, strict=True))
        means = {name: significant(cell.mean) for name, cell in cells.items() if cell.mean is not None}
        done = next((run.name for run in row.runs if run.state == "done"), row.runs[0].name)
        rows.append(
            {
                **_keys(drawn, row.values),
                "name": f"{drawn.combination(row.values)} ({row.done} runs)",
                "href": drawn.links.get(done, ""),
                "m": means,
                "n": row.done,
            }
        )
    return [row for row in rows if row["m"]]


def run_rows(drawn: Drawn) -> Rows:
    """A row of data for each run with a number."""
    place = [drawn.runs.by.index(key) for key in drawn.groups.by]
    rows = []
    for row in drawn.runs.rows:
        run = row.runs[0]
        numbers = {name: run.metrics.get(name) for name in drawn.metrics}
        found = {name: significant(float(value)) for name, value in numbers.items() if value is not None}
        if found:
            values = tuple(row.values[i] for i in place)
            rows.append({**_keys(drawn, values), "name": run.name, "href": drawn.links.get(run.name, ""), "m": found})
    return rows


def _keys(drawn: Drawn, values: Sequence[Any]) -> dict[str, Any]:
    return {
        f"k{i}": plain(drawn, key, value) for i, (key, value) in enumerate(zip(drawn.groups.by, values, strict=True))
    }


def plain(drawn: Drawn, key: str, value: Any) -> Any:
    """A swept value in the data of a chart: numbers as they are, all else as it would be typed."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else drawn.words.value(key, value, unit=False)


def distinct(drawn: Drawn, key: str) -> int:
    place = drawn.groups.by.index(key)
    return len({str(row.values[place]) for row in drawn.groups.rows})


def scaled(name: str, title: str) -> Spec:
    """A number on an axis that need not begin at 0."""
    return field(f"{name}:Q", title=title, scale={"zero": False})
