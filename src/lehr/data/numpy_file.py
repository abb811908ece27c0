"""Arrays in .npy and .npz files, read a block at a time: besides what a reader keeps there is one block in memory.

What a file says of itself is checked before room is made for it. Nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from lehr.data.checks import DEFLATE, as_text, reason_of, require_memory
from lehr.errors import DataError

_ARRAY, _ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
_BLOCK = 2**22
"""Bytes that are read at once, if a row has no more."""
_LONGEST_HEADER = 10_000
_VERSIONS = {
    b"\1\0": ("<H", np.lib.format.read_array_header_1_0),
    b"\2\0": ("<I", np.lib.format.read_array_header_2_0),
    b"\3\0": ("<I", np.lib.format.read_array_header_2_0),  # which differs in the names of fields alone
}
_NAMED = 20
"""How many arrays of a file an error names."""


class Stored:
    """An array that may not have been read yet.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Callable[[], Iterator[np.ndarray]], fortran: bool
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._blocks = blocks
        self._fortran = fortran

    @classmethod
    def of(cls, array: np.ndarray) -> Stored:
        """An array in memory."""
        n = max(1, _BLOCK // max(1, array[:1].nbytes))
        starts = range(0, len(array), n)
        return cls(array.shape, array.dtype, lambda: (array[start : start + n] for start in starts), fortran=False)

    def __len__(self) -> int:
        return self.shape[0]

    def copy_into(self, out: np.ndarray, convert: Callable[[np.ndarray], np.ndarray] = lambda block: block) -> None:
        """Read it into `out`, of its shape, part by part along the first or last axis; each passes through `convert`.

        Raises:
            DataError: if the file is damaged.
        """
        # what varies slowest in the file comes first
        rows = out.T if self._fortran else out
        start = 0
        for block in self._blocks():
            rows[start : start + len(block)] = convert(block)
            start += len(block)

    def array(self) -> np.ndarray:
        """All of it."""
        out = np.empty(self.shape, self.dtype)
        self.copy_into(out)
        return out


class NumpyFile:
    """A .npy file, whose one array has no name, or an .npz file.

    Raises:
        DataError: if it is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable(path), path.open("rb") as file:
            start = file.read(8)
            self.is_zip = start.startswith(_ZIP)
            if not self.is_zip and not start.startswith(_ARRAY):
                found = "nothing" if not start else start.hex(" ")
                raise DataError(f"{as_text(path)} is no NumPy file: it starts with {found}")
            self._members = {info.filename: info for info in zipfile.ZipFile(file).infolist()} if self.is_zip else {}

    @property
    def names(self) -> list[str]:
        """Of the arrays of an .npz file."""
        return [name.removesuffix(".npy") for name in self._members if name.endswith(".npy")]

    def listed(self) -> str:
        """The names as they stand in a message."""
        more = len(self.names) - _NAMED
        return ", ".join(map(as_text, self.names[:_NAMED])) + (f" and {more} more" if more > 0 else "") or "none"

    def has(self, name: str) -> bool:
        """Whether there is a member of this name."""
        return self.member(name) in self._members

    def member(self, name: str) -> str:
        """What the archive calls the array of this name."""
        return f"{name}.npy" if f"{name}.npy" in self._members else name

    def stored(self, name: str | None) -> Stored:
        """The array of a name of an .npz file, of None of an .npy file.

        Raises:
            DataError: if it is damaged, too large for this machine, no array, or one of Python objects.
        """
        with self._open(name) as (stream, n_bytes):
            if stream.read(len(_ARRAY)) != _ARRAY:
                raise DataError(f"{self._what(name)} is no array")
            shape, fortran, dtype, header = _header(stream, self._what(name))
        promised = math.prod(shape) * dtype.itemsize
        if n_bytes - header != promised:
            raise DataError(
                f"{self._what(name)} is damaged: {n_bytes - header:,} bytes of data, its header promises {promised:,}"
            )
        require_memory(self._what(name), promised)
        slowest_first = shape[::-1] if fortran else shape
        return Stored(shape, dtype, lambda: self._blocks(name, slowest_first, dtype, header), fortran)

    def _what(self, name: str | None) -> str:
        return as_text(self.path) if name is None else f"{as_text(name)!r} in {as_text(self.path)}"

    @contextmanager
    def _open(self, name: str | None) -> Iterator[tuple[IO[bytes], int]]:
        """The bytes of an array, and how many there are."""
        with _readable(self.path), self.path.open("rb") as file:
            size = self.path.stat().st_size
            if name is None:
                yield file, size
                return
            info = self._members[self.member(name)]
            most = DEFLATE * info.compress_size + 100 if info.compress_type == zipfile.ZIP_DEFLATED else math.inf
            if info.compress_size > size or info.file_size > most:
                raise DataError(f"{self._what(name)} is damaged: it promises {info.file_size:,} bytes")
            with zipfile.ZipFile(file) as archive, archive.open(info) as stream:
                yield stream, info.file_size

    def _blocks(
        self, name: str | None, shape: tuple[int, ...], dtype: np.dtype[Any], header: int
    ) -> Iterator[np.ndarray]:
        row = math.prod(shape[1:]) * dtype.itemsize
        n = max(1, _BLOCK // max(1, row))
        with self._open(name) as (stream, _):
            stream.read(header)
            for start in range(0, shape[0], n):
                rows = min(n, shape[0] - start)
                content = stream.read(rows * row)
                if len(content) != rows * row:
                    raise DataError(f"{self._what(name)} is truncated")
                yield np.frombuffer(content, dtype).reshape(rows, *shape[1:])
            stream.read(1)  # at the end of a member its checksum is compared


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors within it name the file: of damaged ones the decoders raise a dozen kinds."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{as_text(path)} cannot be read as a NumPy file: {reason_of(error)}") from error


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether the first axis varies fastest, type, and the length of all that precedes the data."""
    try:
        (length_format, read) = _VERSIONS[stream.read(2)]
        stored_length = stream.read(struct.calcsize(length_format))
        (length,) = struct.unpack(length_format, stored_length)
        if length > _LONGEST_HEADER:
            raise ValueError
        shape, fortran, dtype = read(io.BytesIO(stored_length + stream.read(length)))
    except Exception as error:
        raise DataError(f"{what} is damaged: its header cannot be read") from error
    if dtype.hasobject:
        raise DataError(f"{what} holds Python objects, which are not read: save it as an array of numbers")
    if any(side < 0 for side in shape):
        raise DataError(f"{what} is damaged: its header says shape {shape}")
    if not shape:
        raise DataError(f"{what} is a single number, no array")
    return shape, fortran, dtype, len(_ARRAY) + 2 + len(stored_length) + length
