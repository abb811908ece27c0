"""A report as one picture, PNG or PDF: its verdict, then its charts and pictures below each other."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lehr.report import vega
from lehr.report.document import Chart, Document, Paragraph, Part, Picture, Spec, Thumbnails, data_url, flat
from lehr.report.vega import field

_CHANNELS = ("color", "shape", "strokeDash")
_APART: Spec = {"scale": dict.fromkeys(_CHANNELS, "independent"), "legend": dict.fromkeys(_CHANNELS, "independent")}
_WIDE = 110  # characters of a line
_LINE = 19  # pixels from one to the next
_COLUMNS = 2
_WIDTH = 480  # of a picture, at most


def poster(document: Document, format: str, mark: str) -> bytes:
    """The report as the bytes of a PNG or PDF.

    Args:
        document: the report.
        format: png or pdf.
        mark: words that are put into the file, by which it is known again.
    """
    rows: list[Spec] = [_words([document.note, *_said(document.verdict)])]
    for section in document.sections:
        found = [_cell(part) for part in flat(section.parts) if isinstance(part, Chart | Picture | Thumbnails)]
        cells = [cell for cell in found if cell is not None]
        rows += [
            {"hconcat": cells[i : i + _COLUMNS], "spacing": 50, "resolve": _APART}
            for i in range(0, len(cells), _COLUMNS)
        ]
    spec: Spec = {
        "title": {"text": document.title, "fontSize": 18, "fontWeight": "bold", "offset": 12},
        "params": list(_parameters(document).values()),
        "vconcat": rows,
        "spacing": 36,
        "padding": 24,
        "resolve": _APART,
    }
    if format == "pdf":
        return vega.pdf(spec) + f"\n% {mark}\n".encode()
    return _marked(vega.png(spec, scale=1.5), mark)


def _marked(png: bytes, mark: str) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    about, out = PngInfo(), io.BytesIO()
    about.add_text("Software", mark)
    with Image.open(io.BytesIO(png)) as image:
        image.save(out, format="PNG", pnginfo=about)
    return out.getvalue()


def _said(parts: Sequence[Part]) -> list[str]:
    return [part.text for part in flat(parts) if isinstance(part, Paragraph)]


def _words(texts: Sequence[str]) -> Spec:
    lines = [line for text in texts if text for line in textwrap.wrap(text, _WIDE)]
    data = [{"text": line, "y": i} for i, line in enumerate(lines)]
    return {
        "data": vega.data(data), "width": 900, "height": _LINE * max(1, len(lines)),
        "mark": {"type": "text", "align": "left", "fontSize": 13, "x": 0, "baseline": "top"},
        "encoding": {"text": field("text"), "y": field("y:O", axis=None)},
    }  # fmt: skip


def _cell(part: Part) -> Spec | None:
    match part:
        case Chart():
            spec = _still(part.spec)
            lines = textwrap.wrap(part.caption, 90)
            return {
                **spec,
                "title": {"text": part.title, "subtitle": lines, "fontWeight": "bold", "subtitleColor": "currentColor"},
            }
        case Picture():
            return _image(part)
        case _:
            return None


def _image(picture: Picture) -> Spec:
    from PIL import Image

    with Image.open(io.BytesIO(picture.image)) as image:
        width = min(_WIDTH, picture.width)
        height = round(width * image.height / image.width)
        out = io.BytesIO()
        image.convert("RGB").save(out, format="PNG")  # the first frame of one that moves
    return {
        "data": vega.data([{"url": data_url(out.getvalue())}]), "width": width, "height": height,
        "title": {"text": textwrap.wrap(picture.caption, 60)},
        "mark": {"type": "image", "width": width, "height": height, "x": width / 2, "y": height / 2},
        "encoding": {"url": field("url:N")},
    }  # fmt: skip


def _parameters(document: Document) -> Mapping[str, Spec]:
    """What charts hang on, once for all of them."""
    return {
        param["name"]: param
        for chart in document.charts()
        for param in chart.spec.get("params", ())
        if "value" in param
    }


def _still(spec: Any) -> Any:
    """A chart in which nothing can be chosen."""
    if isinstance(spec, Mapping):
        chosen = {key: value for key, value in spec.items() if key not in ("params", "href", "tooltip")}
        return {
            key: _still(value)
            for key, value in chosen.items()
            if not (isinstance(value, Mapping) and "param" in (value.get("condition") or {}))
        }
    return [_still(value) for value in spec] if isinstance(spec, list) else spec
