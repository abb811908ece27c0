"""What each swept key does to a metric, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lehr.report.document import Chart, Spec
from lehr.report.effects import Effect
from lehr.report.numbers import significant
from lehr.report.sweep_charts import TITLED, Drawn, Rows, conditions, scaled, spans
from lehr.report.vega import COLOURS, MARKERS, data, field

_MOST_STEPS = 10
"""Values of a key that stand side by side at equal distances; more numbers are drawn to scale."""
_MOST_SERIES = 8


def effect_charts(drawn: Drawn, found: Mapping[str, Sequence[Effect]]) -> list[Chart]:
    """The metric at each value of each key, averaged over matched combinations, with its interval over the seeds.

    Args:
        drawn: the sweep.
        found: metric -> the effects of the keys on it.
    """
    charts = []
    for place, key in enumerate(drawn.layout.keys):
        rows = [
            row
            for metric, effects in found.items()
            for effect in effects
            if effect.key == key
            for row in _rows(drawn, metric, effect)
        ]
        if rows:
            charts.append(_chart(drawn, f"effect_{place}", key, rows))
    return charts


def _rows(drawn: Drawn, metric: str, effect: Effect) -> Rows:
    where = conditions(effect.where, drawn.words)
    return [
        {
            "metric": metric,
            "x": level.value if drawn.is_numeric(effect.key) else drawn.text(effect.key, level.value),
            "mean": significant(level.mean),
            "low": None if level.low is None else significant(level.low),
            "high": None if level.high is None else significant(level.high),
            "n": level.n,
            "matched": level.matched,
            "where": where,
        }
        for level in effect.levels
    ]


def _chart(drawn: Drawn, name: str, key: str, rows: Rows) -> Chart:
    label, numeric = drawn.words.label(key), drawn.is_numeric(key)
    values = list(dict.fromkeys(row["x"] for row in rows))
    to_scale = numeric and len(values) > _MOST_STEPS
    kind = "quantitative" if to_scale else "ordinal"
    scale: Spec = {"type": "log" if spans(values) else "linear", "zero": False} if to_scale else {"type": "point"}
    sort = {} if numeric else {"sort": [drawn.text(key, value) for value in drawn.layout.levels[key]]}
    x: Spec = {"field": "x", "type": kind, "title": label, "scale": scale, "axis": {"labelAngle": 0}, **sort}
    if not numeric:
        x["axis"] = {"labelAngle": -30, "labelLimit": 140}
    series = _series(rows)
    tooltip = [
        field("x", title=label),
        field("mean:Q", format=".5~g"),
        field("low:Q", title="95% from", format=".5~g"),
        field("high:Q", title="to", format=".5~g"),
        field("n", title="seeds"),
        *([field("where", title="of")] if series else []),
    ]
    spread = any(row["low"] is not None for row in rows)
    spec: Spec = {
        "params": drawn.params(),
        "data": data(rows),
        "transform": [{"filter": "datum.metric == metric"}],
        "layer": [
            *_layers(x, series, tooltip, (numeric, spread)),
            *_nothing(drawn, rows),
        ],
        "width": 340 if to_scale else max(180, min(380, 60 * len(values))),
        "height": 220,
    }
    caption = "Means, with 95% intervals over seeds." if spread else "Means."
    return Chart(name, f"What {label} does", spec, caption)


def _nothing(drawn: Drawn, rows: Rows) -> list[Spec]:
    """What stands in the place of a picture, where by the metric chosen the values of the key do not compare."""
    there = {row["metric"] for row in rows}
    if not (without := [metric for metric in drawn.metrics if metric not in there]):
        return []
    middle = {"x": {"expr": "width / 2"}, "y": {"expr": "height / 2"}}
    lacking = {"values": [{"metric": metric, "note": "nothing to compare"} for metric in without]}
    mark = {"type": "text", "align": "center", "tooltip": False, **middle}
    own = [{"filter": "datum.metric == metric"}]
    return [{"data": lacking, "transform": own, "mark": mark, "encoding": {"text": field("note:N")}}]


def _series(rows: Rows) -> Spec:
    """Colours and shapes, where numbers were measured under several conditions."""
    order = list(dict.fromkeys(row["where"] for row in rows if row["where"]))
    if not order:
        return {}
    if len(order) > _MOST_SERIES:
        return {"detail": field("where")}
    colours, shapes = ({"domain": order, "range": list(of)} for of in (COLOURS, MARKERS))
    return {"color": field("where:N", title=None, scale=colours), "shape": field("where:N", title=None, scale=shapes)}


def _layers(x: Spec, series: Spec, tooltip: list[Spec], drawn: tuple[bool, bool]) -> list[Spec]:
    """Bands, lines and points; `drawn` says whether there are lines, and whether any interval is known."""
    numeric, banded = drawn
    y: Spec = scaled("mean", stack=None, **TITLED)
    lines = {channel: value for channel, value in series.items() if channel != "shape"}
    plain = {} if "color" in series else {"color": COLOURS[0]}
    known = [{"filter": "isValid(datum.low)"}]
    ends: Spec = {"x": x, "y": {**y, "field": "low"}, "y2": field("high"), **lines}
    bar = {"type": "rule", "strokeWidth": 2 if numeric else 5, "opacity": 0.45, "tooltip": False, **plain}
    layers: list[Spec] = [{"transform": known, "mark": bar, "encoding": ends}] if banded else []
    if numeric and banded:
        band = {"type": "area", "opacity": 0.18, "tooltip": False, **plain}
        layers.insert(0, {"transform": known, "mark": band, "encoding": ends})
    if numeric:  # means of unlike combinations are joined by nothing
        line = {"type": "line", "strokeWidth": 1.5, "opacity": 0.8, "tooltip": False, **plain}
        layers.append({"transform": [{"filter": "datum.matched"}], "mark": line, "encoding": {"x": x, "y": y, **lines}})
    dots: Spec = {"type": "point", "filled": True, "size": 60, "opacity": 1, **plain}
    layers.append({"mark": dots, "encoding": {"x": x, "y": y, **series, "tooltip": tooltip}})
    return layers
