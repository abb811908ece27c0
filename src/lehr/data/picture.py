"""A picture as 8 bits a channel, upright, and opaque unless its opacity is asked for.

Knows nothing of torch, as a decoding process imports it. A file's own bits count, its photometric interpretation and
its sample format; colour profiles and gamma are not applied. Of several pictures in one file the first is taken (pages
of a TIFF, frames of a GIF, PNG, WebP or AVIF), of an icon the largest.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from lehr.data.encoded import Encoded, stream_of
from lehr.errors import DataError

if TYPE_CHECKING:
    from PIL import Image, TiffImagePlugin

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "PCX", "ICO", "QOI", "AVIF")
_LARGEST_FILE = 2**30
"""In bytes, of a format that Pillow reads as a whole. The largest picture that it takes has 179 million pixels."""
# the tags of TIFF 6.0
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _PLANAR = 258, 262, 277, 284
_COLOUR_MAP, _SAMPLE_FORMAT, _SUBSAMPLING = 320, 339, 530
ORIENTATION = 0x0112
"""The tag of Exif that says how a picture is to be turned."""
_WHITE_IS_ZERO = 0
_UNSIGNED = 1


@contextmanager
def opened(picture: Encoded) -> Iterator[Image.Image]:
    """A picture, not yet decoded.

    Raises:
        DataError: without its name, if it is no file, or much too large. Pillow raises errors of a dozen kinds.
    """
    from PIL import Image

    stream, n_bytes = stream_of(picture)
    with warnings.catch_warnings(), stream as file:
        warnings.simplefilter("ignore")  # what Pillow can decode is taken, the rest is an error
        is_tiff = file.read(2) in (b"II", b"MM")
        if n_bytes > _LARGEST_FILE and not is_tiff:  # which is read by the page
            raise DataError(f"it has {n_bytes:,} bytes")
        # Of a Targa nothing but its name tells, and half of all damaged files could be one.
        formats = ("TGA",) if str(picture).lower().endswith(".tga") else _FORMATS
        with _libtiff_errors() if is_tiff else nullcontext(), Image.open(file, formats=formats) as image:
            yield image


@contextmanager
def _libtiff_errors() -> Iterator[None]:
    """Make a DataError of what libtiff writes to standard error of pixels that it cannot decode and makes up instead.

    What else is written there meanwhile is dropped: further complaints of a damaged file, without its name.
    """
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        if found := re.search(rb"^\w*Decode\w*: .*$", said.read(10_000), re.MULTILINE):
            raise DataError(found[0].decode(errors="replace"))


def to_eight_bits(image: Image.Image, *, opaque: bool = True) -> Image.Image:
    """The picture upright, with 8 bits a channel: "L", "RGB" or a mode that converts to it, transparency put on white.

    It is the same object where nothing has to be changed.
    Where it need not be `opaque` it is "RGBA". A level of 16 bits of grey that is transparent is white all the same.

    Raises:
        DataError: without the file's name, if nothing says what its numbers mean.
    """
    from PIL import ImageOps

    made = _opaque(image) if opaque else _with_opacity(image)
    made.load()  # of some formats this is when the orientation is known
    # one that is upright already would be copied
    return made if made.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(made)


def hide_what_is_unseen(pixels: np.ndarray) -> np.ndarray:
    """Pixels (h, w, 4) with white wherever nothing is seen: what was left there is arbitrary."""
    pixels = pixels.copy()
    pixels[..., :3][pixels[..., 3] == 0] = 255
    return pixels


def holds_several(image: Image.Image) -> bool:
    """Whether a file holds more pictures than the one that is taken, which has been decoded."""
    if len(image.info.get("sizes", ())) > 1:  # of an icon
        return True
    try:
        image.seek(1)
    except Exception:  # no second picture, or a damaged one
        return False
    return True


def _opaque(image: Image.Image) -> Image.Image:
    from PIL import Image

    image = _of_eight_bits(image)
    if _says_transparency(image):
        # What lies under a transparent pixel is arbitrary and must not become part of the data.
        rgba = _as_rgba(image)
        white = Image.new("RGBA", rgba.size, "white")
        return _with_info(Image.alpha_composite(white, rgba), image)
    return image


def _with_opacity(image: Image.Image) -> Image.Image:
    image = _of_eight_bits(image)
    return _with_info(_as_rgba(image), image)


def _says_transparency(image: Image.Image) -> bool:
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")


def _as_rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel, in whatever mode.

    Raises:
        DataError: without the file's name, if nothing says what its numbers mean.
    """
    if image.format == "TIFF":
        _check_tiff(image)  # type: ignore[arg-type]  # which is what the format says
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _top_bits(image)
    if image.mode in ("I", "F"):
        raise DataError(f"its pixels have mode {image.mode}, expected unsigned numbers of up to 16 bits")
    if image.mode == "LAB":
        return _with_info(image.convert("RGB"), image)
    if image.format == "PNG" and "transparency" in image.info:
        _scale_transparent_level(image)
    return image


def _check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse what Pillow reads as something else than it is."""
    tags = image.tag_v2
    planes = tags.get(_SAMPLES_PER_PIXEL, 1) if tags.get(_PLANAR) == 2 and image.tile[0].codec_name != "libtiff" else 1
    covered = 0
    for left, top, right, bottom in (tile.extents for tile in image.tile if tile.extents is not None):
        covered += (right - left) * (bottom - top)
    if covered < planes * image.width * image.height:
        raise DataError("it is damaged: strips or tiles are missing, which would be black")
    if any(kind != _UNSIGNED for kind in tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))) and image.mode != "F":
        raise DataError("its pixels are signed numbers, expected unsigned ones of up to 16 bits")
    if image.mode == "YCbCr" and tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1):
        raise DataError("its colour is stored at a lower resolution (YCbCr without compression), which is not read")
    if image.mode in ("P", "PA") and max(tags[_COLOUR_MAP]) < 256:
        raise DataError("its colour map has levels up to 255, where TIFF has 65535")


def _top_bits(image: Image.Image) -> Image.Image:
    """Grey of 12 or 16 bits as its upper 8: convert() would clip at 255 instead of scaling."""
    from PIL import Image

    values = np.asarray(image)
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    levels = (values >> (tags.get(_BITS_PER_SAMPLE, (16,))[0] - 8)).astype(np.uint8)
    if tags and tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO:
        levels = 255 - levels
    if "transparency" in image.info:
        levels = np.where(values == image.info["transparency"], np.uint8(255), levels)
    return _with_info(Image.fromarray(levels), image)


def _scale_transparent_level(image: Image.Image) -> None:
    """Make the level that a PNG says is transparent one of 8 bits, as its pixels are."""
    assert image.fp is not None  # type: ignore[attr-defined]
    image.fp.seek(24)  # type: ignore[attr-defined]  # of the header, which comes first
    depth = image.fp.read(1)[0]  # type: ignore[attr-defined]
    if image.mode == "RGB" and depth == 16:
        raise DataError("one colour of 16 bits is transparent, which is not read: save it with an alpha channel")
    if image.mode == "L" and depth < 8:
        image.info["transparency"] = image.info["transparency"] * 255 // (2**depth - 1)


def _with_info(image: Image.Image, of: Image.Image) -> Image.Image:
    """The image with what `of` says of itself, its orientation above all; it is opaque."""
    image.info = {key: value for key, value in of.info.items() if key != "transparency"}
    return image
