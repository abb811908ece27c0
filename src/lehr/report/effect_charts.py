"""What each swept key does to a metric, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lehr.report.document import Chart, Spec
from lehr.report.effects import Effect
from lehr.report.numbers import significant
from lehr.report.sweep_charts import Drawn, Rows, plain, scaled
from lehr.report.vega import COLOURS, data, field


def effect_plots(drawn: Drawn, found: Mapping[str, Sequence[Effect]]) -> list[Chart]:
    """The metric at each value of each key, averaged over matched combinations, with a band over seeds.

    Args:
        drawn: the sweep.
        found: metric -> the effects of the keys on it.
    """
    charts = []
    for place, key in enumerate(drawn.groups.by):
        rows: Rows = []
        numeric = True
        for metric, effects in found.items():
            for effect in effects:
                if effect.key != key:
                    continue
                numeric = numeric and effect.numeric
                where = ", ".join(f"{name} {value}" for name, value in effect.where.items())
                rows += [
                    {
                        "metric": metric,
                        "x": plain(drawn, key, level.value),
                        "mean": significant(level.mean),
                        "low": None if level.low is None else significant(level.low),
                        "high": None if level.high is None else significant(level.high),
                        "n": level.n,
                        "where": where,
                    }
                    for level in effect.levels
                ]
        if len({str(row["x"]) for row in rows}) > 1:
            charts.append(_effect_plot(drawn, f"effect_{place}", key, rows, numeric))
    return charts


def _effect_plot(drawn: Drawn, name: str, key: str, rows: Rows, numeric: bool) -> Chart:
    label = drawn.words.label(key)
    x: Spec = field("x:O", title=label, axis={"labelAngle": 0 if numeric else -30})
    y: Spec = {**scaled("mean", "mean of the metric"), "stack": None}
    tooltip = [
        field("x", title=label),
        field("mean:Q", format=".5~g"),
        field("low:Q", format=".5~g"),
        field("high:Q", format=".5~g"),
        field("n", title="seeds"),
        field("where", title="of"),
    ]
    series: Spec = {"detail": field("where")}
    if len({row["where"] for row in rows}) > 1:
        series = {
            "color": field("where:N", title=None),
            "shape": field("where:N", title=None),
        }
    line_series = {k: v for k, v in series.items() if k != "shape"}
    layers: list[Spec] = [
        {
            "transform": [{"filter": "isValid(datum.low)"}],
            "mark": {"type": "rule", "strokeWidth": 6, "opacity": 0.3, "tooltip": False}
            | ({} if "color" in series else {"color": COLOURS[0]}),
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": field("high"), **line_series},
        },
    ]
    if numeric:
        layers.append(
            {"mark": {"type": "line", "opacity": 0.6, "tooltip": False}, "encoding": {"x": x, "y": y, **line_series}}
        )
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "size": 60},
            "encoding": {"x": x, "y": y, **series, "tooltip": tooltip},
        }
    )
    steps = len({str(row["x"]) for row in rows})
    spec: Spec = {
        "params": [drawn.parameter()],
        "data": data(rows),
        "transform": [{"filter": "datum.metric == metric"}],
        "layer": layers,
        "width": max(160, min(380, 60 * steps)),
        "height": 220,
    }
    return Chart(name, f"What {label} does", spec, "Means over matched runs; the bars are 95% intervals over seeds.")
