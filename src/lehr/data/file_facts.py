"""What an image file is, beside its pixels: what a survey of a folder says of its files.

Knows nothing of torch, as a decoding process imports it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lehr.data.encoded import Encoded
from lehr.data.picture import holds_several

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = {
    "PNG": ".png .apng", "JPEG": ".jpg .jpeg .jpe .jfif", "MPO": ".mpo .jpg .jpeg .jpe .jfif", "WEBP": ".webp",
    "BMP": ".bmp .dib", "DIB": ".dib .bmp", "GIF": ".gif", "TIFF": ".tif .tiff", "AVIF": ".avif",
    "JPEG2000": ".jp2 .j2k .jpf .jpx .j2c .jpc", "PPM": ".ppm .pgm .pbm .pnm", "TGA": ".tga", "PCX": ".pcx",
    "ICO": ".ico", "QOI": ".qoi",
}  # fmt: skip
SUFFIXES_OF = {name: tuple(suffixes.split()) for name, suffixes in _SUFFIXES.items()}
"""What the names of files end in, by their format in Pillow's words."""
_BITS_PER_SAMPLE = 258  # the tag of TIFF 6.0


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file that was decoded.

    Attributes:
        format: in Pillow's words: "PNG", "JPEG", ...
        mode: of its pixels as they are stored, in Pillow's words: "L", "RGB", "RGBA", "CMYK", ...
        width, height: of the picture when it is upright.
        deep: whether it has more than 8 bits a channel, of which the upper 8 are taken.
        transparent: whether some pixel is not opaque, which is put on white.
        several: whether it holds more pictures than the one that is taken.
        link: whether its name is a symbolic link.
    """

    format: str
    mode: str
    width: int
    height: int
    deep: bool = False
    transparent: bool = False
    several: bool = False
    link: bool = False

    @property
    def grey(self) -> bool:
        """Whether it is stored without colour."""
        return self.mode in ("1", "L", "LA", "La") or self.mode.startswith("I")

    def named_wrongly(self, path: str) -> bool:
        """Whether its name says another format than it has; a row of a table has no such name."""
        suffix = os.path.splitext(path)[1].lower()
        return bool(suffix) and suffix not in SUFFIXES_OF.get(self.format, ())

    def share_cut(self) -> float:
        """The part of the picture, 0 to 1, that a square of its short side leaves out."""
        return 1 - min(self.width, self.height) / max(self.width, self.height)


def is_deep(image: Image.Image) -> bool:
    """Whether a picture that was opened and not yet decoded has more than 8 bits a channel."""
    if image.mode.startswith("I"):
        return True
    if any(bits > 8 for bits in getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())):
        return True
    # Pillow reads 16 bits of colour as 8: only how it is told to unpack them says so
    tiles = image.tile if image.format == "PNG" else []  # type: ignore[attr-defined]
    return any(";16" in str(tile.args) for tile in tiles)


def facts_of(image: Image.Image, picture: Encoded, size: tuple[int, int], deep: bool) -> FileFacts:
    """The facts of a picture that has been decoded; `size` is (width, height) upright, `deep` as `is_deep` said."""
    return FileFacts(
        format=str(image.format),
        mode=image.mode,
        width=size[0],
        height=size[1],
        deep=deep,
        transparent=_is_transparent(image),
        several=holds_several(image),  # last: it moves on to the next picture
        link=isinstance(picture, str) and os.path.islink(picture),
    )


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        lowest, _ = image.getchannel(image.mode[-1]).getextrema()
        return isinstance(lowest, int | float) and lowest < 255
    if "transparency" not in image.info:
        return False
    if image.mode not in ("1", "L", "P", "RGB"):
        return True  # what a level of 16 bits hides is not counted
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return isinstance(lowest, int | float) and lowest < 255


_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"qoif": "QOI", b"\0\0\0\x0cjP  ": "JPEG2000",
}  # fmt: skip


def format_of(path: str) -> str | None:
    """Which format the first bytes of a file say it has, or None: they say so of formats that begin unmistakably."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:
        return None
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((name for beginning, name in _BEGINNINGS.items() if start.startswith(beginning)), None)
