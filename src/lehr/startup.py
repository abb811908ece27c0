"""The imports of a command that trains or reads a model, as fast as they can be, whatever is in the environment."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ContextDecorator, ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from lehr.surroundings import hidden
from lehr.uncompiled import import_lightning


@contextmanager
def quick_imports() -> Iterator[None]:
    """Torch and Lightning are imported for the first time in this process as it begins: in half of the time.

    The garbage collector would look through what is imported again and again, and torchmetrics, which Lightning
    imports, would import scipy.signal and with it most of SciPy, to see whether one function has an old name, and
    Matplotlib, where it is installed, for the names of two types. Lightning would import what compiles.
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
            import_lightning()
            yield
    finally:
        gc.freeze()  # modules stay: no later collection needs to look at them, and forked processes share them
        if was_enabled:
            gc.enable()


class _Placeholder(ModuleType):
    """Stands for a module while torchmetrics is imported, and imports it when anything is wanted of it afterwards.

    Args:
        name: of the module.
        looked_for: what torchmetrics takes of it while it is imported.
    """

    def __init__(self, name: str, **looked_for: Any) -> None:
        super().__init__(name)
        self._looked_for = looked_for
        vars(self).update(looked_for)

    def forget(self) -> None:
        """Be the module itself, to whoever has imported this one."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        for name in self._looked_for:
            vars(self).pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


class _Style(ContextDecorator):
    """`matplotlib.pyplot.style.context`, which torchmetrics decorates its functions with, once they are called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._asked, self._stack = (args, kwargs), ExitStack()

    def _recreate_cm(self) -> _Style:  # a new one for each call
        args, kwargs = self._asked
        return type(self)(*args, **kwargs)

    def __enter__(self) -> Any:
        context = importlib.import_module("matplotlib.pyplot").style.context
        args, kwargs = self._asked
        return self._stack.enter_context(context(*args, **kwargs))

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)


def _placeholders() -> list[_Placeholder]:
    """For what torchmetrics imports only to name it: of SciPy a function, of Matplotlib types and a decorator."""
    found = [_Placeholder("scipy.signal", hamming=None)]
    if "matplotlib" not in sys.modules and importlib.util.find_spec("matplotlib"):
        some = type("Some", (), {})
        axes = _Placeholder("matplotlib.axes", Axes=some)
        pyplot = _Placeholder("matplotlib.pyplot", Figure=some, style=SimpleNamespace(context=_Style))
        colors = SimpleNamespace(Colormap=some)
        found += [_Placeholder("matplotlib", axes=axes, pyplot=pyplot, colors=colors), axes, pyplot]
    return found


def _import_torchmetrics() -> None:
    placeholders = [one for one in _placeholders() if sys.modules.setdefault(one.__name__, one) is one]
    try:
        import torchmetrics  # noqa: F401
    finally:
        for one in placeholders:
            one.forget()
