"""Metrics whose sums stay float64 in whatever precision the module that holds them is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from torch import Tensor
from torchmetrics import Metric


class Float64Metric(Metric):
    """A torchmetrics Metric that moves with its module, but never changes the type of its states."""

    full_state_update = False
    is_differentiable = False

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> Self:
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), exclude_state)
        return self
