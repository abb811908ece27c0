"""A metric over two swept keys: with active units over KL weight and warm-up the map of collapse."""

from __future__ import annotations

from lehr.report.document import Chart, Spec
from lehr.report.sweep_charts import PLACE, VALUE, Drawn, distinct, group_rows
from lehr.report.vega import data, field

_MOST_CELLS_WITH_TEXT = 150


def value_map(drawn: Drawn) -> list[Chart]:
    """The metric over two swept keys, KL weight by warm-up first: a map for each combination of the other keys."""
    wanted = ["kl.weight", "kl.warmup", "kl.hold", "model.latent_dim"]
    keys = sorted(
        (key for key in drawn.groups.by if distinct(drawn, key) > 1),
        key=lambda key: (wanted.index(key) if key in wanted else len(wanted), -distinct(drawn, key)),
    )
    if len(keys) < 2:
        return []
    rows = group_rows(drawn)
    if not rows:
        return []
    a, b = (drawn.groups.by.index(key) for key in keys[:2])
    rest = [i for i in range(len(drawn.groups.by)) if i not in (a, b)]
    for row in rows:
        row["facet"] = ", ".join(
            f"{drawn.words.label(drawn.groups.by[i])} {drawn.words.value(drawn.groups.by[i], row[f'k{i}'])}"
            for i in rest
        )
    encoding: Spec = {
        "x": field(f"k{a}:O", title=drawn.words.label(keys[0]), axis={"labelAngle": 0}),
        "y": field(f"k{b}:O", title=drawn.words.label(keys[1]), sort="descending"),
    }
    layers: list[Spec] = [
        {
            "mark": {"type": "rect"},
            "encoding": {
                "color": field(
                    "value:Q", title={"expr": "metric"}, scale={"scheme": "viridis"}, legend={"gradientLength": 160}
                ),
                "href": field("href"),
                "tooltip": drawn.tooltip(),
            },
        }
    ]
    layers[0]["encoding"]["color"]["title"] = "the metric"
    if len(rows) <= _MOST_CELLS_WITH_TEXT:
        layers.append(
            {
                "mark": {"type": "text", "fontSize": 11, "tooltip": False},
                "encoding": {
                    "text": field("value:Q", format=".4~g"),
                    "color": {"condition": {"test": "datum.place > 0.55", "value": "#000"}, "value": "#fff"},
                },
            }
        )
    transform = [
        {"calculate": VALUE, "as": "value"},
        {
            "joinaggregate": [
                {"op": "min", "field": "value", "as": "low"},
                {"op": "max", "field": "value", "as": "high"},
            ]
        },
        {
            "calculate": PLACE,
            "as": "place",
        },
        {"filter": "isValid(datum.value)"},
    ]
    facets = list(dict.fromkeys(row["facet"] for row in rows))
    across, down = distinct(drawn, keys[0]), distinct(drawn, keys[1])
    size = {"width": max(140, min(560, 62 * across)), "height": max(60, min(420, 34 * down))}
    inner: Spec = {"encoding": encoding, "layer": layers, **size}
    if len(facets) > 1:
        spec: Spec = {"facet": field("facet", title=None, sort=facets), "columns": 2, "spec": inner}
    else:
        spec = inner
    spec = {"params": [drawn.parameter()], "data": data(rows), "transform": transform, **spec}
    title = f"The metric over {drawn.words.label(keys[0])} and {drawn.words.label(keys[1])}"
    return [
        Chart(
            "map", title, spec, "Means over seeds. Where a cell is missing no run there is done.", wide=len(facets) > 1
        )
    ]
