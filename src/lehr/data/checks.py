"""What can be said of a path before anything is read."""

from __future__ import annotations

from pathlib import Path


def check_path(key: str, value: str | None, what: str) -> list[str]:
    """A line if `data.key` is given and is not there; `what` is "file" or "folder"."""
    if value is None:
        return []
    path = Path(value).expanduser()
    there = path.is_dir() if what == "folder" else path.is_file()
    return [] if there else [f"data.{key}: there is no {what} {path}"]


def as_text(path: object) -> str:
    """A path as it stands in a message: one line, and text, whatever bytes the name is of."""
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
