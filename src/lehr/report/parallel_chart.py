"""The runs of a sweep as lines through parallel axes."""

from __future__ import annotations

from lehr.report.document import Chart, Spec
from lehr.report.numbers import significant
from lehr.report.sweep_charts import PLACE, VALUE, Drawn, distinct, run_rows
from lehr.report.vega import data, field

_MOST_LINES = 400


def parallel_coordinates(drawn: Drawn) -> Chart | None:
    """Every run as a line through its swept values and its metric."""
    rows = run_rows(drawn)
    keys = [i for i, key in enumerate(drawn.groups.by) if distinct(drawn, key) > 1]
    if not keys or len(rows) < 2:
        return None
    left_out = max(0, len(rows) - _MOST_LINES)
    step = len(rows) / min(len(rows), _MOST_LINES)
    rows = [rows[int(i * step)] for i in range(min(len(rows), _MOST_LINES))]
    axes = [drawn.words.label(drawn.groups.by[i]) for i in keys]
    lines, ticks = [], []
    for i, axis in zip(keys, axes, strict=True):
        levels = sorted({row[f"k{i}"] for row in rows}, key=lambda v: (isinstance(v, str), v))
        at = {level: j / max(1, len(levels) - 1) for j, level in enumerate(levels)}
        ticks += [{"axis": axis, "y": at[level], "label": str(level)} for level in levels[:: max(1, len(levels) // 12)]]
        for row in rows:
            row.setdefault("at", {})[axis] = at[row[f"k{i}"]]
    for number, row in enumerate(rows):
        row["line"] = number
        at = row.pop("at")
        lines += [{"line": number, "axis": axis, "y": significant(y, 3)} for axis, y in at.items()]
    by_line = {row["line"]: row for row in rows}
    data_rows = [{**line, **{k: by_line[line["line"]][k] for k in ("m", "name", "href")}} for line in lines]
    data_rows += [
        {"line": n, "axis": "the metric", "y": None, "m": r["m"], "name": r["name"], "href": r["href"]}
        for n, r in by_line.items()
    ]
    order = [*axes, "the metric"]
    transform = [
        {"calculate": VALUE, "as": "value"},
        {"filter": "isValid(datum.value)"},
        {
            "joinaggregate": [
                {"op": "min", "field": "value", "as": "low"},
                {"op": "max", "field": "value", "as": "high"},
            ]
        },
        {
            "calculate": f"datum.axis == 'the metric' ? {PLACE} : datum.y",
            "as": "y",
        },
    ]
    x: Spec = field(
        "axis:O",
        sort=order,
        title=None,
        axis={"orient": "top", "labelAngle": 0, "grid": True, "gridOpacity": 0.5},
        scale={"type": "point"},
    )
    y: Spec = field("y:Q", axis=None)
    spec: Spec = {
        "params": [drawn.parameter()],
        "layer": [
            {
                "data": data(data_rows),
                "transform": transform,
                "mark": {"type": "line", "opacity": 0.55, "strokeWidth": 1.3},
                "encoding": {
                    "x": x,
                    "y": y,
                    "detail": field("line"),
                    "href": field("href"),
                    "color": field("value:Q", scale={"scheme": "viridis"}, title="the metric"),
                    "tooltip": [field("name", title="run"), field("value:Q", title="the metric", format=".5~g")],
                },
            },
            {
                "data": data(ticks),
                "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 11, "tooltip": False},
                "encoding": {"x": x, "y": y, "text": field("label")},
            },
        ],
        "width": max(360, min(900, 190 * len(order))),
        "height": 300,
    }
    note = f" {left_out:,} of the runs are left out, evenly." if left_out else ""
    return Chart(
        "parallel", "Every run as a line", spec, f"From its swept values to the metric, lowest below.{note}", wide=True
    )
