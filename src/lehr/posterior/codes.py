"""Vector-quantised latents: z is the nearest code of a codebook (van den Oord, Vinyals & Kavukcuoglu 2017).

Shapes: b batch; K codes of k numbers each; `*latent` is (k, zh, zw) for a latent map, which has a code at each of its
positions (zh, zw), and (k,) for a flat latent, which is a single position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lehr.posterior.point import PointPosterior
from lehr.posterior.posterior import at_least_float32

COMMITMENT_WEIGHT = 0.25
"""beta of equation 3; the paper finds no difference between 0.1 and 2."""


def nearest_code(output: Tensor, codebook: Tensor) -> Tensor:
    """The index of the code nearest to each position, equation 1: (b, *positions) int64, without gradients.

    Args:
        output: (b, k, *positions)
        codebook: (K, k)
    """
    with torch.no_grad(), torch.autocast(output.device.type, enabled=False):  # whose matrix product would be rounded
        vectors = at_least_float32(output).movedim(1, -1)
        codes = codebook.to(vectors.dtype)
        # |v - e|^2 without |v|^2, which is the same for every code
        return (codes.square().sum(1) - 2 * vectors @ codes.T).argmin(-1)


def vectors(output: Tensor) -> Tensor:
    """(b positions, k) what an encoder gives at each position, of its output (b, k, *positions)."""
    return output.reshape(*output.shape[:2], math.prod(output.shape[2:])).movedim(1, -1).flatten(0, 1)


def relative_use(usage: Tensor) -> Tensor:
    """(K,) float32: how often each code is used, as a multiple of what it would be if all were alike.

    Args:
        usage: (K,) counts, not all 0.
    """
    return usage.float() / usage.sum() * len(usage)


def perplexity(usage: Tensor) -> Tensor:
    """exp of the entropy of how often each code is used: between 1 and K, a scalar.

    Args:
        usage: (K,) counts, not all 0. Those of batches add up to those of the data set; their perplexities do not.
    """
    share = usage.double() / usage.sum()
    return torch.special.entr(share).sum().exp()


@dataclass(frozen=True, eq=False)
class Codes(PointPosterior):
    """All of q(z|x) at the codes nearest to what an encoder gives. Its entropy is 0, so it has no rate in nats.

    Attributes:
        output: (b, *latent) what the encoder gave, at least float32.
        codes: (b, *latent) the nearest codes, with gradients to the codebook.
        indices: (b, *positions) int64, which they are.
        codebook_size: K.
        commitment_weight: beta of equation 3.
        codebook_weight: of both charges.
    """

    _of_examples: ClassVar[tuple[str, ...]] = ("output", "codes", "indices")

    output: Tensor
    codes: Tensor
    indices: Tensor
    codebook_size: int
    commitment_weight: float = COMMITMENT_WEIGHT
    codebook_weight: float = 1.0

    @classmethod
    def nearest(
        cls,
        output: Tensor,
        codebook: Tensor,
        commitment_weight: float = COMMITMENT_WEIGHT,
        codebook_weight: float = 1.0,
    ) -> Codes:
        """From the output (b, *latent) of an encoder and a codebook (K, k), of any precision.

        Raises:
            ValueError: if they do not fit together.
        """
        if codebook.ndim != 2 or output.ndim < 2 or output.shape[1] != codebook.shape[1]:
            shapes = f"{tuple(output.shape)} and {tuple(codebook.shape)}"
            raise ValueError(f"expected an output (b, k, ...) and a codebook (K, k), got {shapes}")
        indices = nearest_code(output, codebook)
        codes = at_least_float32(torch.nn.functional.embedding(indices, codebook).movedim(-1, 1))
        return cls(at_least_float32(output), codes, indices, len(codebook), commitment_weight, codebook_weight)

    @property
    def mean(self) -> Tensor:  # type: ignore[override]  # follows from the others
        """(b, *latent) the codes exactly, with the gradient of z going straight through to the encoder's output."""
        return self.codes.detach() + (self.output - self.output.detach())

    def charges(self) -> dict[str, Tensor]:
        """The second and third term of equation 3: (b,) each, squares summed over latents, beta included.

        `codebook` |sg[output] - code|^2 draws the codes to the outputs, `commitment` beta |output - sg[code]|^2 the
        outputs to the codes, both times `codebook_weight`. (Implementations with a mean over latents have weights that
        are smaller by their number.)
        """
        codebook = (self.output.detach() - self.codes).square().flatten(1).sum(1)
        commitment = (self.output - self.codes.detach()).square().flatten(1).sum(1)
        beta = self.commitment_weight
        return {"codebook": self.codebook_weight * codebook, "commitment": self.codebook_weight * beta * commitment}

    @property
    def usage(self) -> Tensor:
        """(K,) int64: how many positions of the batch have each code. Counts of batches add up."""
        chosen = self.indices.flatten()
        # not `bincount`, for which a GPU is waited for
        return chosen.new_zeros(self.codebook_size).scatter_add_(0, chosen, torch.ones_like(chosen))

    @property
    def perplexity(self) -> Tensor:
        """Of the codes of this batch: how many are in use, about."""
        return perplexity(self.usage)
