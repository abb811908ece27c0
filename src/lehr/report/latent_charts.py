"""Charts of the aggregate posterior q(z): against N(0, 1), its covariance, and by position. Shapes: d latents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lehr.report.document import Chart, Spec
from lehr.report.numbers import significant
from lehr.report.vega import COLOURS, data, field

Floats = npt.NDArray[np.float64]
_MOST = 64
_MOST_SQUARE = 40


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
