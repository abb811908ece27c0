"""Charts as pictures, and the script that draws them in a browser: Vega, by vl-convert, which needs no browser itself.

Text and lines have the colour of the text around them (`currentColor`), so that one picture suits light and dark pages.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from lehr.errors import LehrError
from lehr.files import write_text
from lehr.paths import cache_folder
from lehr.report.document import Spec

COLOURS = ("#3878d0", "#d0650a", "#15936b", "#a44fc0", "#cf3f57", "#8a6a3c", "#2b8fa8", "#7a7f87")
"""Of series: each at least 3 to 1 against white and against the dark page, and told apart by who confuses hues."""
MARKERS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2, 1, 2], [1, 3], [12, 2])
"""Beside colours, for who sees none."""
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_TEXT = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 11, "titleFontSize": 12}
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        **_TEXT, "titleFontWeight": "normal", "domainColor": "currentColor", "domainOpacity": 0.5, "labelOverlap": True,
        "tickColor": "currentColor", "tickOpacity": 0.5, "gridColor": "currentColor", "gridOpacity": 0.12,
    },
    # of a training that diverged: else 1.2000000000000001e+31
    "axisQuantitative": {"labelExpr": "abs(datum.value) < 1e12 ? datum.label : format(datum.value, '.3~g')"},
    "legend": {**_TEXT, "titleFontWeight": "normal", "symbolOpacity": 1, "labelLimit": 240},
    "header": {**_TEXT, "labelLimit": 240},
    "title": {"color": "currentColor", "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
    "text": {"color": "currentColor"},
    "rule": {"color": "currentColor"},
    "line": {"color": COLOURS[0], "strokeWidth": 2},
    "point": {"color": COLOURS[0], "size": 55},
    "bar": {"color": COLOURS[0]},
    "area": {"color": COLOURS[0]},
    "range": {"category": list(COLOURS), "symbol": list(MARKERS)},
    "mark": {"tooltip": True},
}  # fmt: skip
_END = "\n// whole\n"  # of a script that was kept
_BASE = "https://vega.github.io/vega-datasets/"  # which vl-convert puts before links to other files
_UNDRAWABLE = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # https://www.w3.org/TR/xml/#charsets
_OF_OBJECTS = frozenset((  # https://tc39.es/ecma262/#sec-properties-of-the-object-prototype-object
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
    "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
))  # fmt: skip
_RESERVED = 96 * 2**30  # bytes of addresses, not of memory; with 64 GiB V8 does not start, with 80 it does
_INK = "#1b1f24"  # of text, where there is no page around it


def complete(spec: Spec) -> Spec:
    """The specification with what all charts have in common, of text that can be drawn; one that has it as it is."""
    if "$schema" in spec:
        return spec
    return {"$schema": SCHEMA, "config": _CONFIG, **_drawable(spec)}


def _drawable(node: Any) -> Any:
    """Without characters that no XML may have: they end the process in which vl-convert draws them.

    And without text that is the name of what every object of JavaScript has: in an expression, which Vega-Lite makes of
    each value of an order, Vega takes it for that. It is followed by a space that nobody sees.
    """
    if isinstance(node, str):
        return f"{node}\u00a0" if node in _OF_OBJECTS else _UNDRAWABLE.sub("\ufffd", node)
    if isinstance(node, Mapping):
        return {_drawable(key): _drawable(value) for key, value in node.items()}
    return [_drawable(value) for value in node] if isinstance(node, Sequence) else node


def _converter() -> Any:
    """vl-convert, where this process may reserve what its V8 does: where it may not, that ends the process.

    Raises:
        LehrError: says what limits it.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _RESERVED:
        raise LehrError(
            f"charts cannot be drawn: that reserves up to {_RESERVED >> 30} GiB of addresses, and a process may have "
            f"{limit / 2**30:.3g} here (ulimit -v)"
        )
    import vl_convert

    return vl_convert


def svg(spec: Spec) -> str:
    """A chart as SVG."""
    return str(_converter().vegalite_to_svg(complete(spec))).replace(f'href="{_BASE}', 'href="')


def png(spec: Spec, scale: float = 2) -> bytes:
    """A chart as PNG on white."""
    return bytes(_converter().vegalite_to_png(on_white(spec), scale=scale))


def pdf(spec: Spec) -> bytes:
    """A chart as a page of PDF of its size, of lines and letters."""
    return bytes(_converter().vegalite_to_pdf(on_white(spec)))


def on_white(spec: Spec) -> Spec:
    """The chart where no page gives it a colour."""
    return dict(_inked({**complete(spec), "background": "white"}))


def _inked(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: value if key == "data" else _inked(value) for key, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_inked(value) for value in node]
    return _INK if node == "currentColor" else node


def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which puts `vegaEmbed` into the page; made once and kept."""
    path = cache_folder() / "reports" / f"vl-convert-{version('vl-convert-python')}.js"
    with suppress(OSError, ValueError):
        if (found := path.read_text(encoding="utf-8")).endswith(_END):
            return found
    made = _converter().javascript_bundle() + _END
    with suppress(OSError):  # where nothing can be kept it is made each time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, made)
    return made


def data(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of data, within the chart."""
    return {"values": list(rows)}


_TYPES = {"Q": "quantitative", "O": "ordinal", "N": "nominal"}


def field(name: str, **channel: Any) -> Spec:
    """What a channel shows: a field of the data with its type ("rate:Q", as Altair has it), and the rest of it."""
    of, _, kind = name.rpartition(":")
    return {"field": of, "type": _TYPES[kind], **channel} if of else {"field": name, **channel}
