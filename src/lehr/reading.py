"""Small files that anybody may have written: read whole where they are what they seem, or refused in a line.

A run directory may come from anywhere. A pipe that is never written to, a file of gigabytes, a link to somebody else's
file, nine lines of YAML that stand for a billion values, or brackets a thousand deep, are no file of lehr's.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 2**20
_MOST_VALUES = 1_000_000
_DEEPEST = 50
_ESCAPED_BYTE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_bytes(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: if it is not there, or cannot be read.
        ValueError: if it is no file, such as a link, or a large one.
    """
    try:
        with open(path, "rb", opener=_opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is no file")
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("it is a link") from error
        raise
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES // 2**20} MiB")
    return content


def _opener(path: str, flags: int) -> int:
    """Opens what it is told and not what that leads to, and waits for no other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: if it is not there, or cannot be read.
        ValueError: if it holds no JSON, or more than any file of lehr's.
    """
    try:
        return _within_limits(json.loads(read_bytes(path)))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_fields(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none, or no file that can be read."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds: plain values, whatever classes it names.

    Raises:
        OSError: if it is not there, or cannot be read.
        ValueError: if it holds no YAML, or more than any file of lehr's.
    """
    import yaml

    content = read_bytes(path)
    # libyaml does not read what PyYAML writes for the bytes of a name that are no UTF-8
    fast = None if _ESCAPED_BYTE.search(content) else getattr(yaml, "CSafeLoader", None)
    try:
        return _within_limits(yaml.load(content, fast or yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _within_limits(value: Any) -> Any:
    """The value, if writing it out would take no more than so many values; a repeated one counts wherever it stands."""
    left, level = _MOST_VALUES, [value]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for one in level:
            parts: Iterable[Any] = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            inner += [part for part in parts if isinstance(part, dict | list)]
            left -= len(one) if isinstance(one, dict | list) else 1
            if left < 0:
                raise ValueError(f"it stands for more than {_MOST_VALUES:,} values")
        if not inner:
            return value
        level = inner
    raise ValueError("it is nested too deeply")


def is_finite(value: float) -> bool:
    """Whether a number of such a file is one that can be computed with."""
    try:
        return math.isfinite(value)
    except OverflowError:  # of an integer that no float holds
        return False


def links_in(folder: Path) -> list[Path]:
    """What in a folder is a link, by name; the folder alone if it is one itself.

    What is written, read or removed through a link is somebody else's.
    """
    if folder.is_symlink():
        return [folder]
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_symlink())
    except OSError:
        return []
