"""Packages that list their names without importing what defines them, so that commands start fast."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

_EXPORTS: dict[str, dict[str, str]] = {}


def exports(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` (PEP 562) of `package`, for `names`: name -> submodule that defines it.

    A submodule that begins with a dot is of the package around this one.
    """

    _EXPORTS[package] = names

    def getattr_(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{names[name]}", package), name)

    def dir_() -> list[str]:
        return sorted(names)

    return getattr_, dir_


def defined_in(module: str, name: str) -> str:
    """The full name of the module that defines `name`: `module` itself, or where it says, if it is such a package."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return module
    if spec is None or spec.submodule_search_locations is None:
        return module
    importlib.import_module(module)  # which imports no more than the packages around it do
    names = _EXPORTS.get(module, {})
    return importlib.util.resolve_name(f".{names[name]}", module) if name in names else module
