"""What can be said of a configured path before anything is read."""

from __future__ import annotations

from pathlib import Path


def check_path(key: str, value: str | None, what: str) -> list[str]:
    """A line if `data.key` is given and is not there; `what` is "file" or "folder"."""
    if value is None:
        return []
    path = Path(value).expanduser()
    there = path.is_dir() if what == "folder" else path.is_file()
    return [] if there else [f"data.{key}: there is no {what} {path}"]
