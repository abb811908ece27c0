"""Controllers: the KL weight is whatever keeps the distortion, or the rate, at a target.

Their state is a few float64 buffers, computed from the averages over all ranks, and so the same on each. With
gradient accumulation they are updated after each batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lehr.limits import FractionOrNone, NonNegativeFloat, Order, PositiveFloat, check_order
from lehr.objective.annealing import Annealing
from lehr.objective.rate import Controlled, Cost, RateInputs, Values


class GECO(Controlled):
    """The least rate at which the distortion is no more than a target (Rezende & Viola 2018, algorithm 1).

    The paper minimises rate + lambda * (distortion - target) and raises lambda while the constraint is violated:
    lambda <- lambda * exp(speed * moving average of (distortion - target)). Divided by lambda this is distortion +
    rate / lambda, up to a constant: the KL weight is 1 / lambda.

    Args:
        target_distortion: in nats per example (summed over pixels).
        speed: how much the log of the KL weight changes per batch and nat of distance to the target.
        alpha: share that the moving average keeps at each batch.
        weight: the KL weight of the first batch.
        min_weight: its lower limit, > 0.
        max_weight: its upper limit.
    """

    numbers = ("target_distortion", "speed", "alpha", "weight", "min_weight", "max_weight")
    ordered = (Order("min_weight", "<=", "weight"), Order("weight", "<=", "max_weight"))
    distance: Tensor
    batches_seen: Tensor

    def __init__(
        self,
        target_distortion: float,
        speed: PositiveFloat = 1e-3,
        alpha: FractionOrNone = 0.99,
        weight: PositiveFloat = 1.0,
        min_weight: PositiveFloat = 1e-3,
        max_weight: PositiveFloat = 1e3,
    ) -> None:
        super().__init__(Annealing(weight), weight)
        check_order(self.ordered, "kl", min_weight=min_weight, weight=weight, max_weight=max_weight)
        if not min_weight > 0:
            raise ValueError(f"kl.min_weight={min_weight:g}: must be greater than 0, which no factor leads away from")
        self.target_distortion = target_distortion
        self.speed = speed
        self.alpha = alpha
        self.min_weight = min_weight
        self.max_weight = max_weight
        self.register_buffer("distance", torch.zeros((), dtype=torch.float64))
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))

    def values(self, step: int) -> Values:
        names = ("target_distortion", "speed", "alpha", "min_weight", "max_weight")
        return {name: getattr(self, name) for name in names}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        weight = self.last_kl_weight.clone()  # of the batches before this one, as in the paper
        now = inputs.means[0].double() - values["target_distortion"]
        average = values["alpha"] * self.distance + (1 - values["alpha"]) * now
        self.distance.copy_(torch.where(self.batches_seen == 0, now, average))
        self.batches_seen += 1
        moved = weight * (-values["speed"] * self.distance).exp()
        self.remember(moved.clamp(values["min_weight"], values["max_weight"]))  # type: ignore[arg-type]  # both may be tensors
        rate = inputs.terms.rate
        return Cost(weight.to(rate.dtype) * rate.sum(), weight)

    def average_cost(self, step: int, rate: float, kl: Tensor | None) -> float:
        return self.kl_weight(step) * rate


class ControlVAE(Controlled):
    """A rate that is held at a target by a PI controller (Shao et al. 2020, algorithm 1).

    With error = target_rate - rate: weight = kp / (1 + exp(error)) - ki * sum of all errors + min_weight, within its
    limits. So that it comes back from a limit at once, the integral part is kept to [-kp, max_weight - min_weight],
    beyond which it would change nothing. (The authors' code stops it while the weight is beyond a limit, where it may
    then stay for good.)

    Args:
        target_rate: in nats per example.
        kp: gain of the proportional part, which lies in (0, kp).
        ki: gain of the integral part: change of the weight per batch and nat of error.
        min_weight: lower limit of the KL weight, which it starts from.
        max_weight: its upper limit.
    """

    numbers = ("target_rate", "kp", "ki", "min_weight", "max_weight")
    ordered = (Order("min_weight", "<=", "max_weight"),)
    integral: Tensor

    def __init__(
        self,
        target_rate: NonNegativeFloat,
        kp: NonNegativeFloat = 0.01,
        ki: PositiveFloat = 1e-3,
        min_weight: NonNegativeFloat = 0.0,
        max_weight: PositiveFloat = 10.0,
    ) -> None:
        super().__init__(Annealing(min_weight), min_weight)
        check_order(self.ordered, "kl", min_weight=min_weight, max_weight=max_weight)
        self.target_rate = target_rate
        self.kp = kp
        self.ki = ki
        self.min_weight = min_weight
        self.max_weight = max_weight
        self.register_buffer("integral", torch.zeros((), dtype=torch.float64))

    def values(self, step: int) -> Values:
        return {name: getattr(self, name) for name in ("target_rate", "kp", "ki", "min_weight", "max_weight")}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        kp, low, high = values["kp"], values["min_weight"], values["max_weight"]
        error = values["target_rate"] - inputs.means[1].double()
        integral = self.integral - values["ki"] * error
        self.integral.copy_(integral.clamp(-kp, high - low))  # type: ignore[arg-type]  # all may be tensors
        weight = kp * (-error).sigmoid() + self.integral + low
        weight = self.remember(weight.clamp(low, high))  # type: ignore[arg-type]
        rate = inputs.terms.rate
        return Cost(weight.to(rate.dtype) * rate.sum(), weight)

    def average_cost(self, step: int, rate: float, kl: Tensor | None) -> float:
        return self.kl_weight(step) * rate
