"""Free bits: below a floor the rate costs nothing more, so that no latent is switched off to save it.

Kingma et al. 2016 (inverse autoregressive flow), equation 15. Shapes: b examples of this rank, g groups of latents.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lehr.limits import NonNegativeFloat, PositiveInt, check_word
from lehr.needs import DENSITY, RATE, STANDARD_NORMAL_PRIOR
from lehr.objective.annealing import ANNEALED, Annealing, Shape, Unit
from lehr.objective.convention import Convention
from lehr.objective.rate import Controlled, Cost, CostTerm, RateInputs, Values
from lehr.posterior.posterior import Posterior

Groups = Literal["dimension", "channel", "all"]


class FreeBits(Controlled):
    """kl_weight(step) * sum over groups of max(free_nats, KL of the group averaged over the batch of all ranks).

    A group below the floor has no gradient. The KL weight in effect is the share of the rate above it, times the
    weight. With gradient accumulation the average is that of each batch, not of the whole step.

    Args:
        free_nats: the floor of each group, in nats (1 bit is 0.693).
        groups: "dimension", each latent by itself; "channel", each channel of a latent map with all its positions (of
            a flat latent: each latent); "all", the whole rate.
        weight, hold, warmup, shape, cycles, unit, convention: as of `AnnealedKL`.
    """

    # the whole rate is known for any prior, its parts are not
    needs = (RATE, DENSITY, STANDARD_NORMAL_PRIOR.unless(groups="all"))
    numbers = ("weight", "free_nats")
    annealed = ANNEALED

    def __init__(
        self,
        free_nats: NonNegativeFloat,
        groups: Groups = "dimension",
        weight: NonNegativeFloat = 1.0,
        hold: NonNegativeFloat = 0,
        warmup: NonNegativeFloat = 0,
        shape: Shape = "linear",
        cycles: PositiveInt = 1,
        unit: Unit = "epoch",
        convention: Convention = "nats",
    ) -> None:
        super().__init__(Annealing(weight, hold, warmup, shape, cycles, unit), weight, convention)
        check_word("kl.groups", groups, Groups)
        self.free_nats = free_nats
        self.groups = groups

    def values(self, step: int) -> Values:
        return {"weight": self.schedule(step), "free_nats": self.free_nats}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        weight, floor = values["weight"], values["free_nats"]
        kl = inputs.terms.rate[:, None] if self.groups == "all" else grouped_kl(inputs.posterior, self.groups)
        # which groups are free is for the whole batch to say: each rank alone would say something else
        means = inputs.sum_over_ranks(kl.detach().double().sum(0)) / inputs.total
        free = means <= floor
        value = weight * torch.where(free, floor, kl).sum()
        share = means.masked_fill(free, 0).sum() / means.sum().clamp(min=1e-12)
        return Cost(value, self.remember(weight * share), {"free_bits": CostTerm(floor * free.sum(), weight)})

    def average_cost(self, step: int, rate: float, kl: Tensor | None) -> float | None:
        if self.groups != "all" and kl is None:
            return None
        parts = torch.tensor([rate]) if kl is None or self.groups == "all" else _grouped(kl[None], self.groups)[0]
        return self.schedule(step) * float(parts.double().clamp(min=self.free_nats).sum())


def grouped_kl(posterior: Posterior, groups: str) -> Tensor:
    """KL(q(z_g|x) || N(0, I)) in nats of each latent, or of each channel with all its positions: (b, g)."""
    return _grouped(posterior.kl_per_dimension(), groups)


def _grouped(kl: Tensor, groups: str) -> Tensor:
    return kl.flatten(2).sum(2) if groups == "channel" and kl.ndim > 2 else kl.flatten(1)
