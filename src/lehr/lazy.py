"""Packages that list their names without importing what defines them, so that commands start fast."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def exports(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` (PEP 562) of `package`, for `names`: name -> submodule that defines it.

    A submodule that begins with a dot is of the package around this one.
    """

    def getattr_(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{names[name]}", package), name)

    def dir_() -> list[str]:
        return sorted(names)

    return getattr_, dir_
