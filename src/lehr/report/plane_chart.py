"""The rate-distortion plane of a sweep (Alemi et al. 2018), as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lehr.report.best import Best
from lehr.report.document import Chart, Spec
from lehr.report.layout import numbers_of
from lehr.report.numbers import significant
from lehr.report.plane import WEIGHT, Plane, PlanePoint
from lehr.report.sweep_charts import VALUE, Drawn, Rows, conditions, scaled, tooltip
from lehr.report.vega import COLOURS, DASHES, MARKERS, data, field

_MOST_PLANES = 4
_MOST_SERIES = 8
_MOST_LABELS = 16
_LONGEST_LABEL = 5  # letters: what a search draws has more
_MOST_RUNS = 2000
_AXES: Spec = {
    "x": scaled("rate", title="rate, nats per example"),
    "y": scaled("distortion", title="distortion, nats per example"),
}
_TOOLTIP = tooltip(field("rate:Q", format=".5~g"), field("distortion:Q", format=".5~g"))
_CAPTION = (
    "Filled: means over seeds, pale where another has less of both; small: single runs{curves}. The lower left is "
    "better. On the dashed line the ELBO is that of the best; the broad one is the lower convex hull, with the "
    "best at some KL weight at its corners. The ring is around the best by the metric chosen, where it has one."
)


def plane_charts(drawn: Drawn, planes: Sequence[Plane], best: Mapping[str, Sequence[Best]]) -> list[Chart]:
    """The rate-distortion plane of each condition: a curve over the KL weight for each combination of the other keys.

    Args:
        drawn: the sweep.
        planes: `rate_distortion(layout)`.
        best: metric -> the best combinations by it.
    """
    charts = []
    for number, plane in enumerate(planes[:_MOST_PLANES]):
        if len(plane.points) < 2:
            continue
        of = f", {conditions(plane.where, drawn.words)}" if plane.where else ""
        name = "rate_distortion" if not number else f"rate_distortion_{number + 1}"
        curves = "; a line joins the KL weights of one combination" if _joined(plane) else ""
        groups, runs = _rows(drawn, plane, best)
        layers = _layers(plane, groups, runs)
        spec = {"params": drawn.params(), "data": data(groups), "layer": layers, "width": 560, "height": 380}
        charts.append(Chart(name, f"The rate-distortion plane{of}", spec, _CAPTION.format(curves=curves)))
    return charts


def _joined(plane: Plane) -> bool:
    return any(len(curve.points) > 1 for curve in plane.curves)


def _layers(plane: Plane, groups: Rows, runs: Rows) -> list[Spec]:
    """The layers, those without data of their own on `groups`, which are many and stand in the chart once."""
    order = list(dict.fromkeys(row["series"] for row in groups))
    series = _series(order)
    layers = [*_hull(plane.points), *_same_elbo(plane.points)]
    dots = {"type": "point", "opacity": 0.45, "size": 16}
    if runs:
        layers.append({"data": data(runs), **_points({**dots, "strokeWidth": 1}, series)})
    if _joined(plane):
        dash = {"strokeDash": field("series:N", title=None, scale={"domain": order, "range": DASHES})}
        lines = {"color": series["color"], **dash} if series else {"detail": field("series")}
        layers.append({
            "mark": {"type": "line", "strokeWidth": 1.5, "tooltip": False, "opacity": 1 if series else 0.4},
            "encoding": {**_AXES, **lines, "order": field("place:Q")},
        })  # fmt: skip
    pale = {"fillOpacity": {"condition": {"test": "datum.front", "value": 1}, "value": 0.5}}
    layers.append(_points({"type": "point", "filled": True, "size": 75}, {**series, **pale}))
    if len(groups) <= _MOST_LABELS and 0 < max(len(row["weight"]) for row in groups) <= _LONGEST_LABEL:
        layers.append({
            "mark": {"type": "text", "align": "left", "dx": 8, "dy": -6, "fontSize": 10, "tooltip": False},
            "encoding": {**_AXES, "text": field("weight:N")},
        })  # fmt: skip
    return [*layers, _ring()]


def _rows(drawn: Drawn, plane: Plane, best: Mapping[str, Sequence[Best]]) -> tuple[Rows, Rows]:
    """Of the points, and of the single runs of those that are means."""
    groups: Rows = []
    runs: Rows = []
    singles = {row["name"]: row for row in drawn.run_rows()}
    both = {name: numbers_of(drawn.layout, f"{plane.split}/{name}") for name in ("rate", "distortion")}
    ringed = {metric: {name for one in found for name in one.best.runs} for metric, found in best.items()}
    for curve in plane.curves:
        series = drawn.words.combination({k: v for k, v in curve.values.items() if k not in plane.where})
        for place, point in enumerate(curve.points):
            groups.append({
                **drawn.group(point.values, point.runs),
                "m": drawn.means(point.runs),
                "rate": significant(point.rate),
                "distortion": significant(point.distortion),
                "series": series,
                "weight": "" if point.weight is None else drawn.text(WEIGHT, point.weight),
                "place": place,
                "front": point.on_front,
                "best": {metric: 1 for metric, names in ringed.items() if names & set(point.runs)},
            })  # fmt: skip
            own = [singles[name] for name in point.runs if name in singles] if point.n > 1 else []
            for row in own:
                there = {name: significant(float(numbers.values[row["row"]])) for name, numbers in both.items()}
                runs.append({**row, **there, "series": series})
    step = max(1, -(-len(runs) // _MOST_RUNS))
    return groups, runs[::step]


def _series(order: Sequence[str]) -> Spec:
    """Colours and shapes of a few curves; of many none."""
    if not 1 < len(order) <= _MOST_SERIES:
        return {}
    colours, shapes = ({"domain": list(order), "range": list(of)} for of in (COLOURS, MARKERS))
    legend = {"symbolOpacity": 1, "orient": "bottom", "columns": 2}
    return {
        "color": field("series:N", title=None, scale=colours, legend=legend),
        "shape": field("series:N", title=None, scale=shapes, legend=legend),
    }


def _points(mark: Spec, series: Spec) -> Spec:
    encoding = {**_AXES, **series, "href": field("href"), "tooltip": _TOOLTIP}
    return {"transform": [VALUE], "mark": mark, "encoding": encoding}


def _hull(points: Sequence[PlanePoint]) -> list[Spec]:
    corners = sorted((point.rate, point.distortion) for point in points if point.on_hull)
    if len(corners) < 2:
        return []
    rows = [{"rate": significant(rate), "distortion": significant(distortion)} for rate, distortion in corners]
    mark = {"type": "line", "strokeWidth": 9, "opacity": 0.13, "color": "currentColor", "tooltip": False}
    return [{"data": data(rows), "mark": mark, "encoding": {**_AXES, "order": field("rate:Q")}}]


def _same_elbo(points: Sequence[PlanePoint]) -> list[Spec]:
    """The line of slope -1 through the point with the highest ELBO, as far as the points reach."""
    best = next(point for point in points if point.is_best)
    cost = best.rate + best.distortion
    rates, distortions = [point.rate for point in points], [point.distortion for point in points]
    ends = max(min(rates), cost - max(distortions)), min(max(rates), cost - min(distortions))
    if ends[0] >= ends[1]:
        return []
    rows = [{"rate": significant(rate), "distortion": significant(cost - rate)} for rate in ends]
    mark = {"type": "line", "strokeWidth": 1, "strokeDash": [3, 3], "color": "currentColor", "tooltip": False}
    return [{"data": data(rows), "mark": {**mark, "opacity": 0.6}, "encoding": _AXES}]


def _ring() -> Spec:
    """A ring around the best by the metric that is chosen."""
    shown = {"test": "datum.best[metric]"}  # no filter: of no rows at all an axis has no ends
    ring = {
        "size": {"condition": {**shown, "value": 320}, "value": 0},
        "opacity": {"condition": {**shown, "value": 1}, "value": 0},
    }
    mark = {"type": "point", "color": "currentColor", "strokeWidth": 2, "shape": "circle"}
    encoding = {**_AXES, **ring, "href": field("href"), "tooltip": _TOOLTIP}
    return {"transform": [VALUE], "mark": mark, "encoding": encoding}
