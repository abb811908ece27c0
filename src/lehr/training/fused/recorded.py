"""What a function of tensors does, kept as a flat list of operations that is gone through again with other tensors.

`vmap`, autograd and the modules of a model are asked once; what they come to are some hundred operations on tensors,
which for small models cost less than the asking. Whoever calls it sees to it that whatever else the function depends on
is the same each time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")
Recording = Callable[..., Any]
"""Called with tensors of the shapes, types and strides of those that it was recorded with."""

_aten = torch.ops.aten
_SAME = (_aten.detach.default, _aten.alias.default, _aten.lift_fresh.default)
"""Where no gradients are taken these give what they are given."""
_DEPENDS_ON_VALUES = {
    torch.Tag.nondeterministic_seeded, torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output
}  # fmt: skip


def recorded(function: Callable[..., T], inputs: Sequence[Tensor]) -> tuple[T, Recording | None]:
    """What `function` gives for these inputs, and how to get the same for others, without gradients.

    None where that cannot be known: where it draws random numbers, or looks at a value.

    Args:
        function: gives tensors, in tuples, lists and dicts; it may change its inputs in place.
        inputs: all that is another at the next call.
    """
    recorder = _Recorder(inputs)
    with _as_if_compiling(), recorder:
        found = function(*inputs)
    return found, recorder.recording(found)


@contextmanager
def _as_if_compiling() -> Iterator[None]:
    """Nobody looks at values, where only that spares a calculation."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


class _Recorder(TorchDispatchMode):
    """Sees each operation once `vmap` and autograd have taken apart what was asked for."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._graph, self._constants = fx.Graph(), dict[str, Tensor]()
        self._is_known = True
        self._dtype: torch.dtype | None = None
        # of each tensor, by its id; they are kept meanwhile, so that no other comes to have it
        self._nodes = {id(x): (x, self._graph.placeholder(f"input_{i}")) for i, x in enumerate(inputs)}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled while it looks, and the mark that says so would import what compiles."""
        return False

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if (dtype := torch.get_default_dtype()) is not self._dtype:  # of what comes of integers that are divided
            self._graph.call_function(torch.set_default_dtype, (dtype,))
            self._dtype = dtype
        found = operation(*args, **(kwargs or {}))
        self._is_known &= _DEPENDS_ON_VALUES.isdisjoint(operation.tags)
        if operation in _SAME or (operation is _aten.permute.default and list(args[1]) == sorted(args[1])):
            self._nodes[id(found)] = found, self._node(args[0])
            return found
        nodes, named = map_aggregate(args, self._node), map_aggregate(kwargs or {}, self._node)
        node = self._graph.call_function(operation, nodes, named)
        if isinstance(found, Tensor):
            self._nodes[id(found)] = found, node
        elif isinstance(found, list | tuple):
            for i, part in enumerate(found):
                self._nodes[id(part)] = part, self._graph.call_function(operator.getitem, (node, i))
        elif found is not None:
            self._is_known = False
        return found

    def _node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:
            name = f"constant_{len(self._constants)}"
            self._constants[name] = value
            self._nodes[id(value)] = value, self._graph.get_attr(name)
        return self._nodes[id(value)][1]

    def recording(self, found: Any) -> Recording | None:
        """How to get what was `found`."""
        if not self._is_known:
            return None
        self._graph.output(map_aggregate(found, self._node))
        operations = fx.GraphModule(self._constants, self._graph).forward

        @torch.no_grad()
        def again(*inputs: Tensor) -> Any:
            before = torch.get_default_dtype()
            try:
                return operations(*inputs)
            finally:
                torch.set_default_dtype(before)

        return again
