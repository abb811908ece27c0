"""The diagonal Gaussian q(z|x) = N(mean, diag(exp(logvar))): the variances given by an encoder, or one for all.

Shapes: b batch; `*latent` is (d,) for a flat latent and (zc, zh, zw) for a latent map.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from lehr.posterior.posterior import Posterior, at_least_float32
from lehr.posterior.rounding import HALVES, lost_share

if TYPE_CHECKING:
    from lehr.posterior.density import LatentDensity


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
    return raw if _is_within(raw, low, high) else _Bound.apply(raw, low, high)[0]


def _is_within(raw: Tensor, low: float, high: float) -> bool:
    """Whether nothing is to be done, where that is cheap to know: `_Bound` takes ten times as long to do nothing.

    A GPU would have to be waited for, and what is traced has no values yet. Under `vmap` it is asked of all lanes.
    """
    if raw.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(raw):
        raw = torch._C._functorch.get_unwrapped(raw)
    if raw.numel() == 0:
        return True
    smallest, largest = torch.aminmax(raw.detach())
    return low <= smallest.item() and largest.item() <= high  # of NaN neither holds


class NormalPosterior(Posterior):
    """q(z|x) = N(mean, diag(exp(logvar))), wherever the log-variance comes from.

    Attributes:
        logvar: (b, *latent), log of the variance, at least float32.
    """

    has_density = True

    logvar: Tensor

    @property
    def var(self) -> Tensor:
        """(b, *latent)"""
        return self.logvar.exp()

    def sample(self, noise: Tensor) -> Tensor:
        """z = mean + std * noise, the reparameterisation of Kingma & Welling 2014; `noise` (b, *latent) ~ N(0, 1)."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        square = (z - self.mean).square() * (-self.logvar).exp()
        return -0.5 * (square + self.logvar + math.log(2 * math.pi)).flatten(1).sum(1)

    def log_prob_of_noise(self, noise: Tensor) -> Tensor:
        log_density = -0.5 * (noise.square() + self.logvar + math.log(2 * math.pi))
        return log_density.flatten(1 - self.mean.ndim).sum(-1)

    def kl_per_dimension(self) -> Tensor:
        return 0.5 * (self.mean.square() + self.var - 1 - self.logvar)

    def kl_to(self, prior: LatentDensity) -> Tensor | None:
        return self.kl() if prior.is_standard_normal else None

    def normal(self) -> Self:
        return self

    def tallies(self) -> dict[str, Tensor]:
        std = (0.5 * self.logvar).exp()
        lost = {
            f"lost_in_{name}": lost_share(self.mean, std, half).sum(dtype=torch.float64)
            for name, half in HALVES.items()
        }
        return {"latents": std.new_tensor(std.numel(), dtype=torch.float64), **lost}

    def standardised(self, mean: Tensor, std: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian((self.mean - mean) / std, self.logvar - 2 * std.log())


@dataclass(frozen=True, eq=False)
class DiagonalGaussian(NormalPosterior):
    """q(z|x) with the mean and the variances that an encoder gives.

    Attributes:
        mean: (b, *latent), at least float32.
        logvar: (b, *latent), log of the variance, within its bounds.
        raw_logvar: (b, *latent), what the network gave before it was bounded; None if it was not.
    """

    _of_examples: ClassVar[tuple[str, ...]] = ("mean", "logvar", "raw_logvar")

    mean: Tensor
    logvar: Tensor
    raw_logvar: Tensor | None = None

    @classmethod
    def bounded(cls, mean: Tensor, raw_logvar: Tensor, low: float, high: float) -> DiagonalGaussian:
        """From the two outputs of a network of any precision, with `low <= logvar <= high`."""
        raw = at_least_float32(raw_logvar)
        return cls(at_least_float32(mean), bound(raw, low, high), raw)

    def clamped_share(self) -> Tensor:
        """Share of log-variances that lay outside their bounds, a scalar in [0, 1]."""
        if self.raw_logvar is None:
            return self.logvar.new_zeros(())
        return (self.raw_logvar != self.logvar).to(self.logvar.dtype).mean()

    def diagnostics(self) -> dict[str, Tensor]:
        return {"clamped_share": self.clamped_share()}

    def tallies(self) -> dict[str, Tensor]:
        found = super().tallies()
        if self.raw_logvar is not None:
            sides = {"low": self.raw_logvar < self.logvar, "high": self.raw_logvar > self.logvar}
            found |= {f"clamped_{side}": beyond.sum(dtype=torch.float64) for side, beyond in sides.items()}
            found["bounded"] = found["latents"]
        return found


@dataclass(frozen=True, eq=False)
class FixedVariance(NormalPosterior):
    """q(z|x) = N(mean, std^2 I): the encoder gives the mean alone.

    Attributes:
        mean: (b, *latent), at least float32.
        std: the standard deviation of every latent of every example, > 0: a number, or a scalar tensor.
    """

    _of_all: ClassVar[tuple[str, ...]] = ("std",)

    mean: Tensor
    std: float | Tensor

    @property
    def logvar(self) -> Tensor:  # type: ignore[override]  # follows from `std`
        if isinstance(self.std, Tensor):
            return (2 * self.std.log()).to(self.mean).expand_as(self.mean)
        return self.mean.new_full((), 2 * math.log(self.std)).expand_as(self.mean)
