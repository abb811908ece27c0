"""Stops a training whose loss is NaN or infinite, without making the CPU wait for the GPU at every step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lehr.errors import NonFiniteLoss


class FiniteLoss:
    """Checks distortion and rate of every step: at once on a CPU, one step late on a GPU.

    On a GPU the numbers are copied to the host in the background and looked at when the next step comes, by which
    time the device has long passed them.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, int, float | Tensor, torch.cuda.Event] | None = None

    def check(self, terms: Tensor, step: int, kl_weight: float | Tensor) -> None:
        """Check the terms (2,), distortion and rate, of optimiser step `step`; on a GPU those of the step before.

        Raises:
            NonFiniteLoss: names the step and the term.
        """
        if terms.device.type != "cuda":
            _require_finite(terms, step, kl_weight)
            return
        self.flush()
        copy = torch.empty(terms.shape, dtype=terms.dtype, pin_memory=True)
        copy.copy_(terms, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = copy, step, kl_weight, event

    def flush(self) -> None:
        """Check what has not been looked at yet.

        Raises:
            NonFiniteLoss: names the step and the term.
        """
        if self._pending is not None:
            terms, step, kl_weight, event = self._pending
            self._pending = None
            event.synchronize()
            _require_finite(terms, step, kl_weight)


def _require_finite(terms: Tensor, step: int, kl_weight: float | Tensor) -> None:
    distortion, rate = terms.tolist()
    wrong = [f"the {name} is {x}" for name, x in (("distortion", distortion), ("rate", rate)) if not math.isfinite(x)]
    if wrong:
        raise NonFiniteLoss(f"step {step} (KL weight {float(kl_weight):g}): {' and '.join(wrong)}")
