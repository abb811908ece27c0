"""The posterior of an encoder that draws nothing: z is a function of x."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.posterior.posterior import Posterior


class PointPosterior(Posterior):
    """All of q(z|x) at one point. It has no density, and its variance is 0."""

    @property
    def var(self) -> Tensor:
        """(b, *latent) zeros."""
        return torch.zeros_like(self.mean)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (0,)

    def sample(self, noise: Tensor) -> Tensor:
        """The mean, once for each row of `noise` (b, 0) or (b, k, 0); noise of the latent's shape does as well."""
        if noise.shape[-1] > 0:
            return self.mean.expand(noise.shape)
        rows = noise.shape[:-1]
        return self.mean.expand(*rows, *self.mean.shape[len(rows) :])

    def standardised(self, mean: Tensor, std: Tensor) -> Point:
        return Point((self.mean - mean) / std)


@dataclass(frozen=True, eq=False)
class Point(PointPosterior):
    """z = mean: the latent of a deterministic autoencoder.

    Attributes:
        mean: (b, *latent), at least float32.
    """

    mean: Tensor
