"""What can be said of a path before anything is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lehr.errors import ConfigError, DataError
from lehr.paths import expanded

DEFLATE = 1032
"""The most bytes that one byte of zip or gzip can become."""

_LONGEST_REASON = 200


def check_path(key: str, value: str | None, what: str) -> list[str]:
    """A line if `data.key` is given and is not there; `what` is "file" or "folder"."""
    if value is None:
        return []
    try:
        path = expanded(value)
    except ConfigError as error:
        return [f"data.{key}={problem}" for problem in error.problems]
    there = path.is_dir() if what == "folder" else path.is_file()
    return [] if there else [f"data.{key}: there is no {what} {as_text(path)}"]


def reason_of(error: Exception) -> str:
    """What an error of a library or of the system says, in one line and without the path once more."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = as_text(" ".join(text.split())) or type(error).__name__
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."


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


def require_apart(
    key: str, root: Path, files: Sequence[str], test_key: str, test_root: Path, test: Sequence[str]
) -> None:
    """Check that no file is both trained on and tested on.

    Args:
        key, root: what says where the training images are, and where that is.
        files: the training images.
        test_key, test_root, test: the same of the test images.

    Raises:
        DataError: if one is.
    """
    known = {_identity(file) for file in files}
    both = [file for file in test if _identity(file) in known]
    if not both:
        return
    one, other = root.resolve(), test_root.resolve()
    if one == other:
        how = f"is {key}"
    elif one in other.parents:
        how = f"lies within {key}={root}"
    elif other in one.parents:
        how = f"holds {key}={root}"
    else:
        how = f"holds files of {key}={root} ({as_text(both[0])})"
    raise DataError(
        f"{test_key}={test_root}: {how}: {len(both):,} of {len(test):,} test images would be trained on too; keep them "
        f"apart, or say {test_key}=null to have a part of {key} held out"
    )


def _identity(file: str) -> tuple[int, int]:
    """What a file is by whatever name; a name that leads nowhere is the business of whoever reads it."""
    try:
        found = os.stat(file)
    except OSError:
        return -1, hash(file)
    return found.st_dev, found.st_ino
