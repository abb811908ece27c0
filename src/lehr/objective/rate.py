"""How the rate enters the loss: loss = distortion + cost of the rate. The base of all rate terms, and the annealed KL.

The other rate terms change what the rate costs (free bits, capacity) or let a controller choose its weight. Each says
which KL weight it amounts to. Shapes: b examples of this rank, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from lehr.limits import NonNegativeFloat, PositiveInt, check_word
from lehr.needs import DENSITY, RATE, Need
from lehr.objective.annealing import ANNEALED, Annealing, Schedule, Shape, Unit
from lehr.objective.convention import Convention, in_nats
from lehr.objective.elbo import Terms
from lehr.objective.keep_float32 import KeepsFloat32
from lehr.posterior.posterior import Posterior

Values = Mapping[str, float | Tensor]
"""Numbers that a cost depends on, by name. Tensors where one program computes the cost of many runs."""


@dataclass(frozen=True)
class RateInputs:
    """What a rate term may look at in one batch of training.

    Attributes:
        step: the optimiser step, 0 is the first.
        posterior: q(z|x) of this rank's rows.
        z: (b, *latent), one sample of each.
        terms: distortion and rate (b,) of each, with gradients.
        means: (2,) distortion and rate, averaged over the batches of all ranks, without gradients.
        total: examples in the batches of all ranks together.
        n_train: examples in the training set.
        sum_over_ranks: adds up a tensor over all ranks, in place and without gradients.
        of_step: as of `StepInputs`.
    """

    step: int
    posterior: Posterior
    z: Tensor
    terms: Terms
    means: Tensor
    total: int
    n_train: int
    sum_over_ranks: Callable[[Tensor], Tensor]
    of_step: Callable[[Callable[[int, int], Tensor]], Tensor] | None = None

    def drawn(self, seed: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """What `make`, a function of the `seed` of the rate term and of the step, gives at this one."""
        return make(seed, self.step) if self.of_step is None else self.of_step(make)


@dataclass(frozen=True)
class CostTerm:
    """What a cost holds beside the weighted rate.

    Attributes:
        value: scalar without gradients, averaged over the examples of all ranks.
        weight: what it is multiplied by in the cost.
        unit: of the value.
    """

    value: Tensor
    weight: float | Tensor
    unit: str = "nats per example"


@dataclass(frozen=True)
class Cost:
    """What the rate of one batch costs.

    Attributes:
        value: scalar with gradients: the sum over this rank's examples, in nats. Added to their distortion.
        kl_weight: the weight w of the KL term that it amounts to, as in distortion + w * rate.
        others: what there is besides, by name, so that w * rate and these, weighted, are the cost averaged over the
            examples of all ranks.
    """

    value: Tensor
    kl_weight: float | Tensor
    others: Mapping[str, CostTerm] = field(default_factory=dict)


class RateTerm(KeepsFloat32):
    """The `kl` group of the configuration. What it remembers from step to step are buffers, and so in checkpoints."""

    needs: ClassVar[tuple[Need, ...]] = (RATE, DENSITY)
    """RATE and DENSITY unless the cost is the rate times a weight that is a function of the step alone;
    STANDARD_NORMAL_PRIOR where the rate is taken apart in a way that holds for that prior alone; WHOLE_BATCH and
    TWO_EXAMPLES where the examples of a batch are compared with each other."""
    numbers: ClassVar[tuple[str, ...]] = ("weight",)
    """Which of its arguments come in through `values`, `seed` or a buffer alone: one program serves runs of others."""
    seed: int = 0
    """Of what it draws, which is a function of that and of the step."""
    annealed: ClassVar[tuple[str, ...]] = ()
    """Which of its arguments are those of `Annealing`, so that they can be checked against the length of training."""

    def __init__(self, annealing: Annealing, convention: Convention = "nats") -> None:
        super().__init__()
        check_word("kl.convention", convention, Convention)
        self.annealing = annealing
        self.convention = convention
        self.nats_per_weight = 1.0
        """What a weight of 1 in the configuration is in nats, once that is known."""
        self.schedule = Schedule(annealing.weight)

    def convert(self, pixels: int, latents: int, error_weight: float) -> None:
        """Take the weight for what `convention` says, from now on; called when model and likelihood are known.

        Args:
            pixels: pixel values of an image, c h w.
            latents: numbers of its latent.
            error_weight: what a unit of error of a pixel value costs in nats.
        """
        self.nats_per_weight = in_nats(self.convention, pixels, latents, error_weight)
        self.schedule = self._in_nats(self.schedule)

    def _in_nats(self, schedule: Schedule) -> Schedule:
        return replace(schedule, weight=self.annealing.weight * self.nats_per_weight)

    def start(self, total_steps: int, steps_per_epoch: int) -> None:
        """Called before training, which has `total_steps`.

        Raises:
            ConfigError: if the schedule does not end within the training.
        """
        self.schedule = self._in_nats(self.annealing.schedule(total_steps, steps_per_epoch))

    @property
    def settled(self) -> int:
        """The first step from which on nothing is scheduled any more, so that validations can be compared."""
        return self.schedule.settled

    def kl_weight(self, step: int) -> float:
        """The KL weight at `step`, in effect: for evaluation, and for what is shown."""
        raise NotImplementedError

    def values(self, step: int) -> Values:
        """Every number that the cost depends on, by name; those that are scheduled, at `step`."""
        raise NotImplementedError

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        """The cost of the rate in a batch of training, with these values. Called once a batch, on every rank."""
        raise NotImplementedError

    def forward(self, inputs: RateInputs, values: Values | None = None) -> Cost:
        """The cost with `values`, or where there are none with those of the step."""
        return self.cost(inputs, self.values(inputs.step) if values is None else values)

    def average_cost(self, step: int, rate: float, kl: Tensor | None) -> float | None:
        """What a data set costs on average, in nats per example, at the values of `step`.

        None where that does not follow from averages over the data set, as of a term that compares the examples of a
        batch.

        Args:
            step: the optimiser step.
            rate: the mean rate of the data set.
            kl: (*latent) the mean of KL(q(z_j|x) || N(0, 1)); None where it is not known.
        """
        return None


class AnnealedKL(RateTerm):
    """kl_weight(step) * rate: the weight is held at 0, then ramped to its target.

    Args:
        weight, hold, warmup, shape, cycles, unit: as of `Annealing`.
        convention: what the weight is of, see `in_nats`: nats, ldm or mean.
    """

    needs = ()
    annealed = ANNEALED

    def __init__(
        self,
        weight: NonNegativeFloat = 1.0,
        hold: NonNegativeFloat = 0,
        warmup: NonNegativeFloat = 10,
        shape: Shape = "linear",
        cycles: PositiveInt = 1,
        unit: Unit = "epoch",
        convention: Convention = "nats",
    ) -> None:
        super().__init__(Annealing(weight, hold, warmup, shape, cycles, unit), convention)

    def kl_weight(self, step: int) -> float:
        return self.schedule(step)

    def values(self, step: int) -> Values:
        return {"weight": self.schedule(step)}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        weight, rate = values["weight"], inputs.terms.rate.sum()
        factor = weight.to(rate.dtype) if isinstance(weight, Tensor) else weight  # as a number is taken
        return Cost(factor * rate, weight)

    def average_cost(self, step: int, rate: float, kl: Tensor | None) -> float:
        return self.schedule(step) * rate


class Controlled(RateTerm):
    """A rate term whose KL weight follows from what happens in training: the last one is in the checkpoint."""

    last_kl_weight: Tensor

    def __init__(self, annealing: Annealing, kl_weight: float, convention: Convention = "nats") -> None:
        super().__init__(annealing, convention)
        self.register_buffer("last_kl_weight", torch.tensor(kl_weight, dtype=torch.float64))

    def convert(self, pixels: int, latents: int, error_weight: float) -> None:
        before = self.nats_per_weight
        super().convert(pixels, latents, error_weight)
        self.last_kl_weight *= self.nats_per_weight / before

    def kl_weight(self, step: int) -> float:
        return float(self.last_kl_weight)

    def remember(self, kl_weight: Tensor) -> Tensor:
        """Keep the KL weight of this batch; gives it back in float64."""
        self.last_kl_weight.copy_(kl_weight.detach())
        return self.last_kl_weight.clone()
