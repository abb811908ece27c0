"""Charts of the aggregate posterior q(z): against N(0, 1), its covariance, and where images lie in it.

Shapes: d latents, k channels, n images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lehr.report.document import Chart, Spec
from lehr.report.numbers import significant
from lehr.report.vega import COLOURS, MARKERS, data, field

Floats = npt.NDArray[np.float64]
_MOST = 64
_MOST_SQUARE = 40
_MOST_CLASSES = 10
_MOST_IMAGES = 500


def against_prior(mean: Floats, var: Floats, var_of_mean: Floats, what: str = "latent") -> Chart:
    """Mean and standard deviation of q(z_j) of each latent, beside those of N(0, 1); (d,) each."""
    order = np.argsort(-var_of_mean, kind="stable")[:_MOST]
    sd = np.sqrt(np.maximum(var, 0))
    rows = [
        {
            what: str(int(j)),
            "mean": significant(mean[j]),
            "sd": significant(sd[j]),
            "low": significant(mean[j] - sd[j]),
            "high": significant(mean[j] + sd[j]),
            "signal": significant(var_of_mean[j]),
        }
        for j in order
    ]
    x: Spec = field(f"{what}:O", sort=None, title=f"{what}, the most active first", axis={"labelAngle": 0})
    tooltip = [field(what), field("mean:Q"), field("sd:Q"), field("signal:Q", title="Var(E[z|x])")]
    band: Spec = {
        "data": data([{"low": -1, "high": 1}]),
        "mark": {"type": "rect", "color": "currentColor", "opacity": 0.09, "tooltip": False},
        "encoding": {"y": field("low:Q"), "y2": field("high")},
    }
    spec: Spec = {
        "layer": [
            band,
            {
                "data": data([{"zero": 0}]),
                "mark": {"type": "rule", "opacity": 0.4, "tooltip": False},
                "encoding": {"y": field("zero:Q")},
            },
            {
                "data": data(rows),
                "mark": {"type": "rule", "color": COLOURS[0], "strokeWidth": 3, "opacity": 0.55},
                "encoding": {
                    "x": x,
                    "y": field("low:Q", title="E[z] ± sd of q(z)"),
                    "y2": field("high"),
                    "tooltip": tooltip,
                },
            },
            {
                "data": data(rows),
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {"x": x, "y": field("mean:Q"), "tooltip": tooltip},
            },
        ],
        "width": 520,
        "height": 240,
    }
    return Chart(
        "against_prior",
        "q(z) against N(0, 1)",
        spec,
        "Mean and standard deviation over the training set; the shaded band is the prior's."
        + _of(len(order), len(mean), what),
    )


def covariance(matrix: Floats, var_of_mean: Floats) -> Chart:
    """The correlations of q(z), (d, d): those of the most active latents."""
    order = np.sort(np.argsort(-var_of_mean, kind="stable")[:_MOST_SQUARE])
    sd = np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    correlation = matrix / sd[:, None] / sd[None, :]
    rows = [
        {
            "i": str(int(i)),
            "j": str(int(j)),
            "r": significant(correlation[i, j], 3),
            "cov": significant(matrix[i, j], 4),
        }
        for i in order
        for j in order
    ]
    names = [str(int(i)) for i in order]
    axis = {"labelAngle": 0, "labelOverlap": True}
    spec: Spec = {
        "data": data(rows),
        "mark": "rect",
        "encoding": {
            "x": field("i:O", sort=names, title="latent", axis=axis),
            "y": field("j:O", sort=names, title="latent", axis=axis),
            "color": field("r:Q", title="correlation", scale={"scheme": "blueorange", "domain": [-1, 1]}),
            "tooltip": [
                field("i", title="latent"),
                field("j", title="and"),
                field("r:Q", title="correlation"),
                field("cov:Q", title="covariance"),
            ],
        },
        "width": 300,
        "height": 300,
    }
    off = correlation[np.ix_(order, order)][~np.eye(len(order), dtype=bool)]
    most = f" The largest is {np.abs(off).max():.2f} in absolute value." if off.size else ""
    return Chart(
        "covariance",
        "Correlations of the latents in q(z)",
        spec,
        f"0 off the diagonal is what the prior has.{most}" + _of(len(order), len(matrix), "latent"),
    )


def scatter(latents: Mapping[str, npt.NDArray[Any]], var_of_mean: Floats | None) -> list[Chart]:
    """E[z|x] of images (n, d), by label: the two most active latents, and two principal components."""
    mean = np.asarray(latents["mean"], dtype=np.float64)[:_MOST_IMAGES]
    if mean.ndim != 2 or len(mean) < 2 or not np.isfinite(mean).all():
        return []
    labels = _classes(latents.get("labels"), len(mean))
    if mean.shape[1] == 1:
        return [_strip(mean[:, 0], labels)]
    spread = mean.var(0)
    own = var_of_mean if var_of_mean is not None and len(var_of_mean) == mean.shape[1] else spread
    a, b = (int(j) for j in np.argsort(-own, kind="stable")[:2])
    charts = [
        _points(
            "scatter", "Images by the two most active latents", mean[:, [a, b]], (f"latent {a}", f"latent {b}"), labels
        )
    ]
    if mean.shape[1] > 2:
        centred = mean - mean.mean(0)
        _, s, v = np.linalg.svd(centred, full_matrices=False)
        share = s**2 / max(float((s**2).sum()), 1e-30)
        axes = (f"component 1 ({share[0]:.0%} of the variance)", f"component 2 ({share[1]:.0%})")
        charts.append(
            _points("components", "Images by principal components of E[z|x]", centred @ v[:2].T, axes, labels)
        )
    return charts


def _classes(labels: npt.NDArray[Any] | None, n: int) -> list[str] | None:
    """The label of each image as text; of several factors the first that differs; rare classes together."""
    if labels is None or len(labels) < n:
        return None
    columns = np.asarray(labels[:n]).reshape(n, -1)
    column = next((c for c in columns.T if len(np.unique(c)) > 1), columns[:, 0] if columns.size else None)
    if column is None:
        return None
    values, counts = np.unique(column, return_counts=True)
    kept = set(values[np.argsort(-counts, kind="stable")[:_MOST_CLASSES]].tolist())
    return [str(value) if value in kept else "others" for value in column.tolist()]


def _points(name: str, title: str, xy: Floats, axes: tuple[str, str], labels: list[str] | None) -> Chart:
    rows = [{"x": significant(x, 4), "y": significant(y, 4)} for x, y in xy]
    encoding: Spec = {
        "x": field("x:Q", title=axes[0], scale={"zero": False}),
        "y": field("y:Q", title=axes[1], scale={"zero": False}),
    }
    spec: Spec = {
        "data": data(rows),
        "mark": {"type": "point", "size": 30, "opacity": 0.75},
        "encoding": encoding,
        "width": 340,
        "height": 300,
    }
    caption = f"{len(rows):,} images, each at E[z|x]."
    if labels is not None:
        for row, label in zip(rows, labels, strict=True):
            row["label"] = label  # type: ignore[assignment]
        names = sorted(set(labels), key=lambda text: (text == "others", len(text), text))
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
        # a shape goes on where the colours begin anew, so that no two classes look alike
        shapes = [MARKERS[(i + i // len(COLOURS)) % len(MARKERS)] for i in range(len(names))]
        encoding["color"] = field("label:N", sort=names, scale={"domain": names, "range": colours})
        encoding["shape"] = field("label:N", sort=names, scale={"domain": names, "range": shapes})
        encoding["opacity"] = {"condition": {"param": "chosen", "value": 0.85}, "value": 0.07}
        spec["params"] = [{"name": "chosen", "select": {"type": "point", "fields": ["label"]}, "bind": "legend"}]
        caption += " A click on a label shows that one alone."
    encoding["tooltip"] = [
        field(f, title=t) for f, t in (("label", "label"), ("x", axes[0]), ("y", axes[1])) if f in rows[0]
    ]
    return Chart(name, title, spec, caption)


def _strip(values: Floats, labels: list[str] | None) -> Chart:
    """One latent alone: how often each value occurs, a row for each label."""
    rows = [{"x": significant(x, 4), "label": labels[i] if labels else "images"} for i, x in enumerate(values)]
    spec: Spec = {
        "data": data(rows),
        "mark": {"type": "tick", "opacity": 0.5},
        "encoding": {"x": field("x:Q", title="latent 0"), "y": field("label:N", title=None)},
        "width": 520,
    }
    return Chart("scatter", "Images by the latent", spec, f"{len(rows):,} images, each at E[z|x].")


def position_map(values: Floats, name: str, title: str, caption: str, legend: str) -> Chart:
    """A number for each position of a latent map, (zh, zw)."""
    step = max(1, int(np.ceil(max(values.shape) / 64)))
    shown = values[::step, ::step]
    rows = [
        {"row": i * step, "column": j * step, "v": significant(v, 4)}
        for i, line in enumerate(shown)
        for j, v in enumerate(line)
    ]
    height = 260 * shown.shape[0] / max(shown.shape)
    axis = {"labelAngle": 0, "labelOverlap": True}
    spec: Spec = {
        "data": data(rows),
        "mark": "rect",
        "encoding": {
            "x": field("column:O", axis=axis),
            "y": field("row:O", axis=axis),
            "color": field("v:Q", title=legend, scale={"scheme": "viridis"}),
        },
        "width": 260 * shown.shape[1] / max(shown.shape),
        "height": height,
    }
    return Chart(name, title, spec, caption)


def _of(shown: int, n: int, what: str) -> str:
    return "" if shown == n else f" The {shown} most active of {n:,} {what}s are shown."
