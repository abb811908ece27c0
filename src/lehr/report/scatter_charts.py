"""Where images lie among the latents: scatter plots of E[z|x], by label, with the image under the pointer.

Shapes: n images, d latents or channels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lehr.report.document import Chart, Spec, data_url
from lehr.report.numbers import significant
from lehr.report.vega import COLOURS, MARKERS, data, field

Floats = npt.NDArray[np.float64]
_MOST_IMAGES = 500
_MOST_CLASSES = 10
_OTHERS = "others"


@dataclass(frozen=True)
class Images:
    """Images among the latents.

    Attributes:
        mean: (n, d), E[z|x]; of latent maps the mean over positions of each channel.
        labels: of each, as text; None where there are none.
        thumbnails: of each, as what a page can show; None where there are none.
        what: a column of `mean` is: "latent" or "channel".
    """

    mean: Floats
    labels: list[str] | None
    thumbnails: list[str] | None
    what: str = "latent"

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], about: Mapping[str, str]) -> Images | None:
        """What a run kept of its latents; None where that cannot be drawn."""
        mean = np.asarray(arrays.get("mean", ()), dtype=np.float64)[:_MOST_IMAGES]
        if mean.ndim != 2 or len(mean) < 2 or not mean.shape[1] or not np.isfinite(mean).all():
            return None
        names: list[str] = []
        with suppress(ValueError):
            names = list(map(str, json.loads(about.get("classes", "[]"))))
        labels = _labels(arrays.get("labels"), len(mean), names)
        return cls(mean, labels, _thumbnails(arrays.get("thumbnails"), len(mean)), about.get("of", "latent"))


def scatter(images: Images, var_of_mean: Floats | None) -> list[Chart]:
    """The images by the two most active latents, and by two principal components of E[z|x]; of one latent by that.

    Args:
        images: that are drawn.
        var_of_mean: (d,), Var(E[z|x]) over the training set, by which latents are chosen; None for that of the images.
    """
    mean, what = images.mean, images.what
    if mean.shape[1] == 1:
        return [_strip(images)]
    own = var_of_mean if var_of_mean is not None and len(var_of_mean) == mean.shape[1] else mean.var(0)
    a, b = (int(j) for j in np.argsort(-own, kind="stable")[:2])
    title = f"Images by the two most active {what}s"
    charts = [_points("scatter", title, mean[:, [a, b]], (f"{what} {a}", f"{what} {b}"), images)]
    if mean.shape[1] > 2:
        centred = mean - mean.mean(0)
        _, s, v = np.linalg.svd(centred, full_matrices=False)
        share = s**2 / max(float((s**2).sum()), 1e-30)
        axes = (f"component 1 ({share[0]:.0%} of the variance)", f"component 2 ({share[1]:.0%})")
        title = "Images by principal components of E[z|x]"
        charts.append(_points("components", title, centred @ v[:2].T, axes, images))
    return charts


def _labels(labels: npt.NDArray[Any] | None, n: int, names: list[str]) -> list[str] | None:
    """The label of each image as text; of several factors the first that differs; rare classes together."""
    if labels is None or len(labels) < n:
        return None
    columns = np.asarray(labels[:n]).reshape(n, -1)
    column = next((c for c in columns.T if len(np.unique(c)) > 1), columns[:, 0] if columns.size else None)
    if column is None:
        return None
    values, counts = np.unique(column, return_counts=True)
    kept = set(values[np.argsort(-counts, kind="stable")[:_MOST_CLASSES]].tolist())
    is_named = columns.shape[1] == 1 and int(values[0]) >= 0 and int(values[-1]) < len(names)
    return [(names[value] if is_named else str(value)) if value in kept else _OTHERS for value in column.tolist()]


def _thumbnails(thumbnails: npt.NDArray[Any] | None, n: int) -> list[str] | None:
    """(n, c, h, w) uint8 as small pictures in the page."""
    from PIL import Image

    if thumbnails is None or thumbnails.ndim != 4 or len(thumbnails) < n or thumbnails.dtype != np.uint8:
        return None
    found = []
    for pixels in thumbnails[:n]:
        grey = pixels.shape[0] not in (3, 4)
        picture = Image.fromarray(pixels[0] if grey else pixels[:3].transpose(1, 2, 0))
        picture = picture.resize((48 * picture.width // picture.height, 48), Image.Resampling.NEAREST)
        out = io.BytesIO()
        picture.save(out, format="WEBP", quality=50, method=0)
        found.append(data_url(out.getvalue()))
    return found


def _points(name: str, title: str, xy: Floats, axes: tuple[str, str], images: Images) -> Chart:
    rows: list[dict[str, Any]] = [{"x": significant(x, 4), "y": significant(y, 4)} for x, y in xy]
    encoding: Spec = {
        "x": field("x:Q", title=axes[0], scale={"zero": False}),
        "y": field("y:Q", title=axes[1], scale={"zero": False}),
    }
    mark = {"type": "point", "size": 30, "opacity": 0.75}
    spec: Spec = {"data": data(rows), "mark": mark, "encoding": encoding, "width": 340, "height": 300}
    caption = f"{len(rows):,} images, each at E[z|x]."
    tooltip = [field("x", title=axes[0]), field("y", title=axes[1])]
    if images.thumbnails is not None:
        for row, picture in zip(rows, images.thumbnails, strict=True):
            row["image"] = picture  # which is shown as one
        tooltip.append(field("image"))
    if images.labels is not None:
        for row, label in zip(rows, images.labels, strict=True):
            row["label"] = label
        tooltip.insert(0, field("label"))
        encoding |= _by_label(images.labels)
        spec["params"] = [{"name": "chosen", "select": {"type": "point", "fields": ["label"]}, "bind": "legend"}]
        caption += " A click on a label shows that one alone."
    encoding["tooltip"] = tooltip
    return Chart(name, title, spec, caption)


def _by_label(labels: list[str]) -> Spec:
    """A colour and a shape for each label."""
    names = sorted(set(labels), key=lambda text: (text == _OTHERS, len(text) if text.isdecimal() else 0, text))
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    # a shape goes on where the colours begin anew, so that no two classes look alike
    shapes = [MARKERS[(i + i // len(COLOURS)) % len(MARKERS)] for i in range(len(names))]
    return {
        "color": field("label:N", sort=names, scale={"domain": names, "range": colours}),
        "shape": field("label:N", sort=names, scale={"domain": names, "range": shapes}),
        "opacity": {"condition": {"param": "chosen", "value": 0.85}, "value": 0.07},
    }


def _strip(images: Images) -> Chart:
    """One latent alone: a row for each label, a stroke for each image."""
    labels = images.labels or ["images"] * len(images.mean)
    rows = [{"x": significant(x, 4), "label": label} for x, label in zip(images.mean[:, 0], labels, strict=True)]
    spec: Spec = {
        "data": data(rows),
        "mark": {"type": "tick", "opacity": 0.5},
        "encoding": {"x": field("x:Q", title=f"{images.what} 0"), "y": field("label:N", title=None)},
        "width": 520,
    }
    return Chart("scatter", f"Images by the {images.what}", spec, f"{len(rows):,} images, each at E[z|x].")
