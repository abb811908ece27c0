"""A penalty on the size of latents, which keeps them where half precision has digits for them."""

from __future__ import annotations

from typing import Any, Literal

from lehr.limits import NonNegativeFloat, check_word
from lehr.objective.terms.term import LossTerm, TermInputs, TermResult

Of = Literal["sum", "mean"]


class LatentMagnitude(LossTerm):
    """The squares of the posterior's mean E[z|x].

    AuraEquiVAE's 0.1 z^2, a mean over latents beside means over pixels, is `weight=0.1 of=mean per=pixel`.

    Args:
        weight: that the value has in the loss.
        of: "sum" or "mean" over the latents of an example.
        options: as of `LossTerm`.
    """

    unit_of_value = "squared latent units"
    trains = "encoder"

    def __init__(self, weight: NonNegativeFloat = 0.01, of: Of = "sum", **options: Any) -> None:
        super().__init__(weight, **options)
        check_word("terms.magnitude.of", of, Of)
        self.of = of

    def forward(self, inputs: TermInputs) -> TermResult:
        squares = inputs.posterior.mean.square().flatten(1)
        return TermResult(squares.sum(1) if self.of == "sum" else squares.mean(1))
