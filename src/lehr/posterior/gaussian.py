"""The diagonal Gaussian q(z|x) = N(mean, diag(exp(logvar))) that an encoder gives.

Shapes: b batch; `*latent` is (d,) for a flat latent and (zc, zh, zw) for a latent map.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class _Bound(torch.autograd.Function):
    """Clamp to [low, high]; outside, let through only gradients that lead back inside.

    A plain clamp has no gradient outside, so a unit that once left would stay there for good; a straight-through
    one lets the raw value run away from the bound. Descent moves a value against its gradient, so at the upper
    bound a positive gradient leads back, at the lower one a negative.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(raw: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
        bounded = raw.clamp(low, high)
        return bounded, bounded - raw

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: tuple[Tensor, Tensor]) -> None:
        _, inward = output
        ctx.mark_non_differentiable(inward)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inward)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        (inward,) = ctx.saved_tensors
        gradient = gradients[0]
        return None if gradient is None else gradient.masked_fill(gradient * inward > 0, 0.0), None, None


# torch looks up the signature at every call; this spares it the search
_Bound.forward.__signature__ = inspect.signature(_Bound.forward)  # type: ignore[attr-defined]


def bound(raw: Tensor, low: float, high: float) -> Tensor:
    """`raw` clamped to [low, high], with a gradient that can always bring a value back inside."""
    return _Bound.apply(raw, low, high)[0]


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in its own type where that is wider: what every likelihood and statistic is computed in."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


@dataclass(frozen=True)
class DiagonalGaussian:
    """q(z|x) for a batch.

    Attributes:
        mean: (b, *latent), at least float32.
        logvar: (b, *latent), log of the variance, within its bounds.
        raw_logvar: (b, *latent), what the network gave before it was bounded; None if it was not.
    """

    mean: Tensor
    logvar: Tensor
    raw_logvar: Tensor | None = None

    @classmethod
    def bounded(cls, mean: Tensor, raw_logvar: Tensor, low: float, high: float) -> DiagonalGaussian:
        """From the two outputs of a network of any precision, with `low <= logvar <= high`."""
        raw = at_least_float32(raw_logvar)
        return cls(at_least_float32(mean), bound(raw, low, high), raw)

    @property
    def var(self) -> Tensor:
        """(b, *latent)"""
        return self.logvar.exp()

    def clamped_share(self) -> Tensor:
        """Share of log-variances that lay outside their bounds, a scalar in [0, 1]."""
        if self.raw_logvar is None:
            return self.logvar.new_zeros(())
        return (self.raw_logvar != self.logvar).to(self.logvar.dtype).mean()

    def sample(self, noise: Tensor) -> Tensor:
        """z = mean + std * noise, the reparameterisation of Kingma & Welling 2014; `noise` (b, *latent) ~ N(0, 1)."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats, summed over latents: (b,)."""
        square = (z - self.mean).square() * (-self.logvar).exp()
        return -0.5 * (square + self.logvar + math.log(2 * math.pi)).flatten(1).sum(1)

    def kl_per_dimension(self) -> Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats for each latent j: (b, *latent), never negative up to rounding."""
        return 0.5 * (self.mean.square() + self.var - 1 - self.logvar)

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) in nats, summed over latents: (b,)."""
        return self.kl_per_dimension().flatten(1).sum(1)
