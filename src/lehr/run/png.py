"""PNG files that anybody may have written: read where they are what they seem, and no larger than can be shown."""

from __future__ import annotations

from pathlib import Path

from lehr.reading import read_bytes

UNREADABLE = (OSError, ValueError, SyntaxError)
"""What a file raises that is none, or damaged: the last is Pillow's."""
_MOST_PIXELS = 2**26


def read_png(path: Path) -> bytes:
    """The content of a PNG, whose pixels are still to be unpacked.

    Raises:
        OSError: if it is not there, or cannot be read.
        ValueError: if it is no file, or too large to be shown.
    """
    content = read_bytes(path)
    width, height = size_of(content)
    if width * height > _MOST_PIXELS:
        raise ValueError("it is too large to be shown")
    return content


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, as the header says them."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    return width, height
