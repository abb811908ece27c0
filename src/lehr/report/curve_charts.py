"""Charts of a training: curves over images seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from lehr.report.document import Chart, Spec
from lehr.report.numbers import DIGITS, described, is_number, significant
from lehr.report.reading import Curve
from lehr.report.vega import COLOURS, DASHES, data, field
from lehr.report.words import joined

_MOST_POINTS = 200  # of a curve: more are thinned out
_MOST_LATENTS = 64
_MOST_TIMES = 60
_IMAGES: Spec = field("images:Q", title="images seen", axis={"format": "~s"})
_SHORT = "format(datum.value, '~s')"  # of a large number
_SHADE: Spec = {"type": "area", "color": "currentColor", "opacity": 0.1, "tooltip": False}
_BALANCE = ("elbo", "rate", "distortion")
_OWN = {*_BALANCE, "kl_weight", "loss", "active_units"}


def balance(curves: Mapping[str, Curve]) -> Chart | None:
    """ELBO, rate and distortion, with the KL weight behind them: the annealing at work. None without these curves."""
    rows: list[dict[str, Any]] = []
    for name in _BALANCE:
        sign = -1 if name == "elbo" else 1
        label = "-ELBO" if name == "elbo" else name
        for split in ("train", "val"):
            for images, value in points(curves.get(f"{split}/{name}")):
                value = None if value is None else sign * value
                rows.append({"images": images, "nats": value, "term": label, "split": split})
    if not any(row["nats"] is not None for row in rows):
        return None
    names = ["-ELBO", "rate", "distortion"]
    drawn = {row["term"] for row in rows if row["nats"] is not None}
    colour = field("term", scale={"domain": names, "range": list(COLOURS[:3])}, title=None)
    y = field(
        "nats:Q", title="nats per example", scale=_scale([row["nats"] for row in rows if row["nats"] is not None])
    )
    tooltip = [
        field("term", title="curve"),
        field("split"),
        field("nats:Q", format=".3f"),
        field("images:Q", format=","),
    ]
    lines: Spec = {
        "data": data(rows),
        "encoding": {"x": _IMAGES, "y": y, "color": colour, "tooltip": tooltip},
        "layer": [
            {
                "transform": [{"filter": "datum.split == 'train'"}],
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.45, "clip": True},
                "encoding": {"strokeDash": _dashes(names)},
            },
            {
                "transform": [{"filter": "datum.split == 'val'"}],
                "mark": {"type": "line", "clip": True, "point": {"size": 30}},
                "encoding": {"strokeDash": _dashes(names)},
            },
        ],
    }
    weight = _weight(curves.get("train/kl_weight"))
    spec: Spec = {
        "layer": [*weight, lines],
        "resolve": {"scale": {"y": "independent"}},
        "width": 760,
        "height": 280,
    }
    return Chart(
        "curves",
        "The annealing at work: rate, distortion and the KL weight" if weight else _title(drawn),
        spec,
        "Thick lines with points are the validation, thin ones batches of the training"
        f"{'; the shaded area is the KL weight, with its axis on the right' * bool(weight)}. "
        "What is beyond the top is cut off there.",
        wide=True,
    )


def _title(drawn: Collection[str]) -> str:
    text = joined([name for name in ("-ELBO", "rate", "distortion") if name in drawn])
    return f"{text[0].upper()}{text[1:]} over the training"


def _weight(curve: Curve | None) -> list[Spec]:
    """The KL weight as a shaded area with an axis on the right; nothing where it was not logged."""
    rows = [{"images": i, "weight": w} for i, w in points(curve)]
    y = field("weight:Q", title="KL weight (shaded)", axis={"orient": "right", "grid": False, "format": "~g"})
    mark = {**_SHADE, "interpolate": "step-after"}
    return [{"data": data(rows), "mark": mark, "encoding": {"x": _IMAGES, "y": y}}] if rows else []


def _dashes(names: Sequence[str]) -> Spec:
    return field("term", scale={"domain": list(names), "range": DASHES[: len(names)]}, title=None)


def _scale(values: Sequence[float]) -> Spec:
    """Where the axis begins and ends: what comes before the KL weight rises may be many times all else."""
    ordered = np.sort(np.asarray(values))
    if ordered[0] < 0:
        return {"zero": False}
    top = min(float(ordered[-1]), 2.5 * float(np.quantile(ordered, 0.75))) * 1.05
    bottom = 0.0 if ordered[0] < top / 2 else 0.95 * float(ordered[0])
    return {"domain": [significant(bottom, 3), significant(top, 3) or 1.0], "clamp": True}


def others(curves: Mapping[str, Curve]) -> Chart | None:
    """Every other curve of the training and the validation, each in a picture of its own; None where there is none."""
    drawn = [name for name, curve in curves.items() if _is_drawn(name, curve)]
    if not drawn:
        return None
    labels = [_label(name) for name in drawn]
    rows: list[dict[str, Any]] = []
    for name, label in zip(drawn, labels, strict=True):
        own = label if labels.count(label) == 1 else name  # the catalogue calls some by one name
        rows += [{"images": i, "value": v, "curve": own} for i, v in points(curves[name])]
    spec: Spec = {
        "data": data(rows),
        "columns": min(4, len(drawn)),
        "facet": field("curve", title=None, sort=None),
        "spec": {
            "width": 210,
            "height": 110,
            "mark": {"type": "line", "point": {"size": 12}, "strokeWidth": 1.5},
            "encoding": {
                "x": {**_IMAGES, "title": None, "axis": {"format": "~s", "tickCount": 4}},
                "y": field("value:Q", title=None, scale={"zero": False}, axis={"tickCount": 4}),
            },
        },
        "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent"}},
    }
    return Chart("terms", "Every other curve", spec, "Over images seen; each with its own scale.", wide=True)


def _is_drawn(name: str, curve: Curve) -> bool:
    """Whether it is a curve of its own; what never changes is none."""
    split, _, own = name.partition("/")
    finite = curve.values[np.isfinite(curve.values)]
    return split in ("train", "val", "time") and own not in _OWN and finite.size > 1 and bool(np.ptp(finite))


def _label(name: str) -> str:
    label, unit = described(name)
    return f"{name.partition('/')[0]}: {label} ({unit})" if unit else f"{name.partition('/')[0]}: {label}"


def kl_over_time(history: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None, what: str = "latent") -> Chart | None:
    """The KL of each latent at each validation as a heat map, the largest at the end on top."""
    if history is None or len(history[0]) < 2:
        return None
    images, kl = history
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MOST_TIMES)).round().astype(int))
    order = np.argsort(-np.nan_to_num(kl[-1]), kind="stable")[:_MOST_LATENTS]
    rows = [{"t": int(images[t]), "latent": str(int(j)), "kl": significant(kl[t, j])} for j in order for t in chosen]
    # before the KL weight rises latents may hold many times what they do at the end
    top = significant(1.25 * float(np.nanmax(kl[len(kl) // 2 :], initial=0.0)), 3) or 1
    spec: Spec = {
        "data": data(rows),
        "mark": "rect",
        "encoding": {
            "x": field("t:O", title="images seen at the validation", axis={"labelAngle": 0, "labelExpr": _SHORT}),
            "y": field("latent:O", sort=[str(int(j)) for j in order], title=what),
            "color": field("kl:Q", title="KL, nats", scale={"scheme": "viridis", "domain": [0, top], "clamp": True}),
            "tooltip": [
                field("latent", title=what),
                field("t", title="images", format=","),
                field("kl:Q", title="KL, nats", format=".4f"),
            ],
        },
        "width": 520,
        "height": max(120, min(420, 12 * len(order))),
    }
    shown = "" if len(order) == kl.shape[1] else f" The {len(order)} largest of {kl.shape[1]} are shown."
    return Chart(
        "kl_over_time",
        f"KL of each {what} over the training",
        spec,
        f"E_x KL(q(z_j|x) || N(0, 1)) of the validation. Dark rows are {what}s that hold nothing; "
        f"beyond the top of the scale all is of one colour.{shown}",
    )


def active_over_time(curves: Mapping[str, Curve]) -> Chart | None:
    """How many latents are active at each validation."""
    rows = [{"images": i, "active": v} for i, v in points(curves.get("val/active_units"))]
    if len(rows) < 2:
        return None
    spec: Spec = {
        "data": data(rows),
        "mark": {"type": "line", "point": True, "interpolate": "step-after"},
        "encoding": {
            "x": _IMAGES,
            "y": field("active:Q", title="active units", scale={"domainMin": 0}, axis={"tickMinStep": 1}),
        },
        "width": 340,
        "height": 200,
    }
    return Chart("active_over_time", "Active units over the training", spec, "Latents with Var(E[z_j|x]) > 0.01.")


def active_curve(counts: Mapping[str, Any]) -> Chart | None:
    """How many latents are active at each threshold."""
    rows = [
        {"threshold": float(name), "active": count}
        for name, count in counts.items()
        if is_number(count) and _is_positive(name)
    ]
    if not rows:
        return None
    spec: Spec = {
        "data": data(rows),
        "layer": [
            {
                "data": data([{"threshold": 0.01}]),
                "mark": {"type": "rule", "strokeDash": [4, 3], "tooltip": False},
                "encoding": {"x": field("threshold:Q")},
            },
            {
                "mark": {"type": "line", "point": True},
                "encoding": {
                    "x": field(
                        "threshold:Q", scale={"type": "log"}, title="threshold", axis={"format": "~g", "grid": False}
                    ),
                    "y": field("active:Q", title="latents above it", axis={"tickMinStep": 1}),
                },
            },
        ],
        "width": 340,
        "height": 200,
    }
    return Chart("active_curve", "Active units by threshold", spec, "The dashed line is the usual threshold, 0.01.")


def _is_positive(text: str) -> bool:
    with suppress(ValueError):
        return 0 < float(text) < float("inf")
    return False


def points(curve: Curve | None, most: int = _MOST_POINTS, digits: int = DIGITS) -> Iterator[tuple[int, float | None]]:
    """The points of a curve, no more than can be told apart; None where the value is not finite."""
    if curve is None:
        return
    n = len(curve.images)
    for i in np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)):
        yield int(curve.images[i]), significant(curve.values[i], digits)
