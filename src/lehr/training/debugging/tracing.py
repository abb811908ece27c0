"""Which operation makes the first number that is not finite, among those that lead to a loss or a gradient.

Two of torch's modes watch a step while it is repeated: one below autograd sees every tensor that an operator takes and
gives, also in the backward pass; one above it remembers for each node of the graph where in the code it comes from.
A tensor is looked at as a whole: it is finite, or holds an infinity, or NaN.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import lightning
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NAN, INF = "nan", "inf"
_KEY = "lehr"  # in the metadata of a node of the graph
_SHOWN = 80
# the folders whose code is nobody's of whom it is asked where something was computed
_NOT_THERE = tuple(
    os.path.dirname(path) + os.sep for path in (str(torch.__file__), str(lightning.__file__), str(Path(__file__)))
)
_UNWRITTEN = ("empty", "new_empty", "resize", "set_")
"""Operators that give memory as it is, of which nobody has computed anything."""


@dataclass(frozen=True)
class Site:
    """Where something is computed: a line of code that is neither torch's nor Lightning's, and within which module."""

    file: str
    line: int
    module: str

    def __str__(self) -> str:
        code = " ".join(linecache.getline(self.file, self.line).split())
        short = code if len(code) <= _SHOWN else f"{code[:_SHOWN]}..."
        within = f", in {self.module}" if self.module else ""
        return f"{_path(self.file)}:{self.line}{within}" + (f": {short}" if short else "")


@dataclass(frozen=True, eq=False)
class Made:
    """A tensor that is not finite, and the operator that gave it.

    Attributes:
        operator: its name.
        kind: "nan" if any number is, else "inf".
        count: how many numbers are not finite.
        numel: of how many.
        limits: the least and the largest number among the inputs that are finite tensors; None where there are none.
        site: where the operator was called; of one of the backward pass, where that which it is the gradient of was.
        node: of the backward pass, the name of the node of the graph; else "".
        sources: the inputs that were not finite already, as far as they were seen to be made.
    """

    operator: str
    kind: str
    count: int
    numel: int
    limits: tuple[float, float] | None
    site: Site | None
    node: str
    sources: tuple[Made, ...]

    def __str__(self) -> str:
        of = f", of numbers between {self.limits[0]:.3g} and {self.limits[1]:.3g}" if self.limits else ""
        made = f"{self.operator} made {self.count:,} of {self.numel:,} numbers {self.kind}{of}"
        where = "where is not known" if self.site is None else str(self.site)
        return f"{made}; backward ({self.node}) of {where}" if self.node else f"{made}; {where}"


def chain(made: Made) -> list[Made]:
    """From the operator that made the first such number, of finite ones, to `made`.

    A NaN comes from what was NaN already, where there is such a thing, and else from an infinity. In the backward pass
    what was not finite in the forward pass, and did no harm there, counts as given.
    """
    found = [made]
    while True:
        sources = [source for source in made.sources if bool(source.node) == bool(made.node)]
        if made.kind == NAN:
            sources = [source for source in sources if source.kind == NAN] or sources
        if not sources:
            return found[::-1]
        made = sources[0]
        found.append(made)


class Sites(TorchFunctionMode):
    """Remembers in each node of the graph where it comes from.

    Args:
        modules: the name of each module, by its id.
    """

    def __init__(self, modules: Mapping[int, str]) -> None:
        super().__init__()
        self._modules = modules

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        nodes = [t.grad_fn for t in tree_leaves(result) if isinstance(t, Tensor) and t.grad_fn is not None]
        site: Site | None = None
        while nodes:
            node = nodes.pop()
            known: dict[str, Any] = cast(Any, node).metadata  # which torch's own stub calls a function
            if _KEY in known or not node.next_functions:
                continue
            site = site or here(self._modules)
            known[_KEY] = site
            nodes += [before for before, _ in node.next_functions if before is not None]
        return result


class Watch(TorchDispatchMode):
    """Keeps every tensor that is not finite, with the operator that gave it.

    Args:
        modules: the name of each module, by its id.
    """

    def __init__(self, modules: Mapping[int, str]) -> None:
        super().__init__()
        self._modules = modules
        self._tensors: dict[int, tuple[Tensor, Made]] = {}  # which are kept, so that no other has the same id
        self._memory: dict[int, Made] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = list(_tensors((args, kwargs)))
        sources = tuple(made for tensor in given if kind_of(tensor) and (made := self.made(tensor)))
        limits = _limits(given)
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        for tensor in _tensors(result):
            memory = tensor.untyped_storage()._cdata
            kind = "" if name.startswith(_UNWRITTEN) else kind_of(tensor)
            if not kind:
                self._tensors.pop(id(tensor), None)
                if func._schema.is_mutable:
                    self._memory.pop(memory, None)
                continue
            if func.is_view and sources:  # the same numbers, seen in another way
                self._tensors[id(tensor)] = tensor, sources[0]
                continue
            node: Any = torch._C._current_autograd_node()
            site = here(self._modules) if node is None else node.metadata.get(_KEY)
            made = Made(
                name, kind, int((~tensor.isfinite()).sum()), tensor.numel(), limits, site,
                "" if node is None else node.name(), sources,
            )  # fmt: skip
            self._tensors[id(tensor)] = tensor, made
            self._memory[memory] = made
        return result

    def made(self, tensor: Tensor) -> Made | None:
        """How a tensor that is not finite was made; None where that was not seen."""
        found = self._tensors.get(id(tensor))
        return found[1] if found else self._memory.get(tensor.untyped_storage()._cdata)


def kind_of(tensor: Tensor) -> str:
    """ "nan" or "inf", if any of its numbers is, NaN first; else empty."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout != torch.strided or tensor.is_meta:
        return ""
    if bool(tensor.isfinite().all()):
        return ""
    return NAN if bool(tensor.isnan().any()) else INF


def here(modules: Mapping[int, str]) -> Site | None:
    """The line of code that has called torch, and the innermost of the `modules` that it is in."""
    file, line, module = "", 0, ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (file and module):
        name = frame.f_code.co_filename
        if not file and not name.startswith((*_NOT_THERE, "<")):
            file, line = name, frame.f_lineno
        if not module and "self" in frame.f_code.co_varnames:
            module = modules.get(id(frame.f_locals.get("self")), "")
        frame = frame.f_back
    return Site(file, line, module) if file else None


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _limits(tensors: Sequence[Tensor]) -> tuple[float, float] | None:
    """Of the finite floating-point ones."""
    real = [t.detach() for t in tensors if t.is_floating_point() and t.numel() and not t.is_meta and not kind_of(t)]
    return (min(float(t.min()) for t in real), max(float(t.max()) for t in real)) if real else None


def _path(file: str) -> str:
    """From here, where it is below this folder; of a package from its name on."""
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    for folder in map(Path, sys.path):
        if folder.is_absolute() and path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return file
