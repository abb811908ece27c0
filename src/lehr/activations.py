"""What the modules of a network give, while it runs: their outputs, sums between them, and the logits of attention.

Shapes: b batch; heads, n positions and d channels of a head of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

LARGEST_HALF = 65504.0
"""The largest finite number of float16: (2 - 2^-10) 2^15."""
LIMIT = LARGEST_HALF / 8
"""What activations are brought below, so that other images have room: 3 bits."""
_ROWS = 1024  # positions whose logits there are at once

See = Callable[[str, Tensor], None]
"""(the name of a module, what it gives)."""


@contextmanager
def watching(network: nn.Module, see: See) -> Iterator[None]:
    """Within it `see` is called with what each module gives, by its name in `network`, in the order in which they run.

    What a module without parts takes that no module has given, the sum of two branches say, is "NAME.input". The logits
    of an attention of diffusers (b, heads, rows, n), which no module gives, are "NAME.logits"; some rows at a time.
    """
    given: Any = WeakTensorKeyDictionary()

    def before(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        for tensor in inputs:
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor not in given:
                see(f"{name}.input", tensor)

    def after(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            given[output] = True
            see(name, output)

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if next(module.children(), None) is None:
                hooks.callback(module.register_forward_pre_hook(partial(before, name)).remove)
            elif hasattr(module, "to_q") and hasattr(module, "to_k"):
                _watch_logits(hooks, name, module, see)
            hooks.callback(module.register_forward_hook(partial(after, name)).remove)
        yield


def _watch_logits(hooks: ExitStack, name: str, attention: Any, see: See) -> None:
    """Call `see` with q k^T / sqrt(d), of what to_q and to_k give, as scaled_dot_product_attention has it."""
    queries: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        queries.append(output)

    def multiply(module: nn.Module, inputs: Any, output: Tensor) -> None:
        q, k = (x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (queries.pop(), output))
        for rows in q.split(_ROWS, dim=2):
            see(f"{name}.logits", (rows * q.shape[-1] ** -0.5) @ k.transpose(2, 3))  # less is infinite on the way

    hooks.callback(attention.to_q.register_forward_hook(keep).remove)
    hooks.callback(attention.to_k.register_forward_hook(multiply).remove)


class Largest:
    """The largest |number| that each module has given, by name, in the order in which they first ran. A `See`.

    Attributes:
        values: by name; NaN of a module that has given NaN.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    @torch.no_grad()
    def __call__(self, name: str, tensor: Tensor) -> None:
        if not tensor.numel():
            return
        largest = float(tensor.detach().abs().max())  # NaN if there is one
        before = self.values.get(name, 0.0)
        self.values[name] = largest if largest != largest or largest > before else before
