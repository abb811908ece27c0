"""Linear layers of many lanes, with the bits that each has alone.

`vmap` takes a linear layer apart, into a product and a sum. Alone it is one call, which rounds in another way, and so
does `baddbmm`. A last bit that is another makes a difference of its own wherever a ReLU comes to stand at 0.

Shapes: L lanes, b examples, i inputs, o outputs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LinearInOneCall:
    """Within it the linear layers of a `module`, called under `vmap` with the weights of many lanes, are one call each.

    Not a `TorchFunctionMode`, which is asked of whatever is done with a tensor. Within autocast nothing changes.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = [part for part in module.modules() if type(part) is nn.Linear and part.bias is not None]

    def __enter__(self) -> None:
        for layer in self._layers:
            layer.__dict__["forward"] = partial(_forward, layer)

    def __exit__(self, *error: object) -> None:
        for layer in self._layers:
            del layer.__dict__["forward"]


def _forward(layer: nn.Linear, x: Tensor) -> Tensor:
    if x.ndim != 2 or torch.is_autocast_enabled(x.device.type):  # which would know nothing of the backward pass
        return F.linear(x, layer.weight, layer.bias)
    return _Linear.apply(x, layer.weight, layer.bias)


class _Linear(torch.autograd.Function):
    """Of use under `vmap` alone."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: what is differentiated is that of all lanes."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int, int], x: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, int]:
        rows = x.expand(info.batch_size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        weights, biases = weight.movedim(in_dims[1], 0), bias.movedim(in_dims[2], 0)
        return _OfLanes.apply(rows, weights, biases), 0


class _OfLanes(torch.autograd.Function):
    """x (L, b, i), weights (L, o, i) and biases (L, o): (L, b, o).

    The gradient of the weights lies in memory as the weights do. Adam reads both in one order, and what lies in another
    has to be copied for it, which costs the lanes of small models a tenth of their step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_x, torch.bmm(gradient.mT, x), gradient.sum(1)
