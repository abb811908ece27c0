"""What the group `optimizer` may hold of torch's optimizers, whose own constructors state no limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Len

from lehr.limits import FractionOrNone, NonNegativeFloat, PositiveFloat


def adam(
    lr: PositiveFloat,
    betas: Annotated[Sequence[FractionOrNone], Len(2, 2)] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> dict[str, Any]:
    """The arguments of `torch.optim.Adam` and `AdamW`, which are fused: one call for all parameters."""
    return {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "fused": True}
