"""A report as one page of HTML that needs nothing but itself.

Everything is there without a script, charts as still pictures; the script makes charts answer to the pointer, sorts and
filters the runs and lets a metric be chosen. The page forbids itself every request (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr import __version__
from lehr.report import vega
from lehr.report.document import Chart, Document, Picture

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent / "templates"
_FEWEST_PIXELS = 300  # of a picture that is smoothed when it is enlarged


def page(document: Document) -> str:
    """The report as HTML."""
    template = _environment().get_template("page.html")
    charts = {chart.name: vega.complete(chart.spec) for chart in document.charts()}
    return template.render(
        document=document,
        charts=charts,
        script=vega.script() if charts else "",
        version=__version__,
    )


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    filters: dict[str, Callable[[Any], str]] = {
        "json": lambda value: Markup(_json(value)),
        "svg": lambda chart: Markup(_svg(chart)),
        "data_url": _data_url,
        "script": lambda text: Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--")),
    }
    environment.filters |= filters
    environment.globals["source"] = lambda name: Markup((_TEMPLATES / name).read_text(encoding="utf-8"))
    return environment


def _json(value: Any) -> str:
    """JSON that may stand in a script of HTML, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Picture):
        return _data_url(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)


def _svg(chart: Chart) -> str:
    """The still picture of a chart, for who has no script; its text alternative stands beside it."""
    return vega.svg(chart.spec).replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _data_url(picture: Picture) -> str:
    return f"data:{picture.mime};base64,{base64.b64encode(picture.image).decode('ascii')}"
