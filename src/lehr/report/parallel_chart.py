"""The runs of a sweep as lines through parallel axes (Inselberg 1985)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lehr.report.document import Chart, Spec
from lehr.report.numbers import significant
from lehr.report.sweep_charts import HAS_VALUE, PLACE, VALUE, Drawn, Rows, spans, tooltip
from lehr.report.vega import data, field

_MOST_LINES = 400
_MOST_LABELS = 10
_FEW = 14
"""Values of a key that stand at equal distances; more numbers are placed to scale."""
_OWN = "m"  # of the axis of the metric
_ENDS = [{"op": op, "field": "value", "as": name} for op, name in (("min", "low"), ("max", "high"))]


def parallel_coordinates(drawn: Drawn) -> Chart | None:
    """Every run as a line through its swept values and its metric; None where nothing differs."""
    rows = drawn.run_rows()
    keys = [key for key in drawn.layout.keys if len(drawn.layout.levels[key]) > 1]
    if not keys or len(rows) < 2:
        return None
    # drawn at random: every n-th of a grid would leave out whole values
    chosen = np.random.default_rng(0).permutation(len(rows))[:_MOST_LINES]
    lines = [rows[i] for i in sorted(chosen.tolist())]
    labels: Rows = []
    for number, key in enumerate(keys):
        levels = drawn.layout.levels[key]
        at = places(levels, drawn.is_numeric(key))
        named = [(y, drawn.text(key, level)) for y, level in zip(at, levels, strict=True)]
        labels += [{"at": f"p{number}", "y": y, "label": label} for y, label in _spread_out(named)]
        codes = drawn.layout.codes[:, drawn.layout.keys.index(key)]
        for row in lines:
            row[f"p{number}"] = significant(at[codes[row["row"]]], 3)
    axes = {f"p{number}": drawn.words.label(key) for number, key in enumerate(keys)}
    left_out = len(rows) - len(lines)
    note = f" {left_out:,} of {len(rows):,} runs are left out, drawn at random." if left_out else ""
    spec: Spec = {
        "params": [*drawn.params(), {"name": "axes", "value": axes}],
        "layer": _layers(lines, labels, list(axes)),
        "width": max(360, min(900, 190 * (len(axes) + 1))),
        "height": 300,
    }
    caption = (
        "From its swept values to the metric, the highest on top, as the colour says. In the page a click leads to the "
        f"run.{note}"
    )
    return Chart("parallel", "Every run as a line", spec, caption, wide=True)


def places(levels: Sequence[Any], numeric: bool) -> list[float]:
    """Where on an axis from 0 to 1 the values of a key stand: few at equal distances, many numbers to scale."""
    if not numeric or len(levels) <= _FEW:
        return [i / max(1, len(levels) - 1) for i in range(len(levels))]
    scaled = [math.log(x) for x in levels] if spans(levels) else [float(x) for x in levels]
    low, high = min(scaled), max(scaled)
    return [(x - low) / (high - low) for x in scaled]


def _spread_out(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """As many labels as have room, both ends among them."""
    kept = [labels[0]]
    for y, label in labels[1:-1]:
        if y - kept[-1][0] >= 1 / _MOST_LABELS <= 1 - y:
            kept.append((y, label))
    return kept + list(labels[-1:] if len(labels) > 1 else [])


def _layers(lines: Rows, labels: Rows, axes: list[str]) -> list[Spec]:
    order = [*axes, _OWN]
    named: Spec = {"labelExpr": f"datum.value == '{_OWN}' ? titles[metric] : axes[datum.value]", "labelLimit": 170}
    axis = {
        **named,
        "orient": "top",
        "labelAngle": 0,
        "labelPadding": 14,
        "ticks": False,
        "grid": True,
        "gridOpacity": 0.6,
        "domain": False,
    }
    scale = {"type": "point", "domain": order, "padding": 0.35}
    x: Spec = field("at:N", sort=order, title=None, axis=axis, scale=scale)
    y: Spec = field("y:Q", axis=None, scale={"domain": [0, 1]})
    text = {"type": "text", "fontSize": 11, "fontWeight": "bold", "tooltip": False}
    colour = field("value:Q", scale={"scheme": "viridis"}, legend=None)
    ends = {"calculate": "datum.end == 'low' ? 0 : 1", "as": "y"}
    own = {"calculate": f"'{_OWN}'", "as": "at"}
    of_ends = [{"aggregate": _ENDS}, {"fold": ["low", "high"], "as": ["end", "value"]}, ends, own]
    folded = {"fold": order, "as": ["at", "y"]}
    return [
        {
            "data": data(lines),
            "transform": [VALUE, HAS_VALUE, {"joinaggregate": _ENDS}, {"calculate": PLACE, "as": _OWN}, folded],
            "mark": {"type": "line", "strokeOpacity": 0.6, "strokeWidth": 1.4},
            "encoding": {
                "x": x, "y": y, "detail": field("row"), "href": field("href"), "color": colour, "tooltip": tooltip(),
            },
        },
        {
            "data": data(labels),
            "mark": {**text, "align": "right", "dx": -6},
            "encoding": {"x": x, "y": y, "text": field("label:N")},
        },
        {
            "data": data(lines),
            "transform": [VALUE, HAS_VALUE, *of_ends],
            "mark": {**text, "align": "left", "dx": 6},
            "encoding": {"x": x, "y": y, "text": field("value:Q", format=".4~g")},
        },
    ]  # fmt: skip
