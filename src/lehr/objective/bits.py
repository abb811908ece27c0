"""Bits per dimension: for which likelihoods of which pixels there is such a number, and how it is had.

A probability of the grey levels that the pixels have gives it as it is. A density gives it where the number of levels
is known: uniform noise u spreads each level over its share of [0, 1], x' = (x (levels - 1) + u) / levels, and by
Jensen's inequality log P(x) >= E_u[log p(x')] - D log(levels) (Theis, van den Oord & Bethge 2016). The configuration
is checked with this, so it does without torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from lehr.objective.likelihood import Likelihood


def dequantize(x: Tensor, levels: int, noise: Tensor) -> Tensor:
    """Pixels x (b, c, h, w) of so many grey levels 0, 1/(levels - 1), ..., 1 spread over [0, 1]; `noise` is uniform."""
    return ((x * (levels - 1)).round() + noise) / levels


@dataclass(frozen=True)
class BitsPerDim:
    """How bits per dimension are had from log-probabilities in nats, or why not.

    Attributes:
        kind: "discrete": from `log_prob` of the pixels; "dequantized": from that of dequantised pixels, which makes
            it an upper bound; "none".
        levels: grey levels of the pixels, None where they are not known.
        reason: for people: how it is done, or why there is none.
    """

    kind: Literal["discrete", "dequantized", "none"]
    levels: int | None
    reason: str

    def pixels(self, x: Tensor, noise: Tensor) -> Tensor:
        """What `log_prob` is to be asked of, for pixels x (b, c, h, w) and uniform noise of their shape.

        The encoder sees `x` itself: any q(z|x) gives a bound on log p(x').
        """
        if self.kind != "dequantized":
            return x
        assert self.levels is not None
        return dequantize(x, self.levels, noise)

    def bits(self, nats: float, dimensions: int) -> float | None:
        """Bits per dimension, or None; `nats` per example are -log p of `pixels` or a bound on it, `dimensions` chw."""
        if self.kind == "none":
            return None
        bits = nats / (dimensions * math.log(2))
        return bits + math.log2(self.levels) if self.kind == "dequantized" and self.levels else bits


def bits_per_dim(likelihood: Likelihood, levels: int | None) -> BitsPerDim:
    """How `likelihood` gives bits per dimension of pixels of so many grey levels (None: not known)."""
    if likelihood.levels is None and levels is None:
        return BitsPerDim("none", levels, "a density has bits of known grey levels, and those of floats are not known")
    if likelihood.levels is None:
        return BitsPerDim("dequantized", levels, f"an upper bound: {levels} grey levels dequantised by uniform noise")
    if likelihood.levels == levels:
        return BitsPerDim("discrete", levels, f"from the probability of {levels} grey levels, without dequantisation")
    if likelihood.levels == 2:
        return BitsPerDim("none", levels, "the pixels are grey, and of grey values this likelihood is a cross-entropy")
    return BitsPerDim("none", levels, levels_problem(likelihood.levels, levels) or "")


def levels_problem(likelihood: int | None, data: int | None) -> str | None:
    """Why pixels of so many grey levels (`data`, None: not known) cannot have a likelihood of so many, or None.

    A density takes all pixels, and the cross-entropy of grey values is wanted often enough to be no mistake.
    """
    if likelihood in (None, 2, data):
        return None
    if data is None:
        right = "the pixels are floats of unknown levels; save them as uint8, or use a density such as gaussian"
    elif data == 2:
        right = "the pixels are binary; say data.binarize=none if that made them so, or use likelihood=bernoulli"
    else:
        right = f"the pixels have {data} grey levels; say likelihood.levels={data}"
    return f"likelihood.levels={likelihood}: {right}"
