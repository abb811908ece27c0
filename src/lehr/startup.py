"""The imports of a command that trains or reads a model, as fast as they can be."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within it torch and Lightning are imported for the first time in this process: some 40% sooner than without.

    The garbage collector would look through what is imported again and again, and torchmetrics, which Lightning
    imports, would import scipy.signal and with it most of SciPy, to see whether one function has an old name.
    """
    if "torchmetrics" in sys.modules:
        yield
        return
    gc.disable()
    try:
        _import_torchmetrics()
        yield
    finally:
        gc.freeze()  # modules stay: no later collection needs to look at them, and forked processes share them
        gc.enable()


def _import_torchmetrics() -> None:
    name = "scipy.signal"
    placeholder = ModuleType(name)
    placeholder.hamming = None  # type: ignore[attr-defined]  # what torchmetrics looks for
    there = sys.modules.setdefault(name, placeholder)
    try:
        import torchmetrics  # noqa: F401
    finally:
        if there is placeholder:
            del sys.modules[name]
