"""The imports of a command that trains or reads a model, as fast as they can be, whatever is in the environment."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from lehr.surroundings import hidden


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within it torch and Lightning are imported for the first time in this process: some 40% sooner than without.

    The garbage collector would look through what is imported again and again, and torchmetrics, which Lightning
    imports, would import scipy.signal and with it most of SciPy, to see whether one function has an old name.
    """
    if "torchmetrics" in sys.modules:
        with hidden(importing=True):
            yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with hidden(importing=True):
            _import_torchmetrics()
            yield
    finally:
        gc.freeze()  # modules stay: no later collection needs to look at them, and forked processes share them
        if was_enabled:
            gc.enable()


class _Placeholder(ModuleType):
    """Stands for a module, and imports it when anything is wanted of it but `hamming`, for which torchmetrics looks."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _import_torchmetrics() -> None:
    placeholder = _Placeholder("scipy.signal")
    sys.modules.setdefault(placeholder.__name__, placeholder)
    try:
        import torchmetrics  # noqa: F401
    finally:
        if sys.modules.get(placeholder.__name__) is placeholder:
            del sys.modules[placeholder.__name__]
