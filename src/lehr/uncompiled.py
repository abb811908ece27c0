"""`torch._dynamo`, which `torch.compile` asks what a function does, is imported once something is compiled.

It takes a third of all that is imported before a training. Lightning wants one of its classes by name, torch and
Lightning mark with it what is not to be compiled, and torch's optimizers end a graph with it at each step. As long as
it has not been imported nothing is compiled, and none of that means anything.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

_NAME = "torch._dynamo"
Function = Callable[..., Any]


def _whole() -> ModuleType | None:
    """The module, where it is wanted by now; another thread that imports it is waited for."""
    return importlib.import_module(_NAME) if _NAME in sys.modules else None


class _OfCompiled(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return (real := _whole()) is not None and isinstance(instance, real.OptimizedModule)


class _OptimizedModule(metaclass=_OfCompiled):
    """Stands for the class of compiled modules, of which there are none before anything is compiled."""


def _disable(function: Function | None = None, recursive: bool = True, **said: Any) -> Function:
    """`torch._dynamo.disable`, which is asked when the function is called while something may be compiled."""
    if function is None:
        return functools.partial(_disable, recursive=recursive, **said)
    disabled: Function | None = None

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal disabled
        if disabled is None:
            if (real := _whole()) is None:
                return function(*args, **kwargs)
            disabled = real.disable(function, recursive, **said)
        return disabled(*args, **kwargs)

    return called


_LOOKED_FOR = {"OptimizedModule": _OptimizedModule, "disable": _disable}
"""By Lightning, while it is imported."""


@contextmanager
def _stand_in() -> Iterator[None]:
    """Within it there is a module of the name, with what is looked for."""
    module = ModuleType(_NAME)
    vars(module).update(_LOOKED_FOR)
    sys.modules[_NAME] = module
    try:
        yield
    finally:
        del sys.modules[_NAME]


def import_lightning() -> None:
    """Import Lightning, and let torch's optimizers step, without `torch._dynamo`."""
    if _NAME not in sys.modules and "lightning" not in sys.modules:
        _spare_optimizers()
        before = set(sys.modules)
        try:
            with _stand_in():
                import lightning.pytorch
        except (AttributeError, ImportError):  # a version that looks for more: from the start again, with all there is
            for name in set(sys.modules) - before:
                if name.partition(".")[0] == "lightning":
                    del sys.modules[name]
    import lightning.pytorch  # noqa: F401


def _spare_optimizers() -> None:
    import torch

    for function in vars(torch.optim.Optimizer).values():
        if _is_made_by(function, "_disable_dynamo"):
            _spare(function)
    for cls in vars(torch.optim).values():
        own = vars(cls).get("step") if isinstance(cls, type) else None
        if _is_made_by(own, "_use_grad_for_differentiable"):
            cls.step = _with_grad_where_differentiable(own)


def _is_made_by(function: object, decorator: str) -> bool:
    return isinstance(function, FunctionType) and function.__code__.co_qualname.startswith(f"{decorator}.")


def _spare(decorated: Any) -> None:
    """Let what `torch._disable_dynamo` has made call its function, as long as nothing may be compiled.

    It looks at the function for what it is to call, and asks `torch._dynamo` where it finds nothing.
    """
    function = decorated.__wrapped__

    def called(*args: Any, **kwargs: Any) -> Any:
        if _NAME not in sys.modules:
            return function(*args, **kwargs)
        vars(function).pop("__dynamo_disable", None)  # of threads that come here together one has done it
        return decorated(*args, **kwargs)

    function.__dynamo_disable = called


def _with_grad_where_differentiable(step: Any) -> Function:
    """`step` of an optimizer, as torch has it, but for the ends of graphs, as long as nothing may be compiled."""
    import torch

    @functools.wraps(step.__wrapped__)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _NAME in sys.modules:
            return step(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step.__wrapped__(self, *args, **kwargs)

    return called
