"""When a term of the loss begins, as a pure function of the optimiser step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lehr.errors import ConfigError

Unit = Literal["image", "step", "epoch", "fraction"]
_WORDS = {"image": "images", "step": "steps", "epoch": "epochs", "fraction": "of the training"}


@dataclass(frozen=True)
class TrainingLength:
    """How long a training is, for what is scheduled in it.

    Attributes:
        total_steps: optimiser steps of the whole training.
        steps_per_epoch: optimiser steps of an epoch.
        images_per_epoch: of all ranks.
        images_per_step: of all ranks, in every step but perhaps the last of an epoch.
    """

    total_steps: int
    steps_per_epoch: int
    images_per_epoch: int
    images_per_step: int

    def in_steps(self, amount: float, unit: str) -> float:
        """So many images, steps, epochs or fractions of the whole training, in optimiser steps.

        Of images the first step before which so many have been seen.
        """
        if unit == "image":
            epochs, rest = divmod(amount, self.images_per_epoch)
            return epochs * self.steps_per_epoch + min(math.ceil(rest / self.images_per_step), self.steps_per_epoch)
        of_one = {"step": 1, "epoch": self.steps_per_epoch, "fraction": self.total_steps}[unit]
        # a product like 0.07 * 100 may lie a rounding error above a whole step
        return round(amount * of_one, 6)


@dataclass(frozen=True)
class Onset:
    """The weight of a term at each optimiser step: 0 before `start`, then a linear ramp of `warmup` steps."""

    weight: float
    start: float = 0
    warmup: float = 0

    @classmethod
    def within(cls, length: TrainingLength, weight: float, start: float, warmup: float, unit: str, name: str) -> Onset:
        """In steps, for a training of that length; `name` is what the term is called.

        Raises:
            ConfigError: if the term would never have its full weight within the training.
        """
        first, ramp = (length.in_steps(amount, unit) for amount in (start, warmup))
        if first + ramp and first + ramp >= length.total_steps:
            epochs = length.total_steps / length.steps_per_epoch
            of_all = {
                "image": length.images_per_epoch * epochs, "step": length.total_steps, "epoch": epochs, "fraction": 1
            }  # fmt: skip
            raise ConfigError(_too_late(name, start, warmup, unit, of_all[unit]))
        return cls(weight, first, ramp)

    def __call__(self, step: int) -> float:
        """The weight at `step` (0 is the first)."""
        if step < self.start:
            return 0.0
        if step >= self.start + self.warmup:
            return self.weight
        return self.weight * (step - self.start) / self.warmup

    @property
    def settled(self) -> int:
        """The first step from which on the weight stays as it is."""
        return math.ceil(self.start + self.warmup)


def late_problem(name: str, start: float, warmup: float, unit: str, length: float) -> str | None:
    """What there is to say where a training of `length` units ends before a term has its full weight; else None."""
    end = round(start + warmup, 6)
    return _too_late(name, start, warmup, unit, length) if end and end >= length else None


def _too_late(name: str, start: float, warmup: float, unit: str, length: float) -> str:
    warming = f" + terms.{name}.warmup={warmup:g}" if warmup else ""
    after = {"image": f"{length:,.0f} images", "step": f"{length:,.0f} steps", "epoch": f"{length:g} epochs"}
    return (
        f"terms.{name}.start={start:g}{warming} ({_WORDS[unit]}): the training ends before that, after "
        f"{after.get(unit, '1, the whole of it')}; start earlier or train for longer"
    )
