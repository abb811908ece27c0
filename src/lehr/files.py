"""Files that are whole or absent: everything is written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lehr.errors import LehrError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # processes of different machines may have the same number
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


_SURROGATE = re.compile("[\ud800-\udfff]")
_LITTLE_SPACE = 16 * 2**20  # bytes on a disk that count as full: less than what a run leaves there


def is_disk_full(error: BaseException | None, folder: Path) -> bool:
    """Whether `error`, in writing to `folder`, came of a full disk: what wraps such an error often does not say so."""
    is_known = isinstance(error, LehrError)  # it says itself what it came of
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return not is_known and shutil.disk_usage(folder).free < _LITTLE_SPACE


DIGEST_BYTES = 16


def content_digest(path: str | Path) -> bytes:
    """What tells the bytes in a file from those in another: 16 bytes.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, indented; NaN and infinities become null, as JSON has no word for them."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # of the name of a file that is no UTF-8, which JSON can say, and UTF-8 cannot
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
