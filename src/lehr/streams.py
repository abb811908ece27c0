"""Standard output and error that nobody need read: a process goes on in silence where what it prints is not taken."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

_PASSING = (errno.ENOSPC, errno.EDQUOT)  # a disk that is full now may have room for what comes later
_NAMES = "lehr.names"


class _Unread(io.FileIO):
    """A stream of this process; what it cannot take is left out."""

    problem: OSError | None = None
    """What something was left out for."""

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        try:
            while left:
                written = super().write(left)
                if written is None:  # somebody has made it a stream that does not wait
                    select.select([], [self], [])
                left = left[written or 0 :]
        except OSError as error:
            self.problem = error
            if error.errno not in _PASSING:  # its reader is gone, for this process and those that it starts
                with suppress(OSError):
                    _to_nowhere(self.fileno())
        return memoryview(data).nbytes


def need_no_reader() -> None:
    """Let standard output and error of this process, and of those that it starts, be such streams from now on.

    A descriptor that was closed leads nowhere then: else the next file that is opened would take its place, and be
    printed into. Streams that are something else already, as in a notebook, are left alone.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _to_nowhere(descriptor)
    sys.stdout = _made(sys.stdout, 1, _NAMES)
    sys.stderr = _made(sys.stderr, 2, "backslashreplace")


def lost() -> OSError | None:
    """Why something that was printed on standard output is not there; None where nobody wants it."""
    raw = _raw(sys.stdout)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    problem = raw.problem if isinstance(raw, _Unread) else None
    return problem if problem and problem.errno in _PASSING else None


def _made(stream: TextIO | None, descriptor: int, errors: str) -> TextIO:
    """What is to take the place of `stream`."""
    if stream is not None:
        raw = _raw(stream)
        if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO or raw.fileno() != descriptor:
            return stream
        with suppress(OSError):
            stream.flush()
    line_by_line = True if stream is None else stream.line_buffering
    binary: Any = _Unread(descriptor, "w", closefd=False)
    at_once = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        binary if at_once else io.BufferedWriter(binary),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors=errors,
        line_buffering=line_by_line,
        write_through=at_once,
    )


def _raw(stream: TextIO) -> Any:
    """What is below the text and the buffer of a stream, of which there is none where Python is to write at once."""
    binary = getattr(stream, "buffer", None)
    return getattr(binary, "raw", binary)


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    else:
        os.set_inheritable(nowhere, True)


def _as_it_was(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes of a file's name that are no text, as they are; what an encoding has no character for, spelt out."""
    assert isinstance(error, UnicodeEncodeError)
    codes = [ord(character) for character in error.object[error.start : error.end]]
    if all(0xDC80 <= code <= 0xDCFF for code in codes):
        return bytes(code - 0xDC00 for code in codes), error.end
    return codecs.backslashreplace_errors(error)


codecs.register_error(_NAMES, _as_it_was)
