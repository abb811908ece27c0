"""What the parts of the runs of a sweep took, and what a precision does, as pictures."""

from __future__ import annotations

from collections.abc import Sequence

from lehr.report.ablation import PRECISION, PrecisionEffect
from lehr.report.cost import Cost
from lehr.report.document import Chart, Spec
from lehr.report.numbers import significant
from lehr.report.sweep_charts import TITLED, Drawn, conditions
from lehr.report.vega import COLOURS, data, field
from lehr.report.words import duration

_UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))


def cost_chart(found: Cost) -> Chart | None:
    """Seconds by part, of all runs together; None where nothing is known."""
    parts = [part for part in found.parts if part.seconds > 0]
    if not parts:
        return None
    unit, seconds = next((unit for unit in _UNITS if parts[0].seconds >= 2 * unit[1]), _UNITS[-1])
    rows = [
        {
            "part": part.name.replace("_", " "),
            "time": significant(part.seconds / seconds),
            "words": duration(part.seconds),
        }
        for part in parts
    ]
    y = field("part:N", sort=None, title=None)
    tooltip = [field("part"), field("words", title="time")]
    x = field("time:Q", title=f"{unit} of all runs together")
    spec: Spec = {
        "data": data(rows),
        "layer": [
            {"mark": "bar", "encoding": {"x": x, "y": y, "tooltip": tooltip}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "tooltip": False},
                "encoding": {"x": x, "y": y, "text": field("words:N")},
            },
        ],
        "width": 420,
        "height": 24 * len(rows),
    }
    return Chart("cost", "Where the time went", spec, "Machine time by part, of all runs together.")


def precision_chart(drawn: Drawn, found: Sequence[PrecisionEffect]) -> Chart | None:
    """The paired differences of the metric that is chosen, with their intervals; None where there are none."""
    rows = []
    for one in found:
        if one.metric not in drawn.metrics:
            continue
        contrast, interval = one.contrast, one.contrast.interval
        new, old = (drawn.text(PRECISION, value) for value in (contrast.value, contrast.against))
        rows.append({
            "metric": one.metric,
            "pair": ", ".join(filter(None, [f"{new} less {old}", conditions(one.where, drawn.words)])),
            "mean": significant(contrast.estimate),
            "low": significant(interval.low) if interval else None,
            "high": significant(interval.high) if interval else None,
            "n": len(contrast.per_seed),
        })  # fmt: skip
    if not rows:
        return None
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    y = field("pair:N", title=None, sort=pairs, axis={"labelLimit": 260})
    number = {"format": ".4~g"}
    tooltip = [
        field("pair", title="pair"), field("mean:Q", title="difference", **number),
        field("low:Q", title="95% from", **number), field("high:Q", title="to", **number), field("n", title="seeds"),
    ]  # fmt: skip
    zero: Spec = {"type": "rule", "strokeDash": [4, 3], "opacity": 0.7, "tooltip": False}
    ends: Spec = {"x": field("low:Q", **TITLED), "x2": field("high"), "y": y}
    dot = {"type": "point", "filled": True, "size": 70, "color": COLOURS[0], "opacity": 1}
    spec: Spec = {
        "params": drawn.params(),
        "data": data(rows),
        "transform": [{"filter": "datum.metric == metric"}],
        "layer": [
            {"mark": zero, "encoding": {"x": {"datum": 0, "type": "quantitative"}}},
            {"mark": {"type": "rule", "strokeWidth": 3, "color": COLOURS[0], "opacity": 0.5}, "encoding": ends},
            {"mark": dot, "encoding": {"x": field("mean:Q", **TITLED), "y": y, "tooltip": tooltip}},
        ],
        "width": 420,
        "height": 30 * len(pairs),
    }
    caption = "Paired differences to the most exact precision, with 95% intervals over the seeds; the dashed line is 0."
    return Chart("precision_differences", "What a precision changes", spec, caption)
