"""The cross-entropy of pixels with logits, with a gradient that is as exact under `vmap` as without.

`vmap` takes torch's function apart, into (1 - x) logit - log sigmoid(logit), whose gradient at a pixel of 0 is 1 - (1 -
p): of a probability p of 0.001, as pixels have that are always off, float32 then keeps three digits.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
    """-x log p - (1 - x) log(1 - p) of pixels `x` in [0, 1] and of as many `logits` of p, of any shape: the same."""
    if not torch.compiler.is_dynamo_compiling() and torch._C._functorch.is_batchedtensor(logits):
        return _Whole.apply(logits, x)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")


class _Whole(torch.autograd.Function):
    """torch's function, which `vmap` calls for all lanes as for one."""

    @staticmethod
    def forward(logits: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        logits, x = ctx.saved_tensors
        of_logits, of_x = tangents  # None becomes zeros
        return (logits.sigmoid() - x) * of_logits - logits * of_x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, x = ctx.saved_tensors
        (gradient,) = gradients
        of_x = -logits * gradient if ctx.needs_input_grad[1] else None
        return (logits.sigmoid() - x) * gradient, of_x

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], logits: Tensor, x: Tensor) -> tuple[Tensor, int]:
        alike = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip((logits, x), in_dims, strict=True)
        ]
        return _Whole.apply(*alike), 0
