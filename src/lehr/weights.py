"""Files of published weights that a component is made of: where they lie, and whether they are what they should be.

Nothing is downloaded. A class lists its own as `files`; they are looked for before any data are read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WeightsFile:
    """A file that a component needs.

    Attributes:
        name: of the file.
        url: where it is published.
        instead: what to use where it cannot be had.
        argument: of the component, which names another path; None for where `torch.hub` keeps what it downloads.
        sha256: of the component, the hexadecimal digits that the file's SHA-256 begins with.
    """

    name: str
    url: str
    instead: str
    argument: str = "weights"
    sha256: str = "sha256"

    def path(self, values: Mapping[str, Any]) -> Path:
        """Where the file of a component with these arguments is to lie."""
        return Path(values[self.argument]) if values.get(self.argument) else hub_folder() / self.name

    def problem(self, values: Mapping[str, Any], key: str) -> str | None:
        """What is wrong with the file of the component `key` with these arguments, in one line; None if nothing is."""
        path, expected = self.path(values), str(values[self.sha256]).lower()
        given = values.get(self.argument)
        try:
            status = path.stat()
            if path.is_file():
                found = _sha256(path, status.st_mtime_ns, status.st_size)
            else:
                raise FileNotFoundError
        except FileNotFoundError:
            where = f"{key}.{self.argument}={given}: there is no such file" if given else f"{key}: needs {path}"
            other = "" if given else f"; or say where it is, {key}.{self.argument}=FILE"
            return f"{where}; get {self.url} and put it there{other}. Without it use {self.instead}"
        except OSError as error:
            return f"{key}: {path} cannot be read ({error.strerror})"
        if found.startswith(expected):
            return None
        return (
            f"{key}: {path} is damaged or another file, its SHA-256 begins with {found[:16]}, not {expected}; get "
            f"{self.url} again, or say {key}.{self.sha256}={found[:16]} if it is the one you mean"
        )


def hub_folder() -> Path:
    """Where torch.hub keeps the weights it has downloaded, and so torchvision and lpips; torch is not imported."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser() / "hub" / "checkpoints"


@lru_cache
def _sha256(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
