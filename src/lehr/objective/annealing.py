"""KL annealing: the weight of the KL term as a pure function of the optimiser step.

The weight is held at 0, so that the first steps train the reconstruction alone, then ramped to its target
(Bowman et al. 2016; Sonderby et al. 2016), once or in cycles (Fu et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lehr.errors import ConfigError

Shape = Literal["linear", "cosine", "sigmoid"]
Unit = Literal["epoch", "step", "fraction"]
_STEEPNESS = 12.0  # of the logistic curve: its ends lie within 0.25% of 0 and 1 before they are stretched to them


def _sigmoid(t: float) -> float:
    def logistic(u: float) -> float:
        return 1 / (1 + math.exp(-_STEEPNESS * (u - 0.5)))

    return (logistic(t) - logistic(0)) / (logistic(1) - logistic(0))


RAMPS: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "cosine": lambda t: 0.5 * (1 - math.cos(math.pi * t)),
    "sigmoid": _sigmoid,
}
"""Shapes of the ramp: each maps [0, 1] onto [0, 1], increasing, symmetric about (1/2, 1/2)."""


@dataclass(frozen=True)
class Schedule:
    """The KL weight at each optimiser step.

    Attributes:
        weight: the target.
        hold: steps at weight 0 before anything else.
        warmup: steps of each ramp from 0 to the target.
        shape: a key of `RAMPS`.
        period: steps from the start of one ramp to the start of the next.
        cycles: how many ramps; after the last the weight stays at its target.
    """

    weight: float
    hold: float = 0
    warmup: float = 0
    shape: str = "linear"
    period: float = math.inf
    cycles: int = 1

    def __call__(self, step: int) -> float:
        """The weight of the KL term at `step` (0 is the first)."""
        if step < self.hold:
            return 0.0
        start = self.hold
        if self.cycles > 1:
            start += min(math.floor((step - self.hold) / self.period), self.cycles - 1) * self.period
        if step >= start + self.warmup:
            return self.weight
        return self.weight * RAMPS[self.shape](max(step - start, 0) / self.warmup)

    @property
    def settled(self) -> int:
        """The first step from which the weight stays at its target."""
        last_ramp = self.hold + ((self.cycles - 1) * self.period if self.cycles > 1 else 0)
        return math.ceil(last_ramp + self.warmup)


ANNEALED = ("hold", "warmup", "shape", "cycles", "unit")
"""Arguments of `Annealing` that a rate term may have too: all but the target."""


@dataclass(frozen=True)
class Annealing:
    """The `kl` group of the configuration; with the length of training it becomes a `Schedule`.

    Attributes:
        weight: the target KL weight; 1 is the negative ELBO.
        hold: how long the weight is 0.
        warmup: how long it ramps from 0 to the target.
        shape: of the ramp: linear, cosine or sigmoid.
        cycles: how often the ramp is repeated; the time after `hold` is divided evenly (Fu et al. 2019).
        unit: of `hold` and `warmup`: epoch, step or fraction (of the whole training).
    """

    weight: float
    hold: float = 0
    warmup: float = 0
    shape: str = "linear"
    cycles: int = 1
    unit: str = "epoch"

    def schedule(self, total_steps: int, steps_per_epoch: int) -> Schedule:
        """In optimiser steps, for a training of `total_steps`.

        Raises:
            ConfigError: if the weight would not reach its target within the training.
        """
        in_steps = {"epoch": steps_per_epoch, "step": 1, "fraction": total_steps}[self.unit]
        if problem := self.problem(total_steps / in_steps):
            raise ConfigError(problem)
        # a product like 0.07 * 100 may lie a rounding error above a whole step
        hold, warmup = round(self.hold * in_steps, 6), round(self.warmup * in_steps, 6)
        period = (total_steps - hold) / self.cycles
        schedule = Schedule(self.weight, hold, warmup, self.shape, period, self.cycles)
        if schedule.settled >= max(total_steps, 1):
            raise ConfigError(
                f"kl.hold={self.hold:g} + kl.warmup={self.warmup:g} end within the last of {total_steps} steps: "
                "the target would never be reached; lower them or train for longer"
            )
        return schedule

    def problem(self, length: float) -> str | None:
        """Why the weight would not reach its target in a training of `length` (in `unit`), or None."""
        if self.hold + self.warmup == 0 and self.cycles == 1:
            return None
        cycle = (length - self.hold) / self.cycles
        if self.hold < length and self.warmup < cycle:
            return None
        names = {"epoch": "epochs", "step": "steps", "fraction": "of the training"}[self.unit]
        within = f"a training of {length:g} {names}" if self.unit != "fraction" else "1, the whole training"
        if self.cycles > 1:
            return (
                f"kl.warmup={self.warmup:g} must be shorter than a cycle, and {self.cycles} cycles after "
                f"kl.hold={self.hold:g} in {within} have {max(cycle, 0):g} {names} each"
            )
        longer = "" if self.unit == "fraction" else ", or train for longer"
        return (
            f"kl.hold={self.hold:g} + kl.warmup={self.warmup:g} must be shorter than {within}: "
            f"the target would never be reached; say {self._in_half(length)}{longer}"
        )

    def _in_half(self, length: float) -> str:
        """The words for a hold and a warm-up that take half of `length`: one that is short enough stays as it is."""

        def down(value: float) -> float:
            return math.floor(value) if self.unit != "fraction" else math.floor(100 * value) / 100

        half = down(length / 2)
        if self.warmup < half <= self.hold:
            hold = half - self.warmup
        elif self.hold < half <= self.warmup:
            hold = self.hold
        else:
            hold = down(half * self.hold / (self.hold + self.warmup))
        return f"kl.hold={hold:g} kl.warmup={half - hold:g}"
