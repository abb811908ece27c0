"""The rate-distortion plane of a sweep (Alemi et al. 2018)."""

from __future__ import annotations

from lehr.report.document import Chart, Spec
from lehr.report.sweep_charts import VALUE, Drawn, Rows, group_rows, run_rows, scaled
from lehr.report.vega import COLOURS, DASHES, MARKERS, data, field
from lehr.sweeps.groups import direction as first_of
from lehr.sweeps.groups import has_direction

_MOST_SERIES = 8


def rate_distortion(drawn: Drawn, split: str) -> Chart | None:
    """The rate-distortion plane: a curve over the KL weight for each group of the other keys, the best one marked."""
    x, y = f"{split}/rate", f"{split}/distortion"
    groups, runs = group_rows(drawn), run_rows(drawn)
    for row in (*groups, *runs):
        row["rate"], row["distortion"] = row["m"].get(x), row["m"].get(y)
    groups = [row for row in groups if row["rate"] is not None and row["distortion"] is not None]
    if len(groups) < 2:
        return None
    along = "kl.weight" if "kl.weight" in drawn.groups.by else None
    rest = [i for i, key in enumerate(drawn.groups.by) if key != along]
    for row in (*groups, *runs):
        row["series"] = ", ".join(
            f"{drawn.words.label(drawn.groups.by[i])} {drawn.words.value(drawn.groups.by[i], row[f'k{i}'])}"
            for i in rest
        )
    order = list(dict.fromkeys(row["series"] for row in groups))
    axes: Spec = {
        "x": scaled("rate", "rate, nats per example"),
        "y": scaled("distortion", "distortion, nats per example"),
    }
    series: Spec = {}
    if 1 < len(order) <= _MOST_SERIES:
        domain = {"domain": order}
        series = {
            "color": field("series:N", title=None, scale={**domain, "range": list(COLOURS)}),
            "shape": field("series:N", title=None, scale={**domain, "range": list(MARKERS)}),
        }
    value = [{"calculate": VALUE, "as": "value"}]
    layers: list[Spec] = [
        {
            "data": data(runs),
            "transform": value,
            "mark": {"type": "point", "opacity": 0.35, "size": 18},
            "encoding": {**axes, **series, "href": field("href"), "tooltip": drawn.tooltip(("rate", "distortion"))},
        },
    ]
    if along:
        weight = f"k{drawn.groups.by.index(along)}"
        dash = {"strokeDash": field("series:N", title=None, scale={"domain": order, "range": DASHES})}
        lines = {"color": series["color"], **dash} if series else {"detail": field("series")}
        layers.append(
            {
                "data": data(groups),
                "mark": {"type": "line", "strokeWidth": 1.5, "tooltip": False},
                "encoding": {**axes, **lines, "order": field(f"{weight}:Q")},
            }
        )
    layers.append(
        {
            "data": data(groups),
            "transform": value,
            "mark": {"type": "point", "filled": True, "size": 75},
            "encoding": {**axes, **series, "href": field("href"), "tooltip": drawn.tooltip(("rate", "distortion"))},
        }
    )
    layers.append(_best(drawn, groups, axes))
    spec: Spec = {"params": [drawn.parameter(), _signs(drawn)], "layer": layers, "width": 560, "height": 380}
    curves = "; a line joins the KL weights of one combination" if along else ""
    return Chart(
        "rate_distortion",
        "The rate-distortion plane",
        spec,
        f"Filled: means over seeds; faint: single runs{curves}. On a line of slope -1 the ELBO is the same, "
        "and towards the lower left it is better. The ring marks the best mean by the "
        "metric chosen, where it is known which way is better.",
    )


def _signs(drawn: Drawn) -> Spec:
    """Which way of each metric is better: 1, -1, or 0 where neither is."""
    signs = {name: (1 if first_of(name) == "highest" else -1) if has_direction(name) else 0 for name in drawn.metrics}
    return {"name": "signs", "value": signs}


def _best(drawn: Drawn, groups: Rows, axes: Spec) -> Spec:
    """A ring around the best of the groups by the metric chosen."""
    return {
        "data": data(groups),
        "transform": [
            {"calculate": VALUE, "as": "value"},
            {"filter": "signs[metric] != 0 && isValid(datum.value)"},
            {"calculate": "datum.value * signs[metric]", "as": "score"},
            {"joinaggregate": [{"op": "max", "field": "score", "as": "top"}]},
            {"filter": "datum.score == datum.top"},
        ],
        "mark": {"type": "point", "size": 320, "color": "currentColor", "strokeWidth": 2, "tooltip": True},
        "encoding": {**axes, "tooltip": drawn.tooltip()},
    }
