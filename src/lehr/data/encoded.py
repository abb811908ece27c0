"""Encoded pictures, wherever their bytes lie: a file, a member of a tar file, or bytes at hand.

Knows nothing of torch, as a decoding process imports it. What is handed to such a process says where the bytes are,
and not the bytes, wherever that can be said.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

from lehr.errors import DataError
from lehr.files import DIGEST_BYTES, content_digest


@dataclass(frozen=True)
class Member:
    """A picture within an archive that is not compressed.

    Attributes:
        archive: path of the tar file.
        offset, size: of the picture's bytes in it.
        name: of the member.
    """

    archive: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def read(self) -> bytes:
        """All its bytes.

        Raises:
            OSError: if the archive cannot be read.
            DataError: without a name, if the archive ends before the picture does.
        """
        descriptor = os.open(self.archive, os.O_RDONLY)
        try:
            content = os.pread(descriptor, self.size, self.offset)
        finally:
            os.close(descriptor)
        if len(content) < self.size:
            raise DataError("the archive ends within it")
        return content


@dataclass(frozen=True)
class Content:
    """A picture whose bytes are at hand; None where there are none."""

    name: str
    content: bytes | None = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def read(self) -> bytes:
        """All its bytes.

        Raises:
            DataError: without a name, if there are none.
        """
        if self.content is None:
            raise DataError("there is no picture")
        return self.content


Encoded: TypeAlias = str | Member | Content
"""One encoded picture; a `str` is the path of a file. As text it is what the picture is called in a message."""


def digest_of(picture: Encoded) -> bytes:
    """What tells the bytes of a picture from those of another: 16 bytes.

    Raises:
        OSError, DataError: if they cannot be read.
    """
    if isinstance(picture, str):
        return content_digest(picture)
    return hashlib.blake2b(picture.read(), digest_size=DIGEST_BYTES).digest()


def stream_of(picture: Encoded) -> tuple[AbstractContextManager[BinaryIO], int]:
    """The bytes of a picture as a file, to be closed, and how many there are.

    Raises:
        DataError: without a name, if it is no file, or there are no bytes.
        OSError: if they cannot be read.
    """
    if isinstance(picture, str):
        status = os.stat(picture)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("it is no file")  # reading from a pipe would wait for ever
        size = status.st_size
    else:
        content = picture.read()
        size = len(content)
    if not size:
        raise DataError("it is empty")
    return (open(picture, "rb") if isinstance(picture, str) else nullcontext(io.BytesIO(content))), size
