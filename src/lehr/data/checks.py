"""Checks of single configured values, each giving at most one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def check_choice(key: str, value: object, choices: Iterable[object]) -> list[str]:
    """A problem if `data.key` is not one of `choices`."""
    choices = tuple(choices)
    return [] if value in choices else [f"data.{key}: {value!r} is not one of {', '.join(map(str, choices))}"]


def check_path(key: str, value: str | None, what: str, *, required: bool = True) -> list[str]:
    """A problem if `data.key` is not given though required, or is not there; `what` is "file" or "folder"."""
    if value is None:
        return [f"data.{key}: give the {what} of images"] if required else []
    path = Path(value).expanduser()
    there = path.is_dir() if what == "folder" else path.is_file()
    return [] if there else [f"data.{key}: there is no {what} {path}"]


def check_test_fraction(fraction: float) -> list[str]:
    """A problem if `data.test_fraction` would not leave anything to train on."""
    return [] if 0 <= fraction < 1 else [f"data.test_fraction: {fraction} is not in [0, 1)"]
