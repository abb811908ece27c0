"""A penalty on the size of latents, which keeps them where half precision has digits for them."""

from __future__ import annotations

from typing import Any

from lehr.objective.terms.term import LossTerm, TermInputs, TermResult


class LatentMagnitude(LossTerm):
    """The sum of squares of the posterior's mean, |E[z|x]|^2; AuraEquiVAE has 0.1 times their mean.

    Args:
        options: as of `LossTerm`.
    """

    unit_of_value = "squared latent units per example"
    trains = "encoder"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def forward(self, inputs: TermInputs) -> TermResult:
        return TermResult(inputs.posterior.mean.square().flatten(1).sum(1))
