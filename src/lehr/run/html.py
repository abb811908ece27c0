"""HTML for notebooks: small pieces that need nothing but themselves, and look the same on white and on black.

Nothing here runs a script, loads from elsewhere or sets a colour of text: what stands around a piece says whether it is
light or dark. Text is escaped, so that a name of a file cannot become markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from lehr.run.png import UNREADABLE, read_png, size_of

_CELL = "padding:2px 10px;border:0;border-bottom:1px solid rgba(128,128,128,.3);vertical-align:top;background:none"
_WIDEST = 480  # pixels of a picture: a notebook keeps every one that it has shown


class Markup(str):
    """Text that is HTML already, and so is not escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as it is to be read; `Markup` stays as it is."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def joined(*parts: object) -> Markup:
    """Pieces one after the other; what is empty or None is left out."""
    return Markup("".join(text(part) for part in parts if part not in (None, "")))


def title(words: object, note: object = "") -> Markup:
    """A heading, and what is said of it in small letters beside it."""
    small = f' <span style="opacity:.65">{text(note)}</span>' if note else ""
    return Markup(f'<div style="margin:4px 0"><b>{text(words)}</b>{small}</div>')


def paragraph(words: object) -> Markup:
    """A line of text, no wider than is good to read."""
    return Markup(f'<div style="margin:4px 0;max-width:60em">{text(words)}</div>')


def code(words: object) -> Markup:
    """What can be typed."""
    return Markup(f'<code style="background:none;color:inherit">{text(words)}</code>')


def bold(words: object) -> Markup:
    """What stands out."""
    return Markup(f"<b>{text(words)}</b>")


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = (), numbers: Iterable[int] = (1,)) -> Markup:
    """A table.

    Args:
        rows: cells from left to right.
        head: above them, if anything.
        numbers: columns that hold numbers, which are set to the right.
    """
    right = set(numbers)

    def cells(kind: str, values: Sequence[object]) -> str:
        align = ("right" if place in right else "left" for place in range(len(values)))
        return "".join(
            f'<{kind} style="{_CELL};text-align:{where}">{text(value)}</{kind}>'
            for value, where in zip(values, align, strict=True)
        )

    above = f"<thead><tr>{cells('th', head)}</tr></thead>" if head else ""
    body = "".join(f'<tr style="background:none">{cells("td", row)}</tr>' for row in rows)
    style = "border-collapse:collapse;margin:4px 0;font-variant-numeric:tabular-nums"
    return Markup(f'<table style="{style}">{above}<tbody>{body}</tbody></table>')


def details(summary: object, *parts: object, is_open: bool = False) -> Markup:
    """What is folded away below a line, until that is clicked on."""
    opened = " open" if is_open else ""
    return Markup(f"<details{opened}><summary>{text(summary)}</summary>{joined(*parts)}</details>")


def side_by_side(*parts: object) -> Markup:
    """Pieces next to each other, in further rows where there is no room."""
    return Markup(f'<div style="display:flex;flex-wrap:wrap;gap:16px;margin:4px 0">{joined(*parts)}</div>')


def picture(png: bytes, caption: object = "", width: int = 260) -> Markup:
    """A PNG, so many pixels wide, with what it shows below it."""
    data = base64.b64encode(png).decode("ascii")
    style = f"width:{width}px;max-width:100%"
    image = f'<img alt="{text(caption)}" style="{style}" src="data:image/png;base64,{data}">'
    below = f'<figcaption style="opacity:.65">{text(caption)}</figcaption>' if caption else ""
    return Markup(f'<figure style="margin:0">{image}{below}</figure>')


def picture_of(path: Path, caption: object = "", widest: int = _WIDEST) -> Markup:
    """The PNG in a file, made smaller where it is wider than so many pixels; empty where there is none to be read."""
    try:
        return picture(_smaller(read_png(path), widest), caption)
    except UNREADABLE:
        return Markup()


def _smaller(png: bytes, widest: int) -> bytes:
    from PIL import Image

    width, height = size_of(png)
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        if width <= widest:
            image.verify()
            return png
        smaller = image.convert("RGB").resize((widest, max(1, height * widest // width)))
    out = io.BytesIO()
    smaller.save(out, format="PNG")
    return out.getvalue()
