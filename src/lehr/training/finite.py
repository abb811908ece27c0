"""Stops a training whose loss is NaN or infinite, without making the CPU wait for the GPU at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.errors import NonFiniteLoss
from lehr.finite import wrong_among


@dataclass(frozen=True)
class _Seen:
    """The terms of a step that are on their way to the host."""

    names: Sequence[str]
    values: Tensor
    step: int
    kl_weight: float | Tensor | None
    arrived: torch.cuda.Event


class FiniteLoss:
    """Checks the terms of every step: at once on a CPU, one step late on a GPU.

    On a GPU the numbers are copied to the host in the background and looked at when the next step comes, by which
    time the device has long passed them.
    """

    def __init__(self) -> None:
        self._pending: _Seen | None = None

    def check(self, names: Sequence[str], values: Tensor, step: int, kl_weight: float | Tensor | None) -> None:
        """Check the `values` (k,) of the terms of these names at an optimiser step; on a GPU those of the step before.

        Raises:
            NonFiniteLoss: names the step and the terms.
        """
        if values.device.type != "cuda":
            _require_finite(names, values, step, kl_weight)
            return
        self.flush()
        copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        copy.copy_(values, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = _Seen(names, copy, step, kl_weight, event)

    def flush(self) -> None:
        """Check what has not been looked at yet.

        Raises:
            NonFiniteLoss: names the step and the terms.
        """
        if (seen := self._pending) is not None:
            self._pending = None
            seen.arrived.synchronize()
            _require_finite(seen.names, seen.values, seen.step, seen.kl_weight)


def _require_finite(names: Sequence[str], values: Tensor, step: int, kl_weight: float | Tensor | None) -> None:
    numbers = values.tolist()
    if all(map(math.isfinite, numbers)):
        return
    wrong = wrong_among(dict(zip(names, numbers, strict=True)))
    weight = "" if kl_weight is None else f" (KL weight {float(kl_weight):g})"
    raise NonFiniteLoss(f"step {step}{weight}: {wrong}; debug=anomaly says what has made it so")
