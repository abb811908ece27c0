"""Download a file: from the first mirror that serves the right bytes, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from lehr import files
from lehr.errors import DataError

_CHUNK = 1 << 16
_TIMEOUT_S = 30


def download(urls: Iterable[str], path: Path, md5: str) -> None:
    """Put the file with checksum `md5` at `path`, trying `urls` in order; a progress bar shows on a terminal.

    Raises:
        DataError: if no mirror serves it; one line that says what went wrong with each.
    """
    reasons = []
    for url in urls:
        try:
            with files.replacing(path) as temporary:
                received = _fetch(url, temporary)
                if received != md5:
                    raise DataError(f"md5 {received}, expected {md5}")
            return
        except (OSError, DataError) as error:  # every error of urllib is an OSError
            reasons.append(f"{url}: {' '.join(str(error).split()) or type(error).__name__}")
    raise DataError("; ".join(reasons))


def _fetch(url: str, path: Path) -> str:
    """Write what `url` serves to `path`; its md5."""
    from urllib.request import urlopen

    from tqdm import tqdm

    digest = hashlib.md5(usedforsecurity=False)
    with urlopen(url, timeout=_TIMEOUT_S) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0)) or None
        # disable=None: no bar where stderr is not a terminal.
        with tqdm(total=size, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], disable=None) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    return digest.hexdigest()
