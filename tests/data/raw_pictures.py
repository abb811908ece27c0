"""PNG and TIFF files put together byte by byte, after their specifications and without Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types of PNG."""


def packed(rows: np.ndarray, bits: int, order: str = ">") -> bytes:
    """Rows (h, numbers) of numbers of so many bits, each row ending with a whole byte."""
    if bits >= 8 and bits % 8 == 0:
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    digits = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return b"".join(np.packbits(row.ravel()).tobytes() for row in digits.astype(np.uint8))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels: np.ndarray, kind: int, bits: int, *between: bytes) -> bytes:
    """A PNG of (h, w) or (h, w, c) numbers, with these chunks before the pixels."""
    height, width = pixels.shape[:2]
    rows = packed(pixels.reshape(height, -1), bits)
    step = len(rows) // height
    lines = b"".join(b"\0" + rows[i : i + step] for i in range(0, len(rows), step))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *between, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(
    pixels: bytes,
    shape: tuple[int, ...],
    bits: int,
    tags: Mapping[int, Sequence[int]],
    order: str = "<",
    pages: int = 1,
) -> bytes:
    """A TIFF of (h, w) or (h, w, c), of one strip or several of equal length, not compressed unless a tag says so."""
    height, width, samples = (*shape, 1)[:3]
    content = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    for page in range(pages):
        values = {
            256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [1], 273: [0], 277: [samples],
            278: [height], 279: [len(pixels)],
        } | dict(tags)  # fmt: skip
        directory = len(content)
        long = 2 + 12 * len(values) + 4
        extra = b""
        entries = b""
        sizes = [(4 if tag in (273, 279) else 2) * len(numbers) for tag, numbers in values.items()]
        first = directory + long + sum(size for size in sizes if size > 4)
        strips = len(values[273])
        values[273] = [first + k * (len(pixels) // len(values[279])) for k in range(strips)]
        for tag, numbers in sorted(values.items()):
            raw = struct.pack(f"{order}{len(numbers)}{'I' if tag in (273, 279) else 'H'}", *numbers)
            kind = 4 if tag in (273, 279) else 3
            if len(raw) > 4:
                offset, extra = directory + long + len(extra), extra + raw
                raw = struct.pack(f"{order}I", offset)
            entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + raw.ljust(4, b"\0")
        following = directory + long + len(extra) + len(pixels)
        following += following % 2
        is_last = page == pages - 1
        content += struct.pack(f"{order}H", len(values)) + entries
        content += struct.pack(f"{order}I", 0 if is_last else following) + extra + pixels
        content += b"\0" * (following - len(content))
    return content
