"""What can be said of a path before anything is read."""

from __future__ import annotations

import os
from pathlib import Path

from lehr.errors import DataError

DEFLATE = 1032
"""The most bytes that one byte of zip or gzip can become."""


def check_path(key: str, value: str | None, what: str) -> list[str]:
    """A line if `data.key` is given and is not there; `what` is "file" or "folder"."""
    if value is None:
        return []
    path = Path(value).expanduser()
    there = path.is_dir() if what == "folder" else path.is_file()
    return [] if there else [f"data.{key}: there is no {what} {path}"]


def reason_of(error: Exception) -> str:
    """What an error of a library or of the system says, in one line and without the path once more."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return as_text(" ".join(text.split())) or type(error).__name__


def as_text(path: object) -> str:
    """A path as it stands in a message: one line, and text, whatever bytes the name is of."""
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def require_memory(what: str, n_bytes: int) -> None:
    """Check that so many bytes are no more than this machine has.

    Raises:
        DataError: if they are; `what` names the file.
    """
    if not hasattr(os, "sysconf"):
        return
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > present:
        raise DataError(
            f"{what} takes {n_bytes / 2**30:,.1f} GiB, this machine has {present / 2**30:,.1f} GiB of memory"
        )
