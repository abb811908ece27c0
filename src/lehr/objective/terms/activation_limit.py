"""Activations that are too large for half precision, made smaller (the `terms` group)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lehr.activations import LIMIT, watching
from lehr.errors import ConfigError
from lehr.limits import PositiveFloat
from lehr.objective.terms.term import LossTerm, TermInputs, TermResult


class ActivationLimit(LossTerm):
    """The squares of what |activations| have beyond a limit, relu(|a| / limit - 1)^2, summed over all of an image.

    Of every module of encoder and decoder, of sums between modules and of the logits of attention. Images pass the
    model a second time for it, in the precision of its weights: what is to fit in float16 is not measured in it.

    Args:
        limit: of |activation|; an eighth of 65,504 by itself, so that other images have room.
        options: as of `LossTerm`.
    """

    unit_of_value = "squared limits"

    def __init__(self, limit: PositiveFloat = LIMIT, **options: Any) -> None:
        super().__init__(**options)
        self.limit = limit

    def forward(self, inputs: TermInputs) -> TermResult:
        model: Any = inputs.parts.model
        b = len(inputs.images)
        _require_visible(model)
        largest = inputs.images.new_zeros(())
        value = inputs.images.new_zeros(b)

        def see(name: str, activation: Tensor) -> None:
            nonlocal largest, value
            most = activation.detach().abs().amax()
            largest = torch.maximum(largest, most.to(largest))
            if most > self.limit:  # else nothing of it is kept for the gradient
                beyond = (activation.float().abs() / self.limit - 1).relu().square()
                value = value + beyond.reshape(b, -1).sum(1)

        with torch.autocast(inputs.images.device.type, enabled=False), watching(model, see):
            model.decode(model.encode(inputs.images).mean)
        return TermResult(value, shown={"activation_largest": largest.expand(b)})


def _require_visible(model: torch.nn.Module) -> None:
    """Check that what modules give can be seen, and be differentiated."""
    if any(getattr(module, "_compiled_call_impl", None) is not None for module in model.modules()):
        raise ConfigError("terms: ActivationLimit sees nothing of what compiled modules give; say compile=false")
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise ConfigError("terms: ActivationLimit needs activations to be kept; say model.gradient_checkpointing=false")
