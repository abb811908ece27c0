"""An objective with two players: a discriminator that tells images from reconstructions, once it has started."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from harness import vae
from torch import nn

from lehr.objective import ELBO
from lehr.objective.step import AUTOENCODER, Term
from lehr.training.ema import EMAPlan
from lehr.training.module import VAEModule
from lehr.training.players import PlayerPlan

WEIGHT = 0.5
START = 5  # the step at which the discriminator of `two_players` takes part


class Adversarial(ELBO):
    """The negative ELBO, and from step `start` on what a discriminator of 16 pixels thinks of reconstructions."""

    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.start = start
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))

    @property
    def players(self):
        return {"discriminator": self.discriminator}

    def step(self, inputs, parts):
        result = super().step(inputs, parts)
        if inputs.step < self.start:
            return result
        dtype = next(self.discriminator.parameters()).dtype
        fake = parts.likelihood.mean(parts.model.decode(result.posterior.mean)).to(dtype)
        # its weights are constants in the autoencoder's loss, and the reconstructions in its own
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        deceived = F.softplus(-torch.func.functional_call(self.discriminator, frozen, (fake,))).sum()
        told = (
            F.softplus(-self.discriminator(inputs.images.to(dtype))) + F.softplus(self.discriminator(fake.detach()))
        ).sum()
        loss = result.losses[AUTOENCODER] + WEIGHT * deceived
        values = torch.cat([result.values, inputs.mean(torch.stack([deceived, told]))])
        terms = {**result.terms, "adversarial": Term(WEIGHT), "told": Term(player="discriminator")}
        return replace(result, losses={AUTOENCODER: loss, "discriminator": told}, terms=terms, values=values)


def two_players(**options):
    """A module that trains both, each with an optimizer and a clipping of its own, and averages the weights."""
    one = vae(warmup=1)
    return VAEModule(
        one.model,
        one.likelihood,
        one.rate_term,
        PlayerPlan(torch.optim.Adam, {"lr": 1e-2}, decay="cosine", clip=0.5),
        objective=Adversarial(START),
        players={"discriminator": PlayerPlan(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}, clip=0.1)},
        ema=EMAPlan(half_life=100),
        **options,
    )
