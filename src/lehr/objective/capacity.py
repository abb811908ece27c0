"""A rate that is held at a capacity, which grows during training (Burgess et al. 2018, equation 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from lehr.limits import NonNegativeFloat
from lehr.objective.annealing import Annealing, Shape, Unit
from lehr.objective.rate import Controlled, Cost, CostTerm, RateInputs, Values


class Capacity(Controlled):
    """gamma * |rate - capacity(step)|, of the rate averaged over the batch of all ranks.

    The KL weight in effect is gamma above the capacity and -gamma below it.

    Args:
        capacity: the rate that is aimed at, in nats per example.
        gamma: what each nat of distance costs; more than a nat of rate saves in distortion, or it is not held.
        hold: how long the capacity is 0.
        warmup: how long it then ramps from 0 to the one aimed at.
        shape: of the ramp: linear, cosine or sigmoid.
        unit: of `hold` and `warmup`: epoch, step or fraction (of the whole training).
    """

    numbers = ("capacity", "gamma")
    annealed = ("hold", "warmup", "shape", "unit")

    def __init__(
        self,
        capacity: NonNegativeFloat,
        gamma: NonNegativeFloat = 10.0,
        hold: NonNegativeFloat = 0,
        warmup: NonNegativeFloat = 50,
        shape: Shape = "linear",
        unit: Unit = "epoch",
    ) -> None:
        super().__init__(Annealing(capacity, hold, warmup, shape, 1, unit), gamma)
        self.gamma = gamma

    def values(self, step: int) -> Values:
        return {"capacity": self.schedule(step), "gamma": self.gamma}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        capacity = values["capacity"]
        weight = self.remember(values["gamma"] * (inputs.means[1].double() - capacity).sign())
        rate = inputs.terms.rate
        aim = torch.as_tensor(capacity, dtype=rate.dtype, device=rate.device)
        return Cost(weight.to(rate.dtype) * (rate - capacity).sum(), weight, {"capacity": CostTerm(aim, -weight)})

    def average_cost(self, step: int, rate: float, kl: Tensor | None) -> float:
        return self.gamma * abs(rate - self.schedule(step))
