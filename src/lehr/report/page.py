"""A report as one page of HTML that needs nothing but itself.

Everything is there without a script, charts as still pictures; the script makes charts answer to the pointer, sorts and
filters the runs and lets a metric be chosen. The page forbids itself every request (Content-Security-Policy).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr import __version__
from lehr.report import vega
from lehr.report.document import Chart, Document, Picture, Spec, data_url, flat
from lehr.report.numbers import described

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
_WIDE = 1130  # pixels that a wide chart takes, axes and legends included: what a window of 1,280 has room for


def page(document: Document) -> str:
    """The report as HTML."""
    template = _environment().get_template("page.html")
    charts: dict[str, Spec] = {}
    stills: dict[str, str] = {}
    for chart in _charts(document):
        if chart.name in stills:
            continue
        try:
            charts[chart.name], stills[chart.name] = _drawn(chart)
        except ValueError:  # of Vega, over what nobody has thought of: all else is still worth reading
            stills[chart.name] = "This chart cannot be drawn."
    script = vega.script() if charts else ""
    text = template.render(document=document, charts=charts, stills=stills, script=script, version=__version__)
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files may have bytes that are no text


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    filters: dict[str, Callable[[Any], Any]] = {
        "json": lambda value: Markup(_json(value)),
        "data_url": lambda picture: data_url(picture.image),
        "size": _size,
        "still": _still,
        "described": described,
        "breakable": _breakable,
        "script": lambda text: Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--")),
    }
    environment.filters |= filters
    environment.globals["source"] = lambda name: Markup((_TEMPLATES / name).read_text(encoding="utf-8"))
    return environment


def _charts(document: Document) -> Iterator[Chart]:
    """All charts, those of every metric too."""
    parts = [part for section in document.sections for part in section.parts]
    metrics: list[str | None] = [name for name, _ in document.metrics]
    for metric in metrics or [None]:
        yield from (part for part in flat(parts, metric) if isinstance(part, Chart))


def _drawn(chart: Chart) -> tuple[Spec, Markup]:
    """The chart as the script is to draw it, and its still picture, for who has no script; both of one size.

    What is read out in place of a chart is its title and caption, and no name of each of a thousand points.
    """
    from markupsafe import Markup

    spec = vega.complete(chart.spec)
    spec["config"] = {**spec["config"], "aria": False}
    picture = vega.svg(spec)
    if chart.wide and (fitted := _widened(spec, _width(picture))):
        spec |= fitted
        picture = vega.svg(spec)
    return spec, Markup(picture.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1))


def _widened(spec: Spec, whole: float) -> Spec:
    """What makes a chart that is `whole` pixels wide take the width of the page; empty where nothing does."""
    if isinstance(width := spec.get("width"), int | float):
        return {"width": round(width + _WIDE - whole)} if whole < _WIDE else {}
    if isinstance(columns := spec.get("columns"), int):
        return {"columns": max(columns, int(_WIDE * columns // whole))}
    return {}


def _width(picture: str) -> float:
    """Pixels that an SVG is wide."""
    found = re.search(r'<svg [^>]*?\bwidth="([\d.]+)"', picture)
    return float(found[1]) if found else _WIDE


def _json(value: Any) -> str:
    """JSON that may stand in a script of HTML, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Picture):
        return data_url(value.image)
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)


def _size(picture: Picture) -> tuple[int, int]:
    """Width and height of the image in pixels, so that its place is kept until it is decoded; (0, 0) if damaged."""
    from PIL import Image

    with suppress(OSError, ValueError, SyntaxError), Image.open(io.BytesIO(picture.image)) as image:
        return image.size
    return 0, 0


def _still(picture: Picture) -> str:
    """The first frame of a picture that moves, for who wants nothing to move; empty for all others."""
    from PIL import Image

    if picture.mime != "image/gif":
        return ""
    out = io.BytesIO()
    with suppress(OSError, ValueError, SyntaxError), Image.open(io.BytesIO(picture.image), formats=["GIF"]) as image:
        image.convert("RGB").save(out, format="PNG")
    return data_url(out.getvalue()) if out.getvalue() else ""


def _breakable(name: str) -> Markup:
    """A name that may be broken after its commas, slashes and underscores."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[,/_])", name))
