"""A metric over two swept keys, as a picture: with active units over KL weight and warm-up the map of collapse."""

from __future__ import annotations

from typing import Any

from lehr.report.document import Chart, Spec
from lehr.report.maps import Map, MapCell, map_keys, maps
from lehr.report.numbers import significant
from lehr.report.sweep_charts import HAS_VALUE, LEGEND, PLACE, VALUE, Drawn, Rows, conditions, tooltip
from lehr.report.vega import data, field
from lehr.report.words import joined

_MOST_CELLS_WITH_TEXT = 150
_MOST_MAPS = 12
_BRIGHT = 0.43
"""Where viridis is so bright that black is told from it by 4.5 to 1, and not yet so that white is not."""
_FULL = 1 / 3
"""How much of a map has to have runs: that of a search is nearly empty."""


def map_chart(drawn: Drawn) -> Chart | None:
    """The metric over two keys: a map for each combination of the other keys and each condition."""
    keys = map_keys(drawn.layout)
    if keys is None:
        return None
    every = {metric: maps(drawn.layout, metric) for metric in drawn.metrics}
    facets = list(dict.fromkeys(_facet(drawn, one) for found in every.values() for one in found))
    shown = facets[:_MOST_MAPS]
    rows = _rows(drawn, every, set(shown))
    if not rows or sum(row["runs"] > 0 for row in rows) < _FULL * len(rows):
        return None
    labels = [drawn.words.label(key) for key in keys]
    notes = "Means over seeds. A cross: runs, but no number; empty: no runs."
    if len(facets) > len(shown):
        notes += f" {len(facets) - len(shown):,} of {len(facets):,} maps are left out."
    spec = {"params": drawn.params(), "data": data(rows), **_spec(drawn, keys, rows, len(shown) > 1)}
    return Chart("map", f"The metric over {joined(labels[::-1])}", spec, notes, wide=len(shown) > 1)


def _facet(drawn: Drawn, one: Map) -> str:
    rest = {key: value for key, value in one.rest.items() if key not in one.where}
    return ", ".join(filter(None, [drawn.words.combination(rest), conditions(one.where, drawn.words)]))


def _rows(drawn: Drawn, every: dict[str, list[Map]], shown: set[str]) -> Rows:
    """A row of data for each cell: `m` has null where a map of the metric has the cell, but no number."""
    cells: dict[tuple[str, int, int], dict[str, Any]] = {}
    for metric, found in every.items():
        for one in found:
            if (facet := _facet(drawn, one)) not in shown:
                continue
            for i, line in enumerate(one.cells):
                for j, cell in enumerate(line):
                    if (facet, i, j) not in cells:
                        cells[facet, i, j] = _row(drawn, one, (i, j), cell, facet)
                    cells[facet, i, j]["m"][metric] = None if cell.mean is None else significant(cell.mean)
    return list(cells.values())


def _row(drawn: Drawn, one: Map, at: tuple[int, int], cell: MapCell, facet: str) -> dict[str, Any]:
    row, column = one.rows[at[0]], one.columns[at[1]]
    return {
        **drawn.group({one.row: row, one.column: column, **one.rest}, cell.runs),
        "x": drawn.text(one.row, row),
        "y": drawn.text(one.column, column),
        "facet": facet,
        "runs": len(cell.runs),
        "m": {},
    }


def _spec(drawn: Drawn, keys: tuple[str, str], rows: Rows, faceted: bool) -> Spec:
    across, down = (list(dict.fromkeys(drawn.text(key, v) for v in drawn.layout.levels[key])) for key in keys)
    encoding: Spec = {
        "x": field("x:O", title=drawn.words.label(keys[0]), sort=across, axis={"labelAngle": 0}),
        "y": field("y:O", title=drawn.words.label(keys[1]), sort=down[::-1]),
    }
    legend = {"orient": "bottom", "gradientLength": 200, **LEGEND}
    told: Spec = {"href": field("href"), "tooltip": tooltip(field("runs:Q"))}
    layers: list[Spec] = [
        {
            "transform": [HAS_VALUE],
            "mark": {"type": "rect"},
            "encoding": {
                "color": field("value:Q", scale={"scheme": "viridis"}, legend=legend),
                **told,
            },
        },
        {
            "transform": [{"filter": "!isValid(datum.value) && datum.runs > 0"}],
            "mark": {"type": "text", "text": "×", "fontSize": 14},
            "encoding": {"href": field("href"), "tooltip": [field("name", title="no number")]},
        },
    ]
    if len(rows) <= _MOST_CELLS_WITH_TEXT:
        ink = {"condition": {"test": f"datum.place > {_BRIGHT}", "value": "#000"}, "value": "#fff"}
        layers.append({
            "transform": [HAS_VALUE],
            "mark": {"type": "text", "fontSize": 11},
            "encoding": {"text": field("value:Q", format=".4~g"), "color": ink, **told},
        })  # fmt: skip
    cell, most = ((62, 34), (560, 420)) if len(rows) <= _MOST_CELLS_WITH_TEXT else ((22, 18), (320, 240))
    size = {
        "width": max(140, min(most[0], cell[0] * len(across))),
        "height": max(60, min(most[1], cell[1] * len(down))),
    }
    inner: Spec = {"encoding": encoding, "layer": layers, **size}
    extremes = [{"op": op, "field": "value", "as": name} for op, name in (("min", "low"), ("max", "high"))]
    place = {"calculate": PLACE, "as": "place"}
    of_metric = {"filter": "isDefined(datum.m[metric])"}
    transform = [of_metric, VALUE, {"joinaggregate": extremes}, place]
    if faceted:
        inner = {"facet": field("facet", title=None, sort=None), "columns": 2, "spec": inner}
    return {"transform": transform, **inner}
